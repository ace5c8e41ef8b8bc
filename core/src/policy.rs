//! What results mean: the one function from results to an exit code (docs/laws.md 3).
//!
//! It decides for `reconcile` and for events that package-manager fronts report. The classic verbs return
//! the classic's codes whatever the policy.

use crate::conf::Wish;
use crate::conf::framework::Policy;

/// How it ended for one package on one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is there.
    Present,
    /// It is not meant to be there.
    Excluded,
    /// It waits for something that may still come.
    Waiting,
    /// It failed, with the classic's exit code for that.
    Failed(u8),
}

/// What `autoinstall` and the kernel verbs return when something failed (docs/contract.md 2.15).
pub const FAILED: u8 = 11;

/// The exit code for `endings`, each with how much the administrator cares about the package.
///
/// | package | ending | warn | fail, or strict |
/// |---|---|---|---|
/// | any | present, excluded | 0 | 0 |
/// | optional | waiting, failed | 0 | 0 |
/// | wanted | waiting, failed | 0 | 11 |
/// | required | waiting, failed | 11 | 11 |
pub fn exit_code(endings: impl IntoIterator<Item = (Wish, Ending)>, policy: Policy, strict: bool) -> u8 {
    let fails = |(wish, ending): (Wish, Ending)| match (wish, ending) {
        (_, Ending::Present | Ending::Excluded) | (Wish::Optional, _) => false,
        (Wish::Wanted, Ending::Waiting | Ending::Failed(_)) => strict || policy == Policy::Fail,
        (Wish::Required, Ending::Waiting | Ending::Failed(_)) => true,
    };
    if endings.into_iter().any(fails) { FAILED } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A column of the table: where it is, the package's wish, the policies it stands for.
    type Column<'a> = (usize, Wish, &'a [(Policy, bool)]);

    /// Each row of the table above, written out.
    #[test]
    fn the_table() {
        use Ending::{Excluded, Failed, Present, Waiting};
        // The package, its ending, the code with policy warn, and the code with policy fail or strict.
        let rows = [
            (Wish::Optional, Present, 0, 0),
            (Wish::Optional, Excluded, 0, 0),
            (Wish::Optional, Waiting, 0, 0),
            (Wish::Optional, Failed(10), 0, 0),
            (Wish::Wanted, Present, 0, 0),
            (Wish::Wanted, Excluded, 0, 0),
            (Wish::Wanted, Waiting, 0, 11),
            (Wish::Wanted, Failed(10), 0, 11),
            (Wish::Required, Present, 0, 0),
            (Wish::Required, Excluded, 0, 0),
            (Wish::Required, Waiting, 11, 11),
            (Wish::Required, Failed(10), 11, 11),
        ];
        for (wish, ending, warn, fail) in rows {
            let code = |policy, strict| exit_code([(wish, ending)], policy, strict);
            assert_eq!(code(Policy::Warn, false), warn, "{wish:?} {ending:?} warn");
            for (policy, strict) in [(Policy::Fail, false), (Policy::Warn, true), (Policy::Fail, true)] {
                assert_eq!(code(policy, strict), fail, "{wish:?} {ending:?} {policy:?} {strict}");
            }
        }
        assert_eq!(exit_code([], Policy::Fail, true), 0);
        assert_eq!(
            exit_code([(Wish::Required, Ending::Present), (Wish::Optional, Ending::Failed(10))], Policy::Fail, true),
            0
        );
    }

    /// The table that administrators read: COMPATIBILITY.md, "What failure means".
    #[test]
    fn the_table_that_is_published() {
        let text = include_str!("../../COMPATIBILITY.md");
        let rows = text.lines().skip_while(|line| !line.starts_with("| `reconcile`, hooks |"));
        let rows: Vec<Vec<&str>> = rows.take(4).map(|row| row.split('|').map(str::trim).collect()).collect();
        assert_eq!(rows.len(), 4);
        for row in rows {
            let ending = match row[2].split([',', ' ']).next() {
                Some("installed") => Ending::Present,
                Some("skipped") => Ending::Excluded,
                Some("waiting") => Ending::Waiting,
                Some("failed") => Ending::Failed(10),
                other => panic!("{other:?}"),
            };
            let strict_and_failing = [(Policy::Fail, false), (Policy::Warn, true), (Policy::Fail, true)];
            let columns: [Column<'_>; 5] = [
                (3, Wish::Optional, &strict_and_failing),
                (4, Wish::Wanted, &[(Policy::Warn, false)]),
                (5, Wish::Wanted, &strict_and_failing),
                (6, Wish::Required, &strict_and_failing),
                (6, Wish::Required, &[(Policy::Warn, false)]),
            ];
            for (column, wish, cases) in columns {
                for (policy, strict) in cases {
                    let code = exit_code([(wish, ending)], *policy, *strict);
                    assert_eq!(row[column], code.to_string(), "{row:?} {wish:?} {policy:?} {strict}");
                }
            }
        }
    }
}
