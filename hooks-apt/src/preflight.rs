//! Before dpkg unpacks anything: what will go wrong with the kernels that come, said while it can still be avoided.
//!
//! apt runs `/usr/lib/dkms/apt-preflight 2>/dev/null || test $? -ne 10`: a missing program never stops it, and stays
//! silent; so what we say goes to standard output, which is apt's own here, and only exit code 10 stops apt.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use dkms_core::error::Error;
use dkms_core::event;
use dkms_core::names::Release;
use dkms_core::preflight::{self, Incoming, Kernel, Packages, Verdict};

use crate::pending;
use crate::protocol::{self, Action, Step};

/// Stop: the only code that apt heeds.
const STOP: u8 = 10;

/// Room that a kernel and its initramfs take in /boot, in bytes, where there is none yet to be measured.
const BOOT_ROOM: u64 = 60 << 20;

/// Reads apt's list; says what is wrong; gives 10 if policy wants apt to stop.
pub fn run() -> u8 {
    let mut text = String::new();
    if std::io::stdin().read_to_string(&mut text).is_err() {
        return 0;
    }
    let Some(steps) = protocol::parse(&text) else { return 0 };
    // What can't be looked at is no reason to stop apt.
    let Ok(verdict) = look(&incoming(&steps)) else { return 0 };
    let mut out = std::io::stdout();
    for finding in &verdict.findings {
        let _ = writeln!(out, "dkms: warning: {finding}");
    }
    let Some(reason) = verdict.stop() else { return 0 };
    let _ = writeln!(out, "dkms: {reason}.");
    STOP
}

fn look(incoming: &Incoming) -> Result<Verdict, Error> {
    if incoming.kernels.is_empty() {
        return Ok(Verdict::default());
    }
    let ctx = event::surroundings(false)?;
    if pending::is_ready(&ctx.trees) { preflight::look(&ctx, incoming) } else { Ok(Verdict::default()) }
}

/// What comes, by the names that Debian's packages have.
fn incoming(steps: &[Step]) -> Incoming {
    let names = |is: &dyn Fn(&Action) -> bool| -> BTreeSet<String> {
        steps.iter().filter(|step| is(&step.action)).map(|step| step.name.clone()).collect()
    };
    let unpacked = names(&|action| matches!(action, Action::Unpack(_)));
    let removed = names(&|action| *action == Action::Remove);
    let kernel = |name: &String| {
        let name = name.strip_prefix("linux-image-")?;
        let release = name.strip_prefix("unsigned-").unwrap_or(name);
        // Metapackages (linux-image-amd64) bring no kernel of their own.
        Release::new(release).ok().filter(|_| release.starts_with(|c: char| c.is_ascii_digit()))
    };
    let kernels: BTreeSet<Release> = unpacked.iter().filter_map(kernel).collect();
    let brought = steps.iter().filter(|step| step.action != Action::Remove && step.new_version.is_some());
    let headers = brought.filter_map(|step| Release::new(step.name.strip_prefix("linux-headers-")?).ok()).collect();
    Incoming {
        kernels: kernels.into_iter().map(Kernel::new).collect(),
        headers,
        packages: Packages {
            going: removed.difference(&unpacked).cloned().collect(),
            unread: unpacked,
            ..Packages::default()
        },
        boot: Some(BOOT_ROOM),
        ..Incoming::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight_table as table;

    #[test]
    fn the_table_that_is_published() {
        table::walk(&|_, with_headers| {
            let unpack = |name: &str| format!("{name}-{} - - none < 1 amd64 none /a.deb\n", table::RELEASE);
            let headers = if with_headers { unpack("linux-headers") } else { String::new() };
            incoming(&protocol::parse(&format!("VERSION 3\n\n{}{headers}", unpack("linux-image"))).unwrap())
        });
    }

    #[test]
    fn what_comes_and_goes() {
        let text = "VERSION 3\n\n\
            linux-image-6.12.1-amd64 - - none < 6.12.1-1 amd64 none /a.deb\n\
            linux-image-6.12.1-amd64 - - none < 6.12.1-1 amd64 none **CONFIGURE**\n\
            linux-image-amd64 6.1 amd64 none < 6.12.1-1 amd64 none /b.deb\n\
            linux-image-unsigned-7.0.0-1-generic - - none < 7.0 amd64 none /c.deb\n\
            linux-headers-6.12.1-amd64 - - none < 6.12.1-1 amd64 none /d.deb\n\
            linux-headers-6.0.0 6.0 amd64 none > - - none **REMOVE**\n\
            zfs-dkms 1 amd64 none > - - none **REMOVE**\n\
            hello-dkms - - none < 1 all none /e.deb\n\
            linux-image-6.0.0 6.0 amd64 none > - - none **REMOVE**\n";
        let found = incoming(&protocol::parse(text).unwrap());
        let names: Vec<String> = found.kernels.iter().map(|kernel| kernel.release.to_string()).collect();
        assert_eq!(names, ["6.12.1-amd64", "7.0.0-1-generic"]);
        assert_eq!(found.headers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["6.12.1-amd64"]);
        assert!(
            found.packages.takes_out("zfs") && found.packages.may_bring("hello") && !found.packages.may_bring("zfs")
        );
    }
}
