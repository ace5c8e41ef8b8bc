//! For the tests of verbs that only look: a system with one kernel, which has no headers, so that nothing can be built.

use std::path::Path;

use crate::cli::args::Args;
use crate::cli::surroundings;
use crate::context::Context;
use crate::names::Package;
use crate::report::{Buffer, Event};
use crate::root::Root;
use crate::tree::Trees;

pub(crate) struct System {
    dir: tempfile::TempDir,
    pub(crate) ctx: Context,
}

impl System {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut ctx = surroundings::context(&Args::parse(["status".into()]).unwrap()).unwrap();
        (ctx.machine.columns, ctx.machine.utf8) = (80, false);
        ctx.trees = Trees::new(Root::at(dir.path()).unwrap());
        let environment = ctx.world.environment().clone();
        ctx.world = crate::world::World::of(&ctx.trees.root, environment, Some(crate::sandbox::Namespaces::default()));
        let system = Self { dir, ctx };
        system.write("lib/modules/6.1/modules.order", "");
        system
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let file = self.dir.path().join(file);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, text).unwrap();
    }

    /// Registers hello/1, with a line more in its dkms.conf.
    pub(crate) fn add(&self, line: &str) {
        let conf = "PACKAGE_NAME=hello\nPACKAGE_VERSION=1\nBUILT_MODULE_NAME=hello\nDEST_MODULE_LOCATION=/extra\nAUTOINSTALL=yes\n";
        self.write("usr/src/hello-1/dkms.conf", &format!("{conf}{line}\n"));
        let link = self.ctx.trees.source_link(&Package::new("hello", "1").unwrap());
        fs_err::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/usr/src/hello-1", link).unwrap();
    }

    /// Runs a command line; the exit code and what was printed on standard output.
    pub(crate) fn run(&self, words: &[&str]) -> (u8, Vec<String>) {
        let args = Args::parse(words.iter().map(std::ffi::OsString::from)).unwrap();
        let said = Buffer::default();
        // As a run of its own.
        self.ctx.trees.snapshot().forget_all();
        let mut ctx = self.ctx.clone();
        ctx.options.dry_run = args.flag("dry-run");
        let code = super::run(&ctx, &args, &said);
        let lines = said.take().into_iter().filter_map(|event| match event {
            Event::Line(line) | Event::Document(line) => Some(line),
            Event::Styled(parts) => Some(parts.into_iter().map(|(_, text)| text).collect()),
            _ => None,
        });
        (code, lines.collect())
    }
}
