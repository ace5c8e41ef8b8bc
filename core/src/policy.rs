//! What results mean: the one function from results to an exit code (docs/laws.md 3).
//!
//! It decides for `reconcile` and for events that package-manager fronts report. The classic verbs return
//! the classic's codes whatever the policy.

use crate::conf::framework::Policy;
use crate::conf::typed::Wish;

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

    /// The table in the documentation, walked.
    #[test]
    fn the_table() {
        let endings = [Ending::Present, Ending::Excluded, Ending::Waiting, Ending::Failed(10)];
        for wish in [Wish::Optional, Wish::Wanted, Wish::Required] {
            for ending in endings {
                for (policy, strict) in
                    [(Policy::Warn, false), (Policy::Fail, false), (Policy::Warn, true), (Policy::Fail, true)]
                {
                    let lacks = matches!(ending, Ending::Waiting | Ending::Failed(_));
                    let expected = match wish {
                        Wish::Wanted if lacks && (strict || policy == Policy::Fail) => 11,
                        Wish::Required if lacks => 11,
                        Wish::Optional | Wish::Wanted | Wish::Required => 0,
                    };
                    assert_eq!(
                        exit_code([(wish, ending)], policy, strict),
                        expected,
                        "{wish:?} {ending:?} {policy:?} {strict}"
                    );
                }
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
