use super::*;
use crate::names;

#[path = "../../../tests/fronts/preflight_table.rs"]
mod table;

fn release() -> Release {
    Release::new(table::RELEASE).unwrap()
}

/// The kernel with its headers, and packages called `names` that nobody has looked into.
fn incoming(names: &[&str]) -> Incoming {
    Incoming {
        kernels: vec![Kernel::new(release())],
        headers: [release()].into(),
        packages: Packages { unread: names.iter().map(|name| (*name).to_owned()).collect(), ..Packages::default() },
        ..Incoming::default()
    }
}

fn brings(name: &str, version: &str) -> Packages {
    Packages { sources: [names::Package::new(name, version).unwrap()].into(), ..Packages::default() }
}

/// Whether anything is found, and whether that stops.
fn judged(ctx: &Context, incoming: &Incoming) -> (bool, bool) {
    let verdict = look(ctx, incoming).unwrap();
    (!verdict.findings.is_empty(), verdict.stop().is_some())
}

/// Required and excluded, and wanted and known to fail under policy `fail`: both stop.
fn systems(dir: &std::path::Path) -> [Context; 2] {
    let of = |name: &str, wish| {
        let dir = dir.join(name);
        fs_err::create_dir_all(&dir).unwrap();
        let mut ctx = table::system(&dir, wish, name);
        ctx.framework.policy = Policy::Fail;
        ctx
    };
    [of("exclude", "required"), of("failed", "wanted")]
}

#[test]
fn the_table_that_is_published() {
    table::walk(&|_, with_headers| {
        let mut incoming = incoming(&[]);
        incoming.headers.retain(|_| with_headers);
        incoming
    });
}

#[test]
fn an_old_versions_account_stops_only_when_no_other_can_come() {
    let dir = tempfile::tempdir().unwrap();
    let (nothing, warned, stopped) = ((false, false), (true, false), (true, true));
    for ctx in systems(dir.path()) {
        let at = |names: &[&str], again| judged(&ctx, &Incoming { again, ..incoming(names) });
        // What has not been looked into may bring another version under any name, and will be looked into.
        assert_eq!(at(&["vendor"], true), warned);
        assert_eq!(at(&["vendor"], false), stopped);
        assert_eq!(at(&[], true), stopped);
        // Nothing is ever looked into: names tell.
        for name in ["zfs-dkms", "dkms-zfs", "kmod-zfs-dkms", "zfs", "akmod-zfs"] {
            for again in [false, true] {
                assert_eq!(at(&[name], again), nothing, "{name}");
            }
        }
        assert_eq!(judged(&ctx, &Incoming { packages: brings("zfs", "2"), ..incoming(&[]) }), nothing);
        assert_eq!(judged(&ctx, &Incoming { packages: brings("other", "2"), ..incoming(&[]) }), stopped);
    }
}

#[test]
fn what_goes_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    for ctx in systems(dir.path()) {
        for (headers, going, expected) in [
            (true, "zfs-dkms", (false, false)),
            (false, "zfs-dkms", (false, false)),
            (false, "zfs-utils", (true, true)),
            (false, "akmod-zfs", (true, true)),
        ] {
            let mut incoming = incoming(&[]);
            incoming.headers.retain(|_| headers);
            incoming.packages.going = [going.to_owned()].into();
            assert_eq!(judged(&ctx, &incoming), expected, "{going}, {headers}");
        }
    }
}

#[test]
fn nothing_is_missed_where_nothing_is_installed_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    for ctx in systems(dir.path()) {
        assert_eq!(judged(&ctx, &incoming(&[])), (true, true));
        fs_err::write(ctx.trees.outer(crate::context::NO_AUTOINSTALL), "").unwrap();
        assert_eq!(judged(&ctx, &incoming(&[])), (false, false));
    }
}

#[test]
fn no_room_is_needed_where_nothing_is_built() {
    let dir = tempfile::tempdir().unwrap();
    let [excluded, failed] = systems(dir.path());
    let mut much = Incoming { bytes: u64::MAX / 2, ..incoming(&[]) };
    let room = |ctx: &Context, incoming: &Incoming| {
        let findings = look(ctx, incoming).unwrap().findings;
        findings.iter().any(|finding| matches!(finding.what, What::LowSpace(_)))
    };
    assert!(!room(&excluded, &much));
    assert!(room(&failed, &much));
    much.headers.clear();
    assert!(!room(&failed, &much));
    // Where its image takes the place of another, a kernel takes no room in /boot.
    let mut boot = incoming(&[]);
    assert!(!room(&failed, &boot));
    boot.boot = Some(u64::MAX / 2);
    assert!(room(&failed, &boot));
}

#[test]
fn what_no_kernel_ever_had_is_not_missed() {
    use crate::tree::record::{Outcome, Record};
    let dir = tempfile::tempdir().unwrap();
    let ctx = table::system(dir.path(), "wanted", "exclude");
    assert_eq!(judged(&ctx, &incoming(&[])), (true, false));
    let kernel = names::Kernel::new("7.1-1.x86_64", "x86_64").unwrap();
    let outcome = Outcome::Skipped { why: "it says so".into() };
    Record { package: names::Package::new("zfs", "1").unwrap(), kernel, outcome, at: 1 }.store(&ctx.trees).unwrap();
    assert_eq!(judged(&ctx, &incoming(&[])), (false, false));
    fs_err::write(ctx.trees.outer("/etc/dkms/zfs.conf"), "DKMS_POLICY=required\n").unwrap();
    assert_eq!(judged(&ctx, &incoming(&[])), (true, true));
}

#[test]
fn the_first_module_package_of_a_system_counts_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = table::system(dir.path(), "required", "");
    fs_err::remove_dir_all(ctx.trees.outer("/var/lib/dkms/zfs")).unwrap();
    for (names, found) in [(&[][..], false), (&["bash"], false), (&["zfs-dkms"], true)] {
        let incoming = Incoming { headers: BTreeSet::new(), ..incoming(names) };
        assert_eq!(judged(&ctx, &incoming), (found, found), "{names:?}");
    }
}

#[test]
fn findings_name_what_to_do() {
    let package = |label: &str, prediction| ExpectedPackage {
        label: label.to_owned(),
        name: Name::new(label.split('/').next().unwrap()).unwrap(),
        wish: Wish::Required,
        prediction,
    };
    let kernel = |has_headers, packages| NewKernel {
        release: release(),
        has_headers,
        headers: "dnf install kernel-devel-7.2-1".into(),
        packages,
    };
    let room = |by| LowSpace { dir: "/var/lib/dkms".into(), free: 3 << 20, needed: 16 << 20, by };
    let verdict = judge(&PreflightInput {
        policy: Policy::Warn,
        kernels: vec![
            kernel(true, vec![package("c/1", Prediction::Failed("no_such_thing".into()))]),
            kernel(false, vec![package("a/1", Prediction::Builds), package("b/2", Prediction::Builds)]),
        ],
        room: vec![room(Taker::Builds), room(Taker::PackagesAndBuilds)],
        uncertain: false,
    });
    let text: Vec<String> = verdict.findings.iter().map(ToString::to_string).collect();
    let kernel = table::RELEASE;
    assert_eq!(
        text,
        [
            &format!(
                "kernel {kernel} comes without its headers, so it will lack the modules of a/1, b/2 (to fix it: dnf install \
                 kernel-devel-7.2-1)"
            ),
            &format!(
                "c/1 could not be built for kernel {kernel} before: no_such_thing (to fix it: dkms status c/1 --long)"
            ),
            "/var/lib/dkms has 3 MiB free, and building modules takes about 16 MiB",
            "/var/lib/dkms has 3 MiB free, and the transaction and building modules take about 16 MiB",
        ]
    );
    let stop = "stopped by DKMS_POLICY=required in /etc/dkms/a.conf and DKMS_POLICY=required in /etc/dkms/c.conf";
    assert_eq!(verdict.stop().as_deref(), Some(stop));
}
