//! Everything goes wrong at every step: `make torture` tries all points, `make test` a sample of them.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

#[cfg(target_arch = "x86_64")]
mod calls;
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
    let suite = Suite::new(&[Need::Bed, Need::Subject, Need::Long]).case("order_reader", order::self_test);
    let suite = scenarios::ALL.iter().fold(suite, |suite, scenario| suite.case(scenario.name, || scenario.sweep()));
    let suite =
        pairs::ALL.iter().fold(suite, |suite, pair| suite.case_needing(&[Need::Ours], pair.name, || pair.run()));
    let suite = suite.case_needing(&[Need::Ours], "damaged_files", damage::run);
    let suite = hostile::ALL
        .iter()
        .fold(suite, |suite, hostile| suite.case_needing(&[Need::Ours], hostile.name, || hostile.run()));
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
