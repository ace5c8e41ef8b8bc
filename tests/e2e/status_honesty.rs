//! `dkms status` says what is there, whatever happened behind its back, as the classic says it.

#![allow(clippy::format_push_string)] // a short text for people

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::hello::{module, package};
use dkms_tests::needs::Need;
use dkms_tests::observe::difference;
use dkms_tests::suite::Suite;

/// What happens to a bed in which `hello/1.0` (modules hello and second) is installed for `$K`, and `other/1.0` added.
/// `$D` is the directory of the installed modules, `$T` the tree.
const EVENTS: &[(&str, &str)] = &[
    ("nothing", "true"),
    (
        "a_changed_byte_with_the_mtime_restored",
        "touch -r $D/hello.ko.xz /tmp/ref; printf X | dd of=$D/hello.ko.xz bs=1 seek=100 conv=notrunc 2>/dev/null; touch -r /tmp/ref $D/hello.ko.xz",
    ),
    (
        "a_changed_byte_in_the_tree",
        "printf X | dd of=$T/hello/1.0/$K/x86_64/module/hello.ko.xz bs=1 seek=100 conv=notrunc 2>/dev/null",
    ),
    ("a_removed_file", "rm $D/second.ko.xz"),
    ("a_removed_file_of_the_tree", "rm $T/hello/1.0/$K/x86_64/module/second.ko.xz"),
    ("a_foreign_replacement", "cp --remove-destination $D/second.ko.xz $D/hello.ko.xz"),
    ("the_same_bytes_copied_anew", "cp $D/hello.ko.xz /root/h; rm $D/hello.ko.xz; cp /root/h $D/hello.ko.xz"),
    ("only_touched", "touch $D/hello.ko.xz"),
    ("no_files_at_all", "rm -r $D"),
    ("no_active_link", "rm $T/hello/kernel-$K-x86_64"),
    ("an_active_link_to_nothing", "ln -sfn 9.9/$K/x86_64 $T/hello/kernel-$K-x86_64"),
    ("no_source", "rm -r /usr/src/hello-1.0"),
    ("no_source_link", "rm $T/hello/1.0/source"),
    ("no_kernel", "mv /lib/modules/$K /root/gone"),
    ("an_empty_module_directory", "rm $T/hello/1.0/$K/x86_64/module/*"),
    ("a_stray_file_in_the_tree", "touch $T/stray $T/hello/stray $T/hello/1.0/stray; mkdir $T/empty $T/hello/3.0"),
    ("an_original_directory", "mkdir -p $T/hello/original_module/$K/x86_64"),
    ("a_broken_conf", "echo 'if then (' >/usr/src/hello-1.0/dkms.conf"),
    ("a_conf_that_names_other_modules", "sed -i s/second/third/ /usr/src/hello-1.0/dkms.conf"),
];

fn names(bed: &Bed) -> Result<String> {
    Ok(format!("K={}; T=/var/lib/dkms; D=/lib/modules/$K/updates/dkms; ", bed.kernel()?))
}

fn laid(bed: Bed) -> Result<Bed> {
    let hand = tempfile::tempdir()?;
    let hello = package("hello").module(module("hello")).module(module("second")).build_in(hand.path())?;
    bed.copy_in(&hello, "/usr/src/hello-1.0")?;
    bed.copy_in(&package("other").build_in(hand.path())?, "/usr/src/other-1.0")?;
    Ok(bed)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Where ours says something else on purpose (COMPATIBILITY.md), about any tree or about our own.
const OURS: &[(&str, bool, &str)] = &[
    // The classic takes the modules' suffix from the kernel, and finds no such file in the tree.
    ("no_kernel", false, "(Differences between built and installed modules)"),
    // A manifest says what was built, whatever dkms.conf says by now.
    ("a_conf_that_names_other_modules", true, ": installed\n"),
];

/// Runs each event in a copy of the state after `installer` installed, and asks both programs for the status: ours about
/// its own tree, ours about the classic's tree, and the classic about ours.
fn every_event() -> Result<()> {
    let base = Base::trixie()?;
    let classic = laid(Bed::classic(&base)?)?;
    let ours = laid(Bed::subject(&base)?)?;
    // Each bed can call either program.
    classic.ok("cp /usr/sbin/dkms /root/classic")?;
    ours.copy_in(&dkms_of(&classic)?, "/root/classic")?;
    classic.copy_in(&dkms_of(&ours)?, "/root/ours")?;
    ours.ok("cp /usr/sbin/dkms /root/ours")?;
    for bed in [&classic, &ours] {
        bed.ok(&format!("{} dkms install hello/1.0 -k $K; dkms add other/1.0", names(bed)?))?;
        bed.ok(&format!(
            "{} mkdir /root/kept; cp -a /var/lib/dkms /usr/src/hello-1.0 /lib/modules/$K/updates /root/kept/; ! test -e /lib/modules/$K/.dkms-manifest.json || cp -a /lib/modules/$K/.dkms-manifest.json /root/kept/manifest", names(bed)?
        ))?;
    }
    let mut told = String::new();
    for (event, script) in EVENTS {
        let mut seen = Vec::new();
        for (maker, bed) in [("the classic", &classic), ("ours", &ours)] {
            let names = names(bed)?;
            bed.ok(&format!("{names} {script}"))?;
            for program in ["classic", "ours"] {
                let status = bed.sh(&format!("/root/{program} status"))?;
                seen.push((format!("{program} on a tree made by {maker}"), status));
            }
            bed.ok(&format!(
                "{names} ! test -e /root/gone || mv /root/gone /lib/modules/$K
                 rm -rf /lib/modules/$K/updates $T /usr/src/hello-1.0; cp -a /root/kept/updates /lib/modules/$K/
                 ! test -e /root/kept/manifest || cp -a /root/kept/manifest /lib/modules/$K/.dkms-manifest.json
                 cp -a /root/kept/dkms $T; cp -a /root/kept/hello-1.0 /usr/src/"
            ))?;
        }
        // The first is the classic's own opinion of the classic's own tree.
        for (who, outcome) in &seen[1..] {
            let known = OURS
                .iter()
                .find(|(name, own, _)| name == event && who.starts_with("ours") && (!own || who.ends_with("ours")));
            if let Some((.., says)) = known {
                if outcome.code != 0 || !outcome.stdout.contains(says) {
                    told += &format!("{event}: {who} says\n{}", outcome.stdout);
                }
                continue;
            }
            let lines = difference(&lines(&seen[0].1.stdout), &lines(&outcome.stdout));
            if !lines.is_empty() || outcome.code != seen[0].1.code {
                told += &format!("{event}: {who} exits {}:\n{lines}", outcome.code);
            }
        }
    }
    ensure!(told.is_empty(), "{told}");
    Ok(())
}

/// The program `/usr/sbin/dkms` of a bed, as a file of the host.
fn dkms_of(bed: &Bed) -> Result<std::path::PathBuf> {
    bed.ok("cp /usr/sbin/dkms /mnt/dkms")?;
    Ok(bed.exchange().join("dkms"))
}

/// The classic goes to work on our tree, and we on what it left.
fn turns() -> Result<()> {
    let base = Base::trixie()?;
    let reference = laid(Bed::classic(&base)?)?;
    let mixed = laid(Bed::subject(&base)?)?;
    reference.ok("cp /usr/sbin/dkms /root/classic")?;
    mixed.copy_in(&dkms_of(&reference)?, "/root/classic")?;
    let turns = [
        ("dkms", "install hello/1.0 -k $K"),
        ("/root/classic", "uninstall hello/1.0 -k $K"),
        ("dkms", "install hello/1.0 -k $K"),
        ("/root/classic", "install --force hello/1.0 -k $K"),
        ("/root/classic", "unbuild hello/1.0 -k $K"),
        ("/root/classic", "install hello/1.0 -k $K"),
        ("dkms", "uninstall hello/1.0 -k $K"),
        ("/root/classic", "install hello/1.0 -k $K"),
        ("dkms", "unbuild hello/1.0 -k $K"),
        ("dkms", "install hello/1.0 -k $K"),
        ("/root/classic", "remove hello/1.0 --all"),
        ("dkms", "add hello/1.0"),
    ];
    for (program, arguments) in turns {
        let by_classic = reference.sh(&format!("{} dkms {arguments}", names(&reference)?))?;
        let by_turn = mixed.sh(&format!("{} {program} {arguments}", names(&mixed)?))?;
        ensure!(by_classic.code == by_turn.code, "{program} {arguments} exits {}:\n{}", by_turn.code, by_turn.tail());
        let seen = dkms_tests::observe::Observation::of(&reference)?
            .difference(&dkms_tests::observe::Observation::of(&mixed)?);
        ensure!(seen.is_empty(), "after {program} {arguments}:\n{seen}");
    }
    Ok(())
}

/// An ordinary user sees the same lines as root.
fn ordinary_user() -> Result<()> {
    let bed = laid(Bed::subject(&Base::trixie()?)?)?;
    bed.ok(&format!("{} dkms install hello/1.0 -k $K; dkms add other/1.0", names(&bed)?))?;
    let root = bed.ok("dkms status")?;
    let user = bed.run(&["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "dkms", "status"])?.ok()?;
    ensure!(root == user, "root sees\n{root}an ordinary user sees\n{user}");
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Subject])
        .case("every_event", every_event)
        .case_needing(&[Need::Long], "turns", turns)
        .case("ordinary_user", ordinary_user)
        .main()
}
