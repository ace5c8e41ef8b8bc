//! Where a module names the kernel that it was built for, besides the sections in which every module does.

use object::{Object, ObjectSection};

use crate::results::entry::contains;

/// Sections that name it: what modpost writes, and a digest of all.
const KNOWN: [&[u8]; 3] = [b".modinfo", b".note.Linux", b".note.gnu.build-id"];

/// In words, what of `module` follows from what the kernel and its directories are called: one of `names` in it (an assertion in a
/// header has its path), or debugging information, which is packed and has the paths of all headers. `None`: nothing.
pub fn in_module(module: &[u8], names: &[&str]) -> Option<String> {
    let Ok(file) = object::File::parse(module) else { return Some("a module of it can't be read".to_owned()) };
    for section in file.sections() {
        let (Ok(name), Ok(data)) = (section.name_bytes(), section.data()) else {
            return Some("a module of it can't be read".to_owned());
        };
        let shown = String::from_utf8_lossy(name);
        if [".debug_", ".zdebug_"].iter().any(|start| shown.starts_with(start)) {
            return Some("its modules keep their debugging information, which has the paths of headers".to_owned());
        }
        if KNOWN.contains(&name) {
            continue;
        }
        let has = |text: &&&str| !text.is_empty() && contains(data, text.as_bytes());
        if let Some(found) = names.iter().find(has) {
            return Some(format!("{found} is in {shown} of a module"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_names_the_kernel_is_found() {
        let module = fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign/module.ko")).unwrap();
        let said = in_module(&module, &["6.12.117+deb13-amd64"]);
        assert!(said.is_some_and(|said| said.contains("debugging information")));
        let plain = stripped(&module);
        // Its vermagic has that.
        assert_eq!(in_module(&plain, &["6.12.117+deb13-amd64"]), None);
        assert!(in_module(&plain, &[".text"]).is_some_and(|said| said.contains(".shstrtab")));
        assert!(in_module(&plain[..100], &["6.1"]).is_some());
    }

    fn stripped(module: &[u8]) -> Vec<u8> {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("module.ko");
        fs_err::write(&file, module).unwrap();
        let environment = [("PATH".into(), crate::process::DEFAULT_PATH.into())].into();
        let argv = ["strip".as_ref(), "-g".as_ref(), file.as_os_str()];
        let end = crate::process::run(crate::process::Task::new(argv, Path::new("/"), &environment)).unwrap();
        assert!(end.status.success());
        fs_err::read(file).unwrap()
    }
}
