//! Makes the systems that every run of the tests uses, in the order in which the suites come to them. A suite makes what it lacks
//! by itself: this only begins earlier, while programs are compiled.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use dkms_tests::bed::Base;
use dkms_tests::rpm::Kind;
use dkms_tests::{arch, building, debian};

/// Makes one, unless it is there.
type Make = fn() -> Result<Base>;

const BEDS: &[(&str, Make)] = &[
    ("pacman", || arch::root("sid")),
    ("trixie", Base::trixie),
    ("boot", Base::boot),
    ("clang", Base::clang),
    ("debian", || debian::base("trixie")),
    ("initramfs", Base::initramfs),
    ("checkers", Base::checkers),
    ("rpm", || Kind::Dnf5.base()),
    ("bookworm", Base::bookworm),
    ("share", || Base::fleet(&[])),
    ("source packages", building::debian),
];

#[allow(clippy::print_stdout)] // a program for whoever reads its log
fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (name, make) in BEDS {
        let begin = Instant::now();
        match make() {
            Ok(_) => println!("{name}: {} s", begin.elapsed().as_secs()),
            Err(error) => {
                println!("{name}: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
