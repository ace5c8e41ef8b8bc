//! Who does not ask dkms is told as well that the kernel which boots next lacks modules: whoever logs in, by a file that
//! pam_motd(8) shows, and whoever sits at a desktop with Ubuntu's update-notifier (its document HOOKS).
//!
//! needrestart(1) has no place for it: its hooks say which package a process belongs to, and nothing that they say is shown.
//! apport is told of builds that fail by the front for apt, where the failure is.

use crate::durable::{self, FileError};
use crate::names::Release;
use crate::tree::Trees;

/// pam_motd shows it at each login, until it or the machine goes.
const MOTD: &str = "/run/motd.d/dkms";
/// update-notifier shows it once, and again when it has changed. Its directory is there where the program is.
const DESKTOP: &str = "/var/lib/update-notifier/user.d/dkms";

/// What a kernel lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The kernel.
    pub kernel: Release,
    /// The boot loader says that it boots next; else it is the one that runs.
    pub boots_next: bool,
    /// The packages whose modules are missing.
    pub packages: Vec<String>,
}

impl Lack {
    fn words(&self) -> String {
        let when = if self.boots_next { "which boots next" } else { "which is running" };
        format!("Kernel {}, {when}, lacks modules of {}.", self.kernel, self.packages.join(", "))
    }
}

/// Puts the notices in their places, or with `None` takes them away. What says the same already stays as it is.
pub fn put(trees: &Trees, lack: Option<&Lack>) -> Result<(), FileError> {
    let motd = lack.map(|lack| format!("dkms: {}\n      Why, and what to do: dkms doctor\n", lack.words()));
    let desktop = lack.map(|lack| {
        format!(
            "Name: Kernel modules are missing\nPriority: High\nTerminal: False\nOnlyAdminUsers: True\nDescription: {}\n \
             Why, and what to do, says this command in a terminal: dkms doctor\n",
            lack.words()
        )
    });
    let has_run = trees.outer("/run").is_dir();
    let has_notifier = trees.outer(DESKTOP).parent().is_some_and(std::path::Path::is_dir);
    for (path, text, is_wanted) in [(MOTD, motd, has_run), (DESKTOP, desktop, has_notifier)] {
        let path = trees.outer(path);
        match text.filter(|_| is_wanted) {
            Some(text) if durable::text(&path).is_ok_and(|there| there == text) => {}
            Some(text) => {
                if let Some(dir) = path.parent() {
                    durable::make_dirs(dir, 0o755)?;
                }
                durable::write_atomic(&path, text.as_bytes(), 0o644)?;
            }
            None => durable::remove_any(&path)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::root::Root;

    fn lack(packages: &[&str]) -> Lack {
        let packages = packages.iter().map(|name| (*name).to_owned()).collect();
        Lack { kernel: Release::new("6.1").unwrap(), boots_next: true, packages }
    }

    #[test]
    fn notices_come_where_somebody_shows_them_and_go() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let (motd, desktop) = (tmp.path().join("run/motd.d/dkms"), tmp.path().join(&DESKTOP[1..]));
        put(&trees, Some(&lack(&["a/1"]))).unwrap();
        put(&trees, None).unwrap();
        assert!(fs_err::read_dir(tmp.path()).unwrap().next().is_none(), "there is no place for them");
        fs_err::create_dir(tmp.path().join("run")).unwrap();
        put(&trees, Some(&lack(&["a/1", "b/2"]))).unwrap();
        assert_eq!(
            fs_err::read_to_string(&motd).unwrap(),
            "dkms: Kernel 6.1, which boots next, lacks modules of a/1, b/2.\n      Why, and what to do: dkms doctor\n"
        );
        assert_eq!(fs_err::metadata(&motd).unwrap().mode() & 0o777, 0o644);
        assert!(!desktop.exists());
        fs_err::create_dir_all(desktop.parent().unwrap()).unwrap();
        put(&trees, Some(&lack(&["a/1"]))).unwrap();
        assert!(fs_err::read_to_string(&motd).unwrap().contains("of a/1.\n"));
        // Fields of a paragraph, the last with a second line.
        let text = fs_err::read_to_string(&desktop).unwrap();
        let fields: Vec<_> = text.lines().map(|line| line.split(": ").next().unwrap_or_default()).collect();
        assert_eq!(fields[..5], ["Name", "Priority", "Terminal", "OnlyAdminUsers", "Description"]);
        assert!(fields[5].starts_with(' ') && fields.len() == 6, "{text}");
        // What has not changed is not shown again.
        let inode = fs_err::metadata(&desktop).unwrap().ino();
        put(&trees, Some(&lack(&["a/1"]))).unwrap();
        assert_eq!(fs_err::metadata(&desktop).unwrap().ino(), inode);
        put(&trees, None).unwrap();
        assert!(!motd.exists() && !desktop.exists());
        put(&trees, None).unwrap();
    }
}
