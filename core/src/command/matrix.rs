//! `dkms status --matrix`: all packages on all kernels at a glance, as `reconcile` would find them. It looks, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::context::Context;
use crate::error::Error;
use crate::host::boot_loader;
use crate::kernel::{installed, version};
use crate::loadable::gather::Loadable;
use crate::names::{Kernel, Package};
use crate::plan::{Action, Plan, Reason, Step};
use crate::reconcile::{How, Preview, Scope, preview};
use crate::report::{Event, Reporter, Tone};
use crate::run::Session;
use crate::tree::Trees;
use crate::tree::record::{Outcome, Record};
use crate::tree::walk::{self, Filter, PackageEntry, Source};

/// What there is of a package on a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Installed,
    Shared,
    NotLoadable,
    Outdated,
    Built,
    Missing,
    Waiting,
    Failed,
    Broken,
    Held,
    Manual,
    Excluded,
    Nothing,
}

impl Cell {
    /// Its sign, the same in 7 bits, its meaning, and what it means for the user.
    fn sign(self) -> (char, char, &'static str, Tone) {
        match self {
            Self::Installed => ('✓', '+', "installed", Tone::Good),
            Self::Shared => ('≈', 'w', "uses the build for another kernel", Tone::Good),
            Self::NotLoadable => ('!', '!', "installed, but would not be loaded", Tone::Bad),
            Self::Outdated => ('~', '~', "installed, to be built again", Tone::Doubtful),
            Self::Built => ('b', 'b', "built, not installed", Tone::Doubtful),
            Self::Missing => ('○', 'o', "not installed yet", Tone::Doubtful),
            Self::Waiting => ('…', '?', "waits for headers or another package", Tone::Doubtful),
            Self::Failed => ('✗', 'X', "failed", Tone::Bad),
            Self::Broken => ('#', '#', "its source is gone", Tone::Bad),
            Self::Held => ('h', 'h', "held as it is", Tone::Minor),
            Self::Manual => ('m', 'm', "installed by hand only", Tone::Minor),
            Self::Excluded => ('-', '-', "not meant for this kernel", Tone::Minor),
            Self::Nothing => ('·', '.', "nothing", Tone::Minor),
        }
    }

    /// The cell of what `reconcile` would do, or leave as it is.
    fn of_step(step: &Step, has_failed: bool) -> Option<Self> {
        Some(match (step.action, &step.reason) {
            (Action::Keep, Reason::Shared(_)) => Self::Shared,
            (Action::Keep, Reason::Present) => Self::Installed,
            (Action::Skip, Reason::Excluded(_)) => Self::Excluded,
            (Action::Skip, Reason::Manual) => Self::Manual,
            (Action::Skip, Reason::Held) => Self::Held,
            (Action::Wait, _) => Self::Waiting,
            (Action::Fail, _) => Self::Failed,
            (_, Reason::Missing | Reason::Newer(_)) if has_failed => Self::Failed,
            (Action::Build | Action::Install, Reason::Missing | Reason::Newer(_)) => Self::Missing,
            _ => return None,
        })
    }
}

/// Prints the table for what `filter` wants; gives the exit code.
pub(super) fn run(ctx: &Context, filter: &Filter, reporter: &dyn Reporter) -> Result<u8, Error> {
    let session = Session::new(ctx)?;
    let how = How { spare_known_failures: true, ..How::default() };
    let Preview { plan, broken, notes } = preview(&session, &Scope::All, how)?;
    let walk = walk::walk(&ctx.trees, filter);
    let rows = rows(&ctx.trees, filter, &walk.packages, &plan);
    let kernels = kernels(ctx, filter, &rows)?;
    if rows.is_empty() || kernels.is_empty() {
        let what = if rows.is_empty() { "package" } else { "kernel" };
        reporter.report(Event::Note(format!("There is no {what} to show.")));
    } else {
        let next = boot_loader::next(&ctx.trees);
        let running = ctx.machine.running.clone().filter(|_| ctx.trees.root.is_host());
        let columns = kernels.into_iter().map(|kernel| Column {
            runs: running.as_ref() == Some(&kernel.release),
            next: next.as_ref() == Some(&kernel.release),
            kernel,
        });
        let table =
            Table { rows: &rows, columns: columns.collect(), width: ctx.machine.columns, utf8: ctx.machine.utf8 };
        table.lines().into_iter().for_each(|line| reporter.report(Event::Styled(line)));
    }
    for line in broken.iter().map(ToString::to_string).chain(notes) {
        reporter.warning(&[&line]);
    }
    Ok(0)
}

type Rows = BTreeMap<Package, BTreeMap<Kernel, Cell>>;

/// What there is of each package: the tree says what is built and installed, the plan what is wrong with it or lacking.
fn rows(trees: &Trees, filter: &Filter, packages: &[PackageEntry], plan: &Plan) -> Rows {
    let mut rows = Rows::new();
    // Without records that can be read, what has failed looks as what was never tried.
    let failed: BTreeSet<(Package, Kernel)> = Record::list(trees, None)
        .unwrap_or_default()
        .into_iter()
        .filter(|record| matches!(record.outcome, Outcome::Failed { .. }))
        .map(|record| (record.package, record.kernel))
        .collect();
    for entry in packages {
        let row = rows.entry(entry.package.clone()).or_default();
        for built in &entry.built {
            row.insert(built.kernel.clone(), if built.installed { Cell::Installed } else { Cell::Built });
        }
    }
    let wanted = |step: &&Step| {
        let kernel = &step.kernel;
        filter.wants_package(&step.package) && filter.wants_kernel(kernel.release.as_str(), kernel.arch.as_str())
    };
    for step in plan.steps.iter().filter(wanted) {
        let row = rows.entry(step.package.clone()).or_default();
        let has_failed = failed.contains(&(step.package.clone(), step.kernel.clone()));
        let there = row.get(&step.kernel).copied();
        let cell = match (there, Cell::of_step(step, has_failed)) {
            (Some(Cell::Installed), Some(Cell::Missing | Cell::Failed | Cell::Waiting) | None)
                if matches!(step.reason, Reason::Stale(_)) =>
            {
                Cell::Outdated
            }
            // What is built tells more than that it is not installed yet, or only by hand.
            (Some(there), Some(Cell::Missing | Cell::Manual | Cell::Held) | None) => there,
            (_, Some(cell)) => cell,
            (None, None) => continue,
        };
        row.insert(step.kernel.clone(), cell);
    }
    let loadable = Loadable::new(trees);
    for (package, row) in &mut rows {
        for (kernel, cell) in row.iter_mut().filter(|(_, cell)| **cell == Cell::Installed) {
            let answers = loadable.will_boot(package, kernel).into_iter();
            let refused = answers.filter_map(|answer| answer.answer.err()).any(|why| !why.is_meant());
            *cell = if refused { Cell::NotLoadable } else { Cell::Installed };
        }
    }
    for entry in packages.iter().filter(|entry| entry.source == Source::Broken) {
        if let Some(row) = rows.get_mut(&entry.package) {
            let kernels = plan.steps.iter().filter(wanted).map(|step| step.kernel.clone());
            kernels.collect::<BTreeSet<_>>().into_iter().for_each(|kernel| {
                row.entry(kernel).or_insert(Cell::Broken);
            });
        }
    }
    rows
}

/// The kernels of the table, the newest first: those that are installed, and others that have something.
fn kernels(ctx: &Context, filter: &Filter, rows: &Rows) -> Result<Vec<Kernel>, Error> {
    let mut kernels: BTreeSet<Kernel> = rows.values().flat_map(|row| row.keys().cloned()).collect();
    for found in installed::scan(&ctx.trees, &|_, _| false)? {
        if found.presence != installed::Presence::Installed
            || kernels.iter().any(|kernel| kernel.release == found.release)
        {
            continue;
        }
        let arch = crate::names::Arch::new(ctx.distribution.arch_label(&found.release, &ctx.machine.name))?;
        if filter.wants_kernel(found.release.as_str(), arch.as_str()) {
            kernels.insert(Kernel { release: found.release, arch });
        }
    }
    let mut kernels: Vec<Kernel> = kernels.into_iter().collect();
    kernels.sort_by(|a, b| version::by_age(b.release.as_str(), a.release.as_str()).then_with(|| a.arch.cmp(&b.arch)));
    Ok(kernels)
}

/// A kernel of the table.
#[derive(Debug, Clone)]
struct Column {
    kernel: Kernel,
    /// It runs now.
    runs: bool,
    /// The boot loader starts it next.
    next: bool,
}

/// What is printed.
#[derive(Debug)]
struct Table<'a> {
    rows: &'a Rows,
    columns: Vec<Column>,
    /// How many columns of characters there are.
    width: usize,
    utf8: bool,
}

/// Parts of a line, each with what it means.
type Line = Vec<(Tone, String)>;

/// The width of a kernel's column: a number of two digits and two marks.
const COLUMN: usize = 4;
/// What is kept for names of packages, at least.
const NAME: usize = 12;

impl Table<'_> {
    fn lines(&self) -> Vec<Line> {
        let longest = self.rows.keys().map(|package| package.to_string().chars().count()).max().unwrap_or(0);
        // Names give way first; kernels that then have no room are left out, the oldest first.
        let most = (self.width / 2).max(NAME);
        let wanted = self.width.saturating_sub(self.columns.len().saturating_mul(COLUMN));
        let name = longest.min(most.max(wanted)).max(NAME.min(longest));
        let room = (self.width.saturating_sub(name) / COLUMN).max(1);
        let (shown, left_out) = self.fitting(room);
        let mut head = format!("{:name$}", "");
        for (index, column) in shown.iter().enumerate() {
            let number = format!("{}{}{}", mark(column.runs, '*'), mark(column.next, '>'), index + 1);
            head += &format!("{number:>COLUMN$}");
        }
        let mut lines = vec![vec![(Tone::Strong, head)]];
        let mut seen = BTreeSet::new();
        for (package, row) in self.rows {
            let mut line = vec![(Tone::Plain, format!("{:name$}", self.cut(&package.to_string(), name)))];
            for column in &shown {
                let cell = row.get(&column.kernel).copied().unwrap_or(Cell::Nothing);
                seen.insert(cell);
                let (sign, ascii, _, tone) = cell.sign();
                let sign = if self.utf8 { sign } else { ascii };
                line.push((tone, format!("{sign:>COLUMN$}")));
            }
            lines.push(line);
        }
        lines.push(Vec::new());
        let many_arches = shown.iter().any(|column| column.kernel.arch != shown[0].kernel.arch);
        for (index, column) in shown.iter().enumerate() {
            let Column { kernel, .. } = column;
            let name = if many_arches { kernel.to_string() } else { kernel.release.to_string() };
            let marks = [(column.runs, "* runs now"), (column.next, "> boots next")];
            let marks: Vec<&str> = marks.iter().filter(|(is, _)| *is).map(|(_, words)| *words).collect();
            let marks = if marks.is_empty() { String::new() } else { format!("  {}", marks.join(", ")) };
            let name = self.cut(&name, self.width.saturating_sub(6 + marks.len()));
            lines.push(vec![(Tone::Plain, format!("{:>COLUMN$}  {name}{marks}", index + 1))]);
        }
        if left_out > 0 {
            let kernels = if left_out == 1 { "kernel is" } else { "kernels are" };
            let text = format!("{left_out} more {kernels} left out: widen the terminal, or use -k");
            lines.push(self.wrapped(&text).into_iter().map(|text| (Tone::Doubtful, text)).collect());
        }
        lines.push(Vec::new());
        lines.extend(seen.into_iter().map(|cell| {
            let (sign, ascii, meaning, tone) = cell.sign();
            let sign = if self.utf8 { sign } else { ascii };
            vec![(tone, format!("{sign:>COLUMN$}")), (Tone::Plain, format!("  {meaning}"))]
        }));
        lines
    }

    /// As many kernels as there is room for, and how many are left out: those that run or boot next stay.
    fn fitting(&self, room: usize) -> (Vec<&Column>, usize) {
        let marked = self.columns.iter().filter(|column| column.runs || column.next).count();
        let mut others = room.saturating_sub(marked);
        let mut shown: Vec<&Column> = Vec::new();
        for column in &self.columns {
            let is_marked = column.runs || column.next;
            if shown.len() < room && (is_marked || others > 0) {
                others -= usize::from(!is_marked);
                shown.push(column);
            }
        }
        let left_out = self.columns.len() - shown.len();
        (shown, left_out)
    }

    /// A text of at most `width` characters.
    fn cut(&self, text: &str, width: usize) -> String {
        if text.chars().count() <= width {
            return text.to_owned();
        }
        let end = if self.utf8 { '…' } else { '~' };
        text.chars().take(width.saturating_sub(1)).chain([end]).collect()
    }

    /// A text as lines of the table's width, in one string.
    fn wrapped(&self, text: &str) -> Option<String> {
        let mut lines = vec![String::new()];
        for word in text.split(' ') {
            let line = lines.last_mut()?;
            if !line.is_empty() && line.len() + 1 + word.len() > self.width {
                lines.push(word.to_owned());
            } else {
                *line = format!("{line}{}{word}", if line.is_empty() { "" } else { " " });
            }
        }
        Some(lines.join("\n"))
    }
}

fn mark(is: bool, sign: char) -> String {
    if is { sign.to_string() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_system::System;

    fn table(rows: &Rows, releases: &[&str], width: usize, utf8: bool) -> Vec<String> {
        let column = |release: &&str| Column {
            kernel: Kernel::new(release, "x86_64").unwrap(),
            runs: *release == "6.1",
            next: *release == "6.9",
        };
        let table = Table { rows, columns: releases.iter().map(column).collect(), width, utf8 };
        let text = |line: Line| line.into_iter().map(|(_, text)| text).collect::<String>();
        table
            .lines()
            .into_iter()
            .flat_map(|line| text(line).split('\n').map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    fn some() -> Rows {
        fn row(cells: &[(&str, Cell)]) -> BTreeMap<Kernel, Cell> {
            cells.iter().map(|(release, cell)| (Kernel::new(release, "x86_64").unwrap(), *cell)).collect()
        }
        BTreeMap::from([
            (Package::new("hello", "1").unwrap(), row(&[("6.9", Cell::Installed), ("6.1", Cell::Failed)])),
            (
                Package::new("a-driver-with-a-name-of-some-length", "5.6.4.2~git2024").unwrap(),
                row(&[("6.9", Cell::Excluded)]),
            ),
        ])
    }

    #[test]
    fn the_running_kernel_and_the_next_are_marked_and_signs_explained() {
        let lines = table(&some(), &["6.9", "6.5", "6.1"], 80, false);
        assert_eq!(
            lines,
            [
                format!("{}  >1   2  *3", " ".repeat(51)),
                "a-driver-with-a-name-of-some-length/5.6.4.2~git2024   -   .   .".to_owned(),
                format!("hello/1{}+   .   X", " ".repeat(47)),
                String::new(),
                "   1  6.9  > boots next".to_owned(),
                "   2  6.5".to_owned(),
                "   3  6.1  * runs now".to_owned(),
                String::new(),
                "   +  installed".to_owned(),
                "   X  failed".to_owned(),
                "   -  not meant for this kernel".to_owned(),
                "   .  nothing".to_owned(),
            ]
        );
    }

    #[test]
    fn it_fits_and_says_what_is_left_out() {
        let releases: Vec<String> = (1..=30).rev().map(|minor| format!("6.{minor}")).collect();
        let releases: Vec<&str> = releases.iter().map(String::as_str).collect();
        for (width, left_out) in [(40, Some(25)), (80, Some(20)), (200, None)] {
            for utf8 in [false, true] {
                let lines = table(&some(), &releases, width, utf8);
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:#?}");
                assert!(utf8 || lines.iter().all(|line| line.is_ascii()), "{lines:#?}");
                let text = lines.join(" ");
                assert!(text.contains("* runs now") && text.contains("> boots next"), "{width}: {lines:#?}");
                match left_out {
                    Some(count) => assert!(text.contains(&format!("{count} more kernels are left out")), "{lines:#?}"),
                    None => assert!(!text.contains("left out")),
                }
            }
        }
    }

    #[test]
    fn what_a_system_has() {
        let shown = |system: &System| system.run(&["status", "--matrix"]);
        let system = System::new();
        assert_eq!(shown(&system), (0, Vec::new()), "nothing is registered");
        for (line, sign) in [
            ("", "?  waits for headers or another package"),
            ("BUILD_EXCLUSIVE_KERNEL='^5'", "-  not meant for this kernel"),
            ("AUTOINSTALL=no", "m  installed by hand only"),
            ("DEST_MODULE_LOCATION=/nowhere", "X  failed"),
        ] {
            let system = System::new();
            system.add(line);
            let (code, lines) = shown(&system);
            assert_eq!((code, lines.last().unwrap().trim()), (0, sign), "{lines:?}");
            assert!(lines[1].starts_with("hello/1   "), "{lines:?}");
        }
        system.add("");
        assert_eq!(system.run(&["status", "--matrix", "other"]), (0, Vec::new()));
        assert_eq!(system.run(&["status", "--matrix", "-k", "9*"]).1.len(), 0);
        for more in [["--format", "json"].as_slice(), &["--long"]] {
            assert_eq!(system.run(&[&["status", "--matrix"], more].concat()).0, 2, "{more:?}");
        }
    }
}
