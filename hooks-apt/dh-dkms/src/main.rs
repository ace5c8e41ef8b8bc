//! `dh_dkms`: the debhelper command for packages that bring kernel modules as source (debhelper(7), docs/contract.md 9.3).
//!
//! For each binary package with a `debian/PACKAGE.dkms` it puts dkms.conf where dkms looks for it, adds the relation to
//! dkms, and the snippets of postinst and prerm that register the modules and take them away.

mod error;
mod input;
mod options;
mod output;
mod packages;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use error::Error;
use options::Options;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "dh_dkms: error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Error> {
    let options = Options::read(std::env::args().skip(1), &variable)?;
    if options.help {
        let _ = std::io::stdout().write_all(options::HELP.as_bytes());
        return Ok(());
    }
    let source = packages::Sources::read(Path::new("."), &variable)?;
    let chosen = source.choose(&options);
    for package in &chosen {
        for conf in input::confs(Path::new("."), &source, package, &options)? {
            output::write(Path::new("."), package, &conf, &options)?;
        }
    }
    output::log(Path::new("."), &chosen, source.compat, &options)
}

/// A variable of the environment, unless empty.
#[allow(clippy::disallowed_methods)] // this is the one place
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
