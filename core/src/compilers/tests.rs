//! Compilers whose parts are replaced one by one.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::process::{DEFAULT_PATH, Environment};
use crate::root::Root;
use crate::sandbox::Namespaces;

/// A compiler in a directory of its own, which says of itself what is asked for.
struct Bench {
    tmp: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { tmp: tempfile::tempdir().unwrap() };
        fs_err::create_dir(bench.file("bin")).unwrap();
        bench.write("cc1", "one");
        bench.write("as", "assembler");
        bench.write(
            "gcc-9",
            "#!/bin/bash\nhere=$(dirname \"$(readlink -f \"$0\")\")\ncase $1 in\n\
             --version) echo 'my compiler 9';;\n\
             -print-prog-name=cc1 | -print-prog-name=as) echo \"$here/${1#*=}\";;\n\
             -print-prog-name=*) echo \"${1#*=}-is-nowhere\";;\n\
             -print-libgcc-file-name) echo \"$here/libgcc.a\";;\nesac\n",
        );
        symlink("../gcc-9", bench.file("bin/gcc-9")).unwrap();
        symlink("../gcc-9", bench.file("bin/gcc")).unwrap();
        bench
    }

    fn file(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.file(name), text).unwrap();
        fs_err::set_permissions(self.file(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn world(&self) -> World {
        let path = format!("{}:{DEFAULT_PATH}", self.file("bin").display());
        let environment: Environment = [("PATH".into(), path.into())].into();
        World::of(&Root::host(), environment, Some(Namespaces::default()))
    }

    fn toolchain() -> Toolchain {
        Toolchain {
            fragment_cc: Some("ccache gcc-9".into()),
            cc: Some("gcc".into()),
            kernel_cc: Some("gcc-of-nobody".into()),
            ..Toolchain::default()
        }
    }

    fn compilers(&self) -> Compilers {
        Compilers::of(&self.world(), &Self::toolchain()).unwrap()
    }

    /// Local and portable identity.
    fn identities(&self) -> (String, String) {
        let found = self.compilers();
        (
            found.identity().to_string(),
            found.portable(&Trees::new(Root::at(self.tmp.path()).unwrap()), 0).unwrap().to_string(),
        )
    }
}

#[test]
fn the_compiler_says_what_it_consists_of() {
    let bench = Bench::new();
    let found = bench.compilers();
    assert!(found.are_unchanged());
    let ours: Vec<&Compiler> =
        found.all.iter().filter(|compiler| compiler.path.starts_with(bench.tmp.path())).collect();
    assert_eq!(ours.iter().map(|compiler| compiler.name.as_str()).collect::<Vec<_>>(), ["gcc-9", "gcc"]);
    assert_eq!(ours[0].version, "my compiler 9");
    let here = fs_err::canonicalize(bench.tmp.path()).unwrap();
    let files: Vec<(String, bool)> = found
        .files
        .iter()
        .filter_map(|part| Some((part.path.strip_prefix(&here).ok()?.display().to_string(), part.identity.is_some())))
        .collect();
    assert_eq!(
        files,
        [("as", true), ("bin/gcc", true), ("bin/gcc-9", true), ("cc1", true), ("gcc-9", true), ("specs", false)]
            .map(|(name, there)| (name.to_owned(), there))
    );
}

/// Asking runs compilers, beside what builds may have. Kernels whose choice is the same have it asked once, whoever comes first.
#[test]
fn a_run_asks_once() {
    let bench = Bench::new();
    let asking = fs_err::read_to_string(bench.file("gcc-9")).unwrap();
    bench.write("gcc-9", &asking.replace("case $1", "echo >>\"$here/calls\"\ncase $1"));
    let calls = || fs_err::read_to_string(bench.file("calls")).unwrap_or_default().lines().count();
    bench.compilers();
    let once = calls();
    assert!(once > 0);
    let (known, world) = (Known::default(), bench.world());
    let with_another_linker = Toolchain { ld: Some("ld.gold".into()), ..Bench::toolchain() };
    std::thread::scope(|scope| {
        for n in 0..8 {
            let toolchain = if n % 2 == 0 { Bench::toolchain() } else { with_another_linker.clone() };
            let (known, world) = (&known, &world);
            scope.spawn(move || known.of(world, &toolchain).unwrap());
        }
    });
    assert_eq!(calls(), 2 * once);
    // Another choice is another question.
    known.of(&world, &Toolchain { cc: None, fragment_cc: Some("gcc".into()), ..Toolchain::default() }).unwrap();
    assert!(calls() > 2 * once);
}

/// A link that is made to lead elsewhere while a run goes on.
#[test]
fn a_link_counts() {
    let bench = Bench::new();
    let (local, portable) = bench.identities();
    let found = bench.compilers();
    fs_err::copy(bench.file("gcc-9"), bench.file("gcc-8")).unwrap();
    symlink("../gcc-8", bench.file("new")).unwrap();
    fs_err::rename(bench.file("new"), bench.file("bin/gcc")).unwrap();
    assert!(!found.are_unchanged());
    // Of another name, and with the same in it.
    fs_err::remove_file(bench.file("bin/gcc")).unwrap();
    symlink("../gcc-9", bench.file("bin/gcc")).unwrap();
    assert_ne!(bench.identities().0, local);
    assert_eq!(bench.identities().1, portable);
}

/// The version text says nothing of it.
#[test]
fn every_part_counts() {
    let bench = Bench::new();
    let before = bench.identities();
    assert_eq!(bench.identities(), before);
    let old = bench.compilers();
    for (name, text) in [("cc1", "two"), ("as", "another"), ("specs", "%rename x y")] {
        let earlier = bench.identities();
        let new = bench.file("new");
        fs_err::write(&new, text).unwrap();
        if bench.file(name).exists() {
            // The same size and time under the same name.
            let time = fs_err::metadata(bench.file(name)).unwrap().modified().unwrap();
            fs_err::File::options().write(true).open(&new).unwrap().file().set_modified(time).unwrap();
        }
        fs_err::rename(&new, bench.file(name)).unwrap();
        let later = bench.identities();
        assert!(earlier.0 != later.0 && earlier.1 != later.1, "{name}");
        assert!(!old.are_unchanged());
    }
}

#[test]
fn the_same_bytes_elsewhere_are_the_same_compiler_for_another_machine() {
    let (one, other) = (Bench::new(), Bench::new());
    let (one, other) = (one.identities(), other.identities());
    assert_ne!(one.0, other.0);
    assert_eq!(one.1, other.1);
}

#[test]
fn libraries_around_the_compiler_do_not_count_elsewhere() {
    for (name, counts) in [
        ("cc1", true),
        ("libLLVM.so.19.1", true),
        ("libbfd-2.44-system.so", true),
        ("libc.so.6", false),
        ("ld-linux-x86-64.so.2", false),
        ("libzstd.so.1.5.7", false),
        ("x86_64-linux-gnu-ld.bfd", true),
    ] {
        assert_eq!(is_essential(&Path::new("/usr/lib").join(name)), counts, "{name}");
    }
}

/// What this machine has.
#[test]
fn a_real_compiler() {
    let world = World::of(&Root::host(), [("PATH".into(), DEFAULT_PATH.into())].into(), Some(Namespaces::default()));
    let found = Compilers::of(&world, &Toolchain::default()).unwrap();
    let has = |name: &str| found.files.iter().any(|part| part.path.file_name() == Some(OsStr::new(name)));
    assert!(has("cc1"), "{found:#?}");
    assert!(
        found
            .files
            .iter()
            .any(|part| part.path.to_string_lossy().contains("ld-linux")
                || part.path.to_string_lossy().contains("libc."))
    );
}
