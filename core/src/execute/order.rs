//! Which of the steps that could begin does: the one with the longest way to the end, by the logs of earlier builds. A long build that
//! begins last is waited for alone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::context::Context;
use crate::durable;
use crate::names::Name;
use crate::plan::Step;
use crate::tree::walk::{self, Filter};
use crate::workdir::build_log;

/// How long the latest build of each step's package took that is there; `None`: there is none. `asked`: whether anybody
/// wants to know it of a step.
pub(super) fn earlier(ctx: &Context, steps: &[Step], asked: &dyn Fn(&Step) -> bool) -> Vec<Option<Duration>> {
    let mut known: BTreeMap<&Name, Option<Duration>> = BTreeMap::new();
    steps
        .iter()
        .map(|step| {
            let name = asked(step).then_some(&step.package.name)?;
            *known.entry(name).or_insert_with(|| latest(ctx, name))
        })
        .collect()
}

fn latest(ctx: &Context, name: &Name) -> Option<Duration> {
    let filter = Filter { name: Some(name.to_string()), ..Filter::default() };
    let entries = walk::walk(&ctx.trees, &filter).packages.into_iter();
    let logs = entries.flat_map(|entry| {
        let package = entry.package;
        entry.built.into_iter().map(move |built| (package.clone(), built.kernel)).collect::<Vec<_>>()
    });
    let logs = logs.map(|(package, kernel)| ctx.trees.artefact_log(&package, &kernel));
    let latest = logs.filter_map(|log| {
        let meta = fs_err::symlink_metadata(&log).ok().filter(std::fs::Metadata::is_file)?;
        Some((meta.modified().ok()?, log))
    });
    let (_, log) = latest.max()?;
    Some(build_log::elapsed(&String::from_utf8_lossy(&durable::bytes(&log).ok()?)))
}

/// How long it is from the beginning of each step to the end of the last that waits for it. What is not known takes as long as the
/// others do.
pub(super) fn ways(steps: &[Step], expected: &[Option<Duration>]) -> Vec<Duration> {
    let known: Vec<Duration> = expected.iter().filter_map(|time| *time).collect();
    let usual = u32::try_from(known.len()).ok().and_then(|count| known.iter().sum::<Duration>().checked_div(count));
    let own = |index: usize| expected.get(index).copied().flatten().or(usual).unwrap_or_default();
    let mut after = vec![Duration::ZERO; steps.len()];
    let mut ways = vec![Duration::ZERO; steps.len()];
    // Each comes after those it waits for.
    for (index, step) in steps.iter().enumerate().rev() {
        ways[index] = own(index) + after[index];
        for before in &step.after {
            after[*before] = after[*before].max(ways[index]);
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Kernel, Package};
    use crate::plan::{PackageState, Want, requested};

    #[test]
    fn what_others_wait_for_is_as_long_as_they_are() {
        let step = |name: &str, after: &[usize]| {
            let (package, kernel) = (Package::new(name, "1").unwrap(), Kernel::new("6.1", "x86_64").unwrap());
            let mut step = requested(&package, &kernel, &PackageState::Absent, Want::Installed, false);
            step.after = after.to_vec();
            step
        };
        let steps = [step("base", &[]), step("short", &[]), step("long", &[]), step("on-base", &[0]), step("new", &[])];
        let seconds = |times: [Option<u64>; 5]| times.map(|time| time.map(Duration::from_secs));
        let ways = |times| ways(&steps, &seconds(times)).iter().map(Duration::as_secs).collect::<Vec<_>>();
        assert_eq!(ways([Some(1), Some(2), Some(20), Some(25), Some(2)]), [26, 2, 20, 25, 2]);
        assert_eq!(ways([Some(1), Some(2), Some(20), Some(25), None]), [26, 2, 20, 25, 12], "as long as the others");
        assert_eq!(ways([None; 5]), [0; 5]);
    }
}
