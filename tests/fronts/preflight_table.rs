//! The table in COMPATIBILITY.md, "Before a transaction", walked with a front's mapping: each front includes this file in
//! its unit tests.

use std::path::Path;

use dkms_core::cli::args::Args;
use dkms_core::cli::surroundings;
use dkms_core::conf::framework::Policy;
use dkms_core::context::Context;
use dkms_core::names::{Arch, Kernel, Package, Release};
use dkms_core::preflight::{self, Incoming, What};
use dkms_core::root::Root;
use dkms_core::sandbox::Namespaces;
use dkms_core::tree::Trees;
use dkms_core::tree::record::{Outcome, Record};
use dkms_core::world::World;

/// The kernel that comes, in a form that every package manager can have.
pub const RELEASE: &str = "7.2-1.x86_64";

/// What a table's row is called, and whether something found is of its kind.
type Row = (&'static str, fn(&What) -> bool);

const ROWS: [Row; 5] = [
    ("a kernel comes without its headers", |what| matches!(what, What::NoHeaders)),
    ("a package failed to build for this kernel before", |what| matches!(what, What::Failed(_))),
    ("a package's own rules exclude the kernel", |what| matches!(what, What::Excluded(_))),
    ("a package's dkms.conf can't be used before the kernel is there", |what| matches!(what, What::Unusable(_))),
    ("a file system may have too little room", |what| matches!(what, What::LowSpace(_))),
];

/// `map` makes what comes of [`RELEASE`], with its headers or without, from a package manager's own words.
pub fn walk(map: &dyn Fn(&Context, bool) -> Incoming) {
    let text = include_str!("../../COMPATIBILITY.md");
    let start = text.lines().skip_while(|line| !line.starts_with("| finding |"));
    let rows: Vec<Vec<&str>> = start.skip(2).take_while(|line| line.starts_with('|')).map(cells).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ROWS.map(|(name, _)| name));
    let (warn, fail) = (Policy::Warn, Policy::Fail);
    for (row, (name, is_it)) in rows.iter().zip(ROWS) {
        assert_eq!(row.len(), 5, "{row:?}");
        let cases: [(usize, &str, &[Policy]); 4] = [
            (1, "optional", &[warn, fail]),
            (2, "wanted", &[warn]),
            (3, "wanted", &[fail]),
            (4, "required", &[warn, fail]),
        ];
        for (column, wish, policies) in cases {
            for policy in policies {
                let dir = tempfile::tempdir().unwrap();
                let mut ctx = system(dir.path(), wish, name);
                ctx.framework.policy = *policy;
                let mut incoming = map(&ctx, !name.contains("without its headers"));
                if name.contains("room") {
                    incoming.bytes = u64::MAX / 2;
                }
                let verdict = preflight::look(&ctx, &incoming).unwrap();
                let found = verdict.findings.iter().find(|finding| is_it(&finding.what));
                let found = found.unwrap_or_else(|| panic!("{name}: not found in {verdict:?}"));
                let stops = match row[column] {
                    "stops" => true,
                    "said" => false,
                    other => panic!("{other:?} in {row:?}"),
                };
                assert_eq!(found.stops.is_some(), stops, "{name}, {wish}, {policy:?}");
                assert_eq!(verdict.stop().is_some(), stops, "{name}, {wish}, {policy:?}: {verdict:?}");
            }
        }
    }
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// A system of its own in `dir` with the package `zfs/1`, about which the administrator has this `wish`, and with which
/// the finding `name` comes about.
pub fn system(dir: &Path, wish: &str, name: &str) -> Context {
    let mut ctx = surroundings::context(&Args::parse(["status".into()]).unwrap()).unwrap();
    ctx.trees = Trees::new(Root::at(dir).unwrap());
    // bash sees the files where this process does.
    ctx.world = World::of(&ctx.trees.root, ctx.world.environment().clone(), Some(Namespaces::default()));
    let source = ctx.trees.outer("/usr/src/zfs-1");
    let package = ctx.trees.outer("/var/lib/dkms/zfs/1");
    for dir in [&source, &package, &ctx.trees.outer("/etc/dkms")] {
        fs_err::create_dir_all(dir).unwrap();
    }
    let rule = match name {
        _ if name.contains("exclude") => "BUILD_EXCLUSIVE_KERNEL='^6[.]'\n",
        _ if name.contains("can't be used") => "exit 1\n",
        _ => "",
    };
    // What a vendor says of itself is nobody's wish: DKMS_POLICY does not count here.
    let conf = format!(
        "PACKAGE_NAME=zfs\nPACKAGE_VERSION=1\nBUILT_MODULE_NAME=zfs\nDEST_MODULE_LOCATION=/extra\nAUTOINSTALL=yes\n\
         DKMS_POLICY=required\n{rule}"
    );
    fs_err::write(source.join("dkms.conf"), conf).unwrap();
    fs_err::os::unix::fs::symlink("/usr/src/zfs-1", package.join("source")).unwrap();
    fs_err::write(ctx.trees.outer("/etc/dkms/zfs.conf"), format!("DKMS_POLICY={wish} # as the table says\n")).unwrap();
    if name.contains("failed") {
        let release = Release::new(RELEASE).unwrap();
        let arch = Arch::new(ctx.distribution.arch_label(&release, &ctx.machine.name)).unwrap();
        let outcome = Outcome::Failed {
            step: "make".into(),
            code: 10,
            diagnostic: Some("no_such_thing".into()),
            log: None,
            remembered_key: None,
        };
        let kernel = Kernel { release, arch };
        let record = Record { package: Package::new("zfs", "1").unwrap(), kernel, outcome, at: 1 };
        record.store(&ctx.trees).unwrap();
    }
    ctx
}
