//! Taking debug sections out of modules.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::process::{End, ProcessError};

/// Why modules keep their debug sections. The modules are usable as they are; the caller warns.
#[derive(Debug, thiserror::Error)]
pub enum StripError {
    /// The program can't be started.
    #[error("{0}; the modules keep their debug information")]
    Start(ProcessError),
    /// The program failed on some module.
    #[error("{} failed ({status}): {output}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: String,
        /// What it said, trimmed.
        output: String,
    },
}

/// The program to strip with: `llvm-strip` if the compiler `cc` is exactly `clang`, else `strip`,
/// with the prefix of a cross toolchain ("aarch64-linux-gnu-") if there is one.
pub fn program(cc: Option<&str>, cross_prefix: &str) -> OsString {
    if cc == Some("clang") {
        return OsString::from("llvm-strip");
    }
    OsString::from(format!("{cross_prefix}strip"))
}

/// Strips debug sections from all `modules` in place, in one process: `program -g FILE…`, which `run` runs.
/// Modules that the program can't handle stay as they are.
pub fn strip<P: AsRef<Path>>(
    program: &OsStr,
    modules: &[P],
    run: impl FnOnce(Vec<OsString>) -> Result<End, ProcessError>,
) -> Result<(), StripError> {
    if modules.is_empty() {
        return Ok(());
    }
    let files = modules.iter().map(|module| module.as_ref().as_os_str().to_owned());
    let ended = run([program.to_owned(), "-g".into()].into_iter().chain(files).collect()).map_err(StripError::Start)?;
    if ended.status.success() {
        return Ok(());
    }
    Err(StripError::Failed {
        program: PathBuf::from(program),
        status: ended.status.to_string(),
        output: ended.text().trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Module;

    fn here(argv: Vec<OsString>) -> Result<End, ProcessError> {
        let environment = [("PATH".into(), crate::process::DEFAULT_PATH.into())].into();
        crate::process::run(crate::process::Task::new(argv, Path::new("/"), &environment))
    }

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign/module.ko")
    }

    /// The symbols that other modules or the kernel are linked by.
    fn symbols(file: &Path) -> Vec<(String, bool)> {
        use object::{Object, ObjectSymbol};
        let bytes = fs_err::read(file).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let all = file.symbols().map(|symbol| (symbol.name().unwrap().to_owned(), symbol.is_undefined()));
        let mut linked: Vec<_> = all.filter(|(name, needed)| *needed || name.starts_with("__ksymtab_")).collect();
        linked.sort();
        assert!(linked.len() >= 2, "{linked:?}");
        linked
    }

    #[test]
    fn debug_sections_go_and_the_rest_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let files = [tmp.path().join("a.ko"), tmp.path().join("b.ko")];
        for file in &files {
            fs_err::copy(fixture(), file).unwrap();
        }
        let before = Module::parse(&fs_err::read(fixture()).unwrap()).unwrap();
        assert!(before.has_debug);
        strip(&program(None, ""), &files, here).unwrap();
        for file in &files {
            let after = Module::parse(&fs_err::read(file).unwrap()).unwrap();
            assert!(!after.has_debug);
            assert_eq!(after.modinfo, before.modinfo);
            assert_eq!(symbols(file), symbols(&fixture()));
        }
    }

    #[test]
    fn one_bad_module_does_not_spoil_the_others() {
        let tmp = tempfile::tempdir().unwrap();
        let files = [tmp.path().join("bad.ko"), tmp.path().join("good.ko")];
        fs_err::write(&files[0], "no module").unwrap();
        fs_err::copy(fixture(), &files[1]).unwrap();
        let error = strip(OsStr::new("strip"), &files, here).unwrap_err();
        assert!(error.to_string().contains("bad.ko"), "{error}");
        let good = Module::parse(&fs_err::read(&files[1]).unwrap()).unwrap();
        assert!(!good.has_debug);
        assert_eq!(fs_err::read(&files[0]).unwrap(), b"no module");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = strip(&program(None, "nowhere-linux-gnu-"), &[fixture()], here).unwrap_err();
        assert!(error.to_string().contains("nowhere-linux-gnu-strip"));
        assert_eq!(program(Some("clang"), "x-"), "llvm-strip");
        assert_eq!(program(Some("clang-19"), ""), "strip");
    }
}
