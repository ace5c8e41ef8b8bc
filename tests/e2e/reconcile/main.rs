//! Kernels come and go: `reconcile`, `autoinstall`, the kernel verbs and `match`, on three real kernels.

mod budget;
mod dependencies;
mod events;
mod failures;
mod interrupted;
mod scene;
mod service;
mod verbs;

use std::process::ExitCode;

use anyhow::Result;
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

/// A case and its name.
type Named = (&'static str, fn() -> Result<()>);

fn main() -> ExitCode {
    let cases: [Named; 23] = [
        ("all_at_once_and_then_nothing", events::all_at_once),
        ("one_event_after_another", events::one_after_another),
        ("budget_of_two_and_three", budget::trixie),
        ("budget_under_make_4_3", budget::bookworm),
        ("rebuilt_under_the_same_name", events::same_name),
        ("a_kernel_leaves", events::leaves),
        ("initramfs_and_depmod_once", events::once_per_kernel),
        ("several_kernels_at_once", budget::several_kernels),
        ("without_private_mounts", budget::without_namespaces),
        ("exported_symbols_of_a_dependency", dependencies::symbols),
        ("dependants_follow", dependencies::follow),
        ("cycles_are_named", dependencies::cycles),
        ("what_is_remembered", failures::remembered),
        ("remembered_until_a_dependency_changes", failures::remembered_until_a_dependency_changes),
        ("policies", failures::policies),
        ("broken_packages_stop_nobody", failures::broken),
        ("dry_run", verbs::dry_run),
        ("exit_codes", verbs::exit_codes),
        ("matching", verbs::matching),
        ("another_root", verbs::another_root),
        ("boot_unit", service::boot_unit),
        ("what_a_killed_run_left_undone", interrupted::left_undone),
        ("asked_to_end", interrupted::asked),
    ];
    cases
        .into_iter()
        .fold(Suite::new(&[Need::Bed, Need::Ours]), |suite, (name, case)| suite.case(name, case))
        .long(&["one_event_after_another", "budget_of_two_and_three"])
        .main()
}
