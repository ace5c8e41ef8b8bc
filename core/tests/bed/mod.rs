//! A root with two kernels, and packages whose "compiler" is `cp`, on which command lines are run in this process.

// Each test program uses a part of it.
#![allow(dead_code)]

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use dkms_core::cli::args::Args;
use dkms_core::cli::surroundings;
use dkms_core::cli::table;
use dkms_core::command;
use dkms_core::context::Context;
use dkms_core::report::{Buffer, Event};
use dkms_core::root::Root;
use dkms_core::tree::Trees;
use dkms_core::tree::snapshot::Counts;

/// The kernels, {k1} and {k2} below: the names are as long as that of the kernel that the module was built for.
pub const KERNELS: [&str; 2] = ["6.12.117+deb13-amd61", "6.12.117+deb13-amd62"];

fn with_kernels(text: &str) -> String {
    text.replace("{k1}", KERNELS[0]).replace("{k2}", KERNELS[1])
}

/// A root with kernels and packages.
pub struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    pub fn new() -> Self {
        let bed = Self::empty();
        bed.write("etc/os-release", "ID=test\n");
        bed.write("etc/dkms/framework.conf.d/test.conf", "try_sign_modules=false\n");
        for kernel in KERNELS {
            bed.write(&format!("lib/modules/{kernel}/kernel/own.ko"), "");
            bed.write(&format!("lib/modules/{kernel}/modules.order"), "kernel/own.ko\n");
            bed.write(&format!("lib/modules/{kernel}/modules.builtin"), "");
            bed.write(&format!("usr/src/headers-{kernel}/include/config/auto.conf"), "CONFIG_MODULES=y\n");
            let build = bed.path(&format!("lib/modules/{kernel}/build"));
            symlink(format!("/usr/src/headers-{kernel}"), build).unwrap();
        }
        for (name, version, more) in [
            ("one", "1.0", ""),
            ("one", "0.9", ""),
            ("follower", "1.0", "BUILD_DEPENDS=one\nBUILD_DEPENDS_REBUILD=yes\n"),
        ] {
            bed.source(&format!("usr/src/{name}-{version}"), name, version, more);
        }
        bed.source("srv/one", "one", "1.0", "");
        assert!(
            std::process::Command::new("tar")
                .current_dir(bed.path("srv"))
                .args(["-cf", "one.tar", "one"])
                .status()
                .unwrap()
                .success()
        );
        bed
    }

    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Builds are not root.
        fs_err::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    pub fn source(&self, dir: &str, name: &str, version: &str, more: &str) {
        self.write(
            &format!("{dir}/dkms.conf"),
            &format!(
                "PACKAGE_NAME={name}\nPACKAGE_VERSION={version}\nMAKE=\"sed 's/6.12.117+deb13-amd64/$kernelver/' source >{name}.ko\"\nSTRIP=no\n\
                 BUILT_MODULE_NAME={name}\nDEST_MODULE_LOCATION=/updates\nAUTOINSTALL=yes\n{more}"
            ),
        );
        // A module is an ELF file, whatever follows.
        let mut module = fs_err::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sign/module.ko")).unwrap();
        // Newer versions of a package bring newer modules.
        let at = module.windows(8).position(|bytes| bytes == b"1.2-test").unwrap();
        module.splice(at..at + 3, version.bytes());
        module.extend(format!("{name} {version}\n").bytes());
        fs_err::write(self.path(&format!("{dir}/source")), module).unwrap();
    }

    pub fn copy(&self) -> Self {
        let bed = Self::empty();
        let from = self.dir.path().join(".");
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(bed.dir.path()).status();
        assert!(copied.unwrap().success());
        bed
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(with_kernels(inside))
    }

    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    pub fn append(&self, inside: &str, line: &str) {
        let mut file = fs_err::OpenOptions::new().append(true).open(self.path(inside)).unwrap();
        std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn delete(&self, inside: &str) {
        let path = self.path(inside);
        if path.is_dir() && !path.is_symlink() {
            fs_err::remove_dir_all(path).unwrap();
        } else {
            fs_err::remove_file(path).unwrap();
        }
    }

    pub fn trees(&self) -> Trees {
        Trees::new(Root::at(self.dir.path()).unwrap())
    }

    /// Runs a command line on this root; gives its exit code and all that it said.
    pub fn run(&self, line: &str) -> (u8, Vec<String>) {
        let (code, said, _) = self.counted(line);
        (code, said)
    }

    /// The same, and what it read of the tree.
    pub fn counted(&self, line: &str) -> (u8, Vec<String>, Counts) {
        let (args, ctx) = self.parse(line);
        let reporter = Buffer::default();
        let code = command::run(&ctx, &args, &reporter);
        let said = reporter.take().into_iter().flat_map(|event| match event {
            Event::Line(text) | Event::Note(text) | Event::Document(text) => vec![text],
            Event::Error(lines) | Event::Warning(lines) => lines,
            _ => Vec::new(),
        });
        (code, said.collect(), ctx.trees.snapshot().counts())
    }

    /// The run of a command line that has not begun.
    pub fn parse(&self, line: &str) -> (Args, Context) {
        let root = self.dir.path().display().to_string();
        let line = with_kernels(line).replace("{root}", &root);
        let verb = line.split(' ').next().and_then(table::verb);
        let jobs = if verb.is_some_and(|verb| verb.takes("jobs")) { " -j 1" } else { "" };
        let line = format!("{line} -a x86_64 --root {root}{jobs}");
        // The verbs that look at every kernel take no architecture.
        let line = if line.contains(" -k ") { line } else { line.replace(" -a x86_64", "") };
        let args = Args::parse(line.split(' ').map(OsString::from)).unwrap();
        let ctx = surroundings::context(&args).unwrap();
        (args, ctx)
    }

    pub fn ok(&self, line: &str) {
        let (code, said) = self.run(line);
        assert_eq!(code, 0, "{line}: {said:?}");
    }
}
