//! Everything goes wrong at every step: `make torture` tries all points, `make test-long` a sample of them, `make test` some.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

#[cfg(target_arch = "x86_64")]
mod calls;
#[cfg(target_arch = "x86_64")]
mod crowd;
#[cfg(target_arch = "x86_64")]
mod damage;
#[cfg(target_arch = "x86_64")]
mod hostile;
#[cfg(target_arch = "x86_64")]
mod order;
#[cfg(target_arch = "x86_64")]
mod pairs;
#[cfg(target_arch = "x86_64")]
mod scenarios;
#[cfg(target_arch = "x86_64")]
mod sweep;
#[cfg(target_arch = "x86_64")]
mod tracer;
#[cfg(target_arch = "x86_64")]
mod world;

#[cfg(target_arch = "x86_64")]
fn main() -> ExitCode {
    let part = |which| scenarios::ALL.iter().skip(which).step_by(2).collect::<Vec<_>>();
    // Two, so that they run side by side.
    let suite = Suite::new(&[Need::Bed, Need::Subject])
        .case("order_reader", order::self_test)
        .case_needing(&[Need::Ours], "some_points", move || sweep::few(&part(0)))
        .case_needing(&[Need::Ours], "some_other_points", move || sweep::few(&part(1)));
    let suite = suite.case_needing(&[Need::Ours], "no_threads", || {
        sweep::starved(&["autoinstall", "remove_of_two_kernels"], scenarios::ALL)
    });
    let suite = scenarios::ALL
        .iter()
        .fold(suite, |suite, scenario| suite.case_needing(&[Need::Long], scenario.name, || scenario.sweep()));
    let long = &[Need::Ours, Need::Long];
    let suite = pairs::ALL.iter().fold(suite, |suite, pair| suite.case_needing(long, pair.name, || pair.run()));
    let suite = suite.case_needing(long, "few_at_once", crowd::few).case_needing(long, "twelve_at_once", crowd::twelve);
    let suite = suite.case_needing(long, "damaged_files", damage::run);
    let suite =
        hostile::ALL.iter().fold(suite, |suite, hostile| suite.case_needing(long, hostile.name, || hostile.run()));
    let code = suite.main();
    let (points, violations) = (sweep::POINTS.load(Ordering::Relaxed), sweep::VIOLATIONS.load(Ordering::Relaxed));
    sweep::say(&format!("torture: {points} points tried, {violations} violations\n"));
    code
}

/// Registers differ from architecture to architecture, what is tried does not.
#[cfg(not(target_arch = "x86_64"))]
fn main() -> ExitCode {
    dkms_tests::left_out::left_out("torture", "it knows the registers of x86-64 only");
    Suite::new(&[Need::Bed]).main()
}
