//! What the next boot will lack, for notices.

use super::doctor::{Health, Severity};
use crate::context::Context;
use crate::error::Error;
use crate::host::boot_loader;
use crate::kernel::installed;
use crate::names::Release;
use crate::notice::Lack;
use crate::reconcile::Scope;
use crate::run::Session;
use crate::system_error::SystemError;
use crate::tree::record::{Outcome, Record};

/// What is wanted and missing for the kernel that boots next, or for the running one if that is not known. A full look is taken
/// only if something failed or waits for that kernel: this is asked after each run.
pub fn lack(ctx: &Context) -> Result<Option<Lack>, Error> {
    let next = boot_loader::next(&ctx.trees);
    let boots_next = next.is_some();
    let here = |release: &Release| installed::is_there(&ctx.trees, release);
    let Some(release) = next.or_else(|| ctx.machine.running.clone()).filter(here) else { return Ok(None) };
    let records = Record::list(&ctx.trees, Some(&release)).map_err(SystemError::from)?;
    let is_open = |record: &Record| matches!(record.outcome, Outcome::Failed { .. } | Outcome::Waiting { .. });
    if ctx.autoinstall_is_off() || !records.iter().any(is_open) {
        return Ok(None);
    }
    let health = Health::of(&Session::new(ctx)?, &Scope::Kernels(vec![ctx.kernel(&release)?]))?;
    let packages: Vec<String> = health.packages(Severity::Wanted).map(str::to_owned).collect();
    Ok((!packages.is_empty()).then_some(Lack { kernel: release, boots_next, packages }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_system::System;
    use crate::names::{Kernel, Package};

    /// What the program says of the only kernel, which boots next.
    fn lacks(system: &System) -> Option<Vec<String>> {
        system.ctx.trees.snapshot().forget_all();
        let lack = lack(&system.ctx).unwrap()?;
        assert!(lack.boots_next && lack.kernel.as_str() == "6.1", "{lack:?}");
        Some(lack.packages)
    }

    #[test]
    fn what_is_wanted_and_failed_is_missing_until_somebody_says_otherwise() {
        let system = System::new();
        system.write("boot/grub/grub.cfg", "menuentry 'one' {\n linux /boot/vmlinuz-6.1\n}\n");
        system.add("");
        assert_eq!(lacks(&system), None, "nothing was tried yet");
        let record = |outcome| Record {
            package: Package::new("hello", "1").unwrap(),
            kernel: Kernel::new("6.1", "x86_64").unwrap(),
            outcome,
            at: 0,
        };
        record(Outcome::Waiting { what: "headers".to_owned() }).store(&system.ctx.trees).unwrap();
        assert_eq!(lacks(&system), Some(vec!["hello/1".to_owned()]));
        for (file, text) in [
            ("etc/dkms/holds", "hello\n"),
            ("etc/dkms/hello.conf", "DKMS_POLICY=optional\n"),
            ("etc/dkms/no-autoinstall", ""),
        ] {
            system.write(file, text);
            assert_eq!(lacks(&system), None, "{file}");
            fs_err::remove_file(system.path().join(file)).unwrap();
        }
        assert!(lacks(&system).is_some());
        system.write("boot/grub/grub.cfg", "menuentry 'one' {\n linux /boot/vmlinuz-6.2\n}\n");
        system.write("lib/modules/6.2/modules.order", "");
        assert_eq!(lack(&system.ctx).unwrap(), None, "another kernel boots next");
    }
}
