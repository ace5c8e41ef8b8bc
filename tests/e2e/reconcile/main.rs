//! Kernels come and go: `reconcile`, `autoinstall`, the kernel verbs and `match`, on three real kernels.

mod budget;
mod dependencies;
mod events;
mod failures;
mod scene;
mod service;
mod verbs;

use std::process::ExitCode;

use anyhow::Result;
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

/// A case, its name, and whether it takes many minutes.
type Named = (&'static str, bool, fn() -> Result<()>);

const LONG: bool = true;
const SHORT: bool = false;

fn main() -> ExitCode {
    let cases: [Named; 19] = [
        // The long ones first: two run side by side.
        ("any_order_of_events_ends_alike", LONG, events::any_order),
        ("budget_of_two_and_three", LONG, budget::trixie),
        ("budget_under_make_4_3", LONG, budget::bookworm),
        ("rebuilt_under_the_same_name", LONG, events::same_name),
        ("a_kernel_leaves", LONG, events::leaves),
        ("initramfs_and_depmod_once", LONG, events::once_per_kernel),
        ("several_kernels_at_once", LONG, budget::several_kernels),
        ("without_private_mounts", LONG, budget::without_namespaces),
        ("exported_symbols_of_a_dependency", SHORT, dependencies::symbols),
        ("dependants_follow", SHORT, dependencies::follow),
        ("cycles_are_named", SHORT, dependencies::cycles),
        ("what_is_remembered", SHORT, failures::remembered),
        ("policies", SHORT, failures::policies),
        ("broken_packages_stop_nobody", SHORT, failures::broken),
        ("dry_run", SHORT, verbs::dry_run),
        ("exit_codes", SHORT, verbs::exit_codes),
        ("matching", SHORT, verbs::matching),
        ("another_root", SHORT, verbs::another_root),
        ("boot_unit", SHORT, service::boot_unit),
    ];
    let needs = |long: bool| if long { &[Need::Long][..] } else { &[] };
    cases
        .into_iter()
        .fold(Suite::new(&[Need::Bed, Need::Ours]), |suite, (name, long, case)| {
            suite.case_needing(needs(long), name, case)
        })
        .main()
}
