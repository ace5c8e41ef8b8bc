//! The last word of an apt run: what is not as it should be. apt calls it after each time it ran dpkg.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dkms_core::durable;
use dkms_core::names::Release;
use dkms_core::tree::Trees;
use dkms_core::tree::record::{Outcome, Record};

use crate::core;

fn flag(trees: &Trees) -> PathBuf {
    trees.own().join("summary-due")
}

/// Something happened that the user should be told of once more at the end.
pub fn is_due(trees: &Trees) {
    let _ = durable::own_dirs(&trees.own()).and_then(|()| durable::write_atomic(&flag(trees), b"", 0o644));
}

/// Prints the summary, if one is due. Never fails: apt would stop.
pub fn run() -> u8 {
    let Ok((ctx, _)) = core::context(&["status"]) else { return 0 };
    if !flag(&ctx.trees).exists() {
        return 0;
    }
    let _ = durable::remove_any(&flag(&ctx.trees));
    let records = Record::list(&ctx.trees, None).unwrap_or_default();
    for line in lines(&records, |release| ctx.trees.modules_dir(release).is_dir()) {
        core::say(line);
    }
    0
}

/// One line for each package that is missing from a kernel that is there.
fn lines(records: &[Record], is_there: impl Fn(&Release) -> bool) -> Vec<String> {
    let mut by_kernel: BTreeMap<&Release, Vec<String>> = BTreeMap::new();
    for record in records.iter().filter(|record| is_there(&record.kernel.release)) {
        let why = match &record.outcome {
            Outcome::Waiting { what } => format!("waits for {what}"),
            Outcome::Failed { step, diagnostic, log, .. } => {
                let log = log.as_ref().map(|log| format!(" (log: {})", log.display())).unwrap_or_default();
                let why = diagnostic.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
                format!("{step} failed{why}{log}")
            }
            _ => continue,
        };
        by_kernel.entry(&record.kernel.release).or_default().push(format!("  {}: {why}", record.package));
    }
    let mut lines = Vec::new();
    for (release, packages) in by_kernel {
        lines.push(format!("dkms: kernel {release} lacks modules:"));
        lines.extend(packages);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use dkms_core::names::{Kernel, Package};

    #[test]
    fn only_what_is_wrong_is_told() {
        let record = |name: &str, release: &str, outcome| Record {
            package: Package::new(name, "1").unwrap(),
            kernel: Kernel::new(release, "x86_64").unwrap(),
            outcome,
            at: 0,
        };
        let failed = Outcome::Failed {
            step: "build".into(),
            code: 10,
            diagnostic: Some("a.c:1: no".into()),
            log: Some("/x/make.log".into()),
            remembered_key: None,
        };
        let records = [
            record("a", "6.1", Outcome::Installed),
            record("b", "6.1", failed.clone()),
            record("c", "6.1", Outcome::Waiting { what: "headers of 6.1".into() }),
            record("d", "6.0", failed),
            record("e", "6.1", Outcome::Skipped { why: "arch".into() }),
        ];
        assert_eq!(
            lines(&records, |release| release.as_str() == "6.1"),
            [
                "dkms: kernel 6.1 lacks modules:",
                "  b/1: build failed: a.c:1: no (log: /x/make.log)",
                "  c/1: waits for headers of 6.1",
            ]
        );
    }
}
