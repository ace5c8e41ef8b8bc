//! `dkms doctor`: whether this system's modules are as they should be ([`crate::diagnosis::doctor`]).

use super::kernels;
use crate::cli::args::Args;
use crate::context::Context;
use crate::diagnosis::doctor::{Health, Severity};
use crate::error::Error;
use crate::reconcile::Scope;
use crate::report::Reporter;
use crate::run::Session;

/// What ends with 0, 1 or 2: for scripts that watch a machine.
const HEALTHY: u8 = 0;
const UNHEALTHY: u8 = 1;
const UNKNOWN: u8 = 2;

/// Prints the problems; the exit code is 0 without any, 1 if something wanted is missing, 2 if that could not be told.
pub(super) fn run(ctx: &Context, args: &Args, json: bool, reporter: &dyn Reporter) -> Result<u8, Error> {
    let scope = if args.kernels.is_empty() { Scope::All } else { Scope::Kernels(kernels(ctx, args)?) };
    let health = match Health::of(&Session::new(ctx)?, &scope) {
        Ok(health) => health,
        Err(error) => {
            reporter.report(super::event(&error));
            return Ok(UNKNOWN);
        }
    };
    if json {
        super::document(&health, reporter)?;
    } else {
        health.print(reporter);
    }
    Ok(match health.worst() {
        Some(Severity::Required | Severity::Wanted) => UNHEALTHY,
        Some(Severity::Unknown) => UNKNOWN,
        Some(Severity::Note) | None => HEALTHY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_system::System;
    use crate::plan::FollowUp;

    /// The exit code and the lines for people; the JSON must say the same.
    fn examined(system: &System) -> (u8, Vec<String>) {
        let (code, lines) = system.run(&["doctor"]);
        let (again, json) = system.run(&["doctor", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&json.join("\n")).unwrap();
        assert_eq!((again, json["healthy"].as_bool()), (code, Some(code == 0)), "{json}");
        assert_eq!(json["problems"].as_array().unwrap().is_empty(), lines.len() == 1, "{json} {lines:?}");
        (code, lines)
    }

    #[test]
    fn what_is_wanted_and_missing_makes_a_system_unhealthy() {
        let system = System::new();
        assert_eq!(examined(&system).0, HEALTHY, "nothing is wanted");
        system.add("");
        let (code, lines) = examined(&system);
        assert_eq!((code, lines[0].as_str()), (UNHEALTHY, "1 problem:"));
        assert!(lines[1].contains("6.1") && lines[1].contains("hello/1: waiting for headers"), "{lines:?}");
        assert!(lines.iter().any(|line| line.contains("fix: ")), "{lines:?}");
        system.write("etc/dkms/hello.conf", "DKMS_POLICY=optional\n");
        let (code, lines) = examined(&system);
        assert_eq!((code, lines[0].starts_with("Healthy")), (HEALTHY, true));
        assert!(lines[1].contains("note: "), "an optional package is told of: {lines:?}");
    }

    #[test]
    fn what_is_not_meant_for_a_kernel_is_not_missing() {
        let system = System::new();
        system.add("BUILD_EXCLUSIVE_KERNEL='^5'");
        assert_eq!(examined(&system).0, HEALTHY);
        let system = System::new();
        system.add("AUTOINSTALL=no");
        assert_eq!(examined(&system).0, HEALTHY);
    }

    #[test]
    fn a_source_that_is_gone_an_overdue_depmod_and_an_unusable_conf_are_problems() {
        let system = System::new();
        system.add("");
        fs_err::remove_dir_all(system.path().join("usr/src/hello-1")).unwrap();
        let (code, lines) = examined(&system);
        assert!(
            code == UNHEALTHY && lines.iter().any(|line| line.contains("hello/1: its source is gone")),
            "{lines:?}"
        );
        let system = System::new();
        system.write("var/lib/dkms/.dkms/owed/depmod/6.1@1-1", "");
        let (code, lines) = examined(&system);
        assert!(code == UNHEALTHY && lines.iter().any(|line| line.contains("left depmod undone")), "{lines:?}");
        assert_eq!(FollowUp::Depmod.left(&system.ctx.trees).len(), 1, "it only looks");
        let system = System::new();
        system.add("if");
        assert_eq!(examined(&system).0, UNHEALTHY);
    }
}
