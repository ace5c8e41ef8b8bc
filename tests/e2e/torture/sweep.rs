//! Points: a scenario, one of the calls of its command, and what happens there. After each, nothing may be torn or lost,
//! `status` works, and the same command, run again, ends where an undisturbed one does.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use dkms_tests::settings::{self, Effort};

use crate::calls::{Kind, errno_name};
use crate::order;
use crate::tracer::{Call, Then};
use crate::world::{State, World};

/// Points that were tried, in all scenarios.
pub static POINTS: AtomicUsize = AtomicUsize::new(0);
/// Points after which something was not as it should be.
pub static VIOLATIONS: AtomicUsize = AtomicUsize::new(0);

/// A command that is killed, and before which of its calls: the first that this holds for.
pub type Killed = (&'static [&'static str], fn(&Call) -> bool);

/// A command in a state.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Makes the state, from the furnished system.
    pub setup: &'static str,
    /// A command that is killed first, and where: then `command` begins by healing.
    pub killed: Option<Killed>,
    /// What is tortured.
    pub command: &'static [&'static str],
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Error(i32),
    /// No thread and no process is to be had from here on.
    Starved,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kill => f.write_str("killed"),
            Self::Error(errno) => f.write_str(&errno_name(*errno)),
            Self::Starved => f.write_str("no more threads"),
        }
    }
}

/// The faults that a call can meet.
fn faults(call: &Call) -> impl Iterator<Item = Fault> {
    call.kind
        .changes()
        .then_some(Fault::Kill)
        .into_iter()
        .chain(call.kind.errors().iter().map(|errno| Fault::Error(*errno)))
        .chain((call.kind == Kind::Spawn).then_some(Fault::Starved))
}

/// How the undisturbed command ends.
struct Undisturbed {
    before: State,
    /// What the index names in vain already.
    unindexed: Wrong,
    after: State,
    calls: Vec<Call>,
    /// Its exit code, and that of the next run.
    codes: BTreeSet<i32>,
    /// After the next run.
    later: State,
}

/// What was found at a point, in words.
type Wrong = Vec<String>;

impl Scenario {
    /// Tries all its points, or a sample of them.
    pub fn sweep(&self) -> Result<()> {
        self.sweep_in(&World::new()?, settings::torture(), |_| true)
    }

    /// The same in a system that others have used, with those faults that `is_wanted`.
    fn sweep_in(&self, world: &World, effort: Effort, is_wanted: fn(Fault) -> bool) -> Result<()> {
        world.restore("empty")?;
        world.sh(self.setup)?.ok().context("set the scene")?;
        world.save("scene")?;
        let undisturbed = self.undisturbed(world)?;
        let disorder = order::check(&undisturbed.calls);
        let at = settings::torture_at().unwrap_or_default();
        let all: Vec<(usize, Fault)> = (undisturbed.calls.iter().enumerate())
            .filter(|(_, call)| call.to_string().contains(&at))
            .flat_map(|(number, call)| faults(call).map(move |fault| (number, fault)))
            .filter(|(_, fault)| is_wanted(*fault))
            .collect();
        let chosen = sample(&all, self.name, effort);
        let start = Instant::now();
        let mut tried = 0;
        let mut report: Vec<String> = disorder.into_iter().map(|line| format!("order: {line}")).collect();
        for (number, fault) in &chosen {
            if let Some((call, wrong)) = self.point(world, &undisturbed, *number, *fault)? {
                tried += 1;
                if !wrong.is_empty() {
                    report.push(format!("{fault} at call {number}, {call}:\n{}", wrong.join("\n")));
                }
            }
        }
        conclude(self.name, (tried, all.len()), start, report)
    }

    /// Brings the scene back: the state, and the command that was killed in it.
    fn scene(&self, world: &World) -> Result<()> {
        world.restore("scene")?;
        if let Some((words, at)) = self.killed {
            let mut done = false;
            world.traced(words, &mut |_, call| {
                if done || !at(call) {
                    return Then::Go;
                }
                done = true;
                Then::Kill
            })?;
            ensure!(done, "{words:?} has no such call");
        }
        Ok(())
    }

    fn undisturbed(&self, world: &World) -> Result<Undisturbed> {
        self.scene(world)?;
        let before = world.look()?;
        let unindexed = unindexed(world, &before);
        let (first, said) = world.traced(self.command, &mut |_, _| Then::Go)?;
        let after = world.look()?;
        ensure!(!is_panic(first.code, &said), "undisturbed: {}\n{said}", first.code);
        let (next, _) = world.traced(self.command, &mut |_, _| Then::Go)?;
        let later = world.look()?;
        self.scene(world)?;
        let (second, said) = world.traced(self.command, &mut |_, _| Then::Go)?;
        let difference = after.difference(&world.look()?, |_| false);
        ensure!(second.code == first.code && difference.is_empty(), "two undisturbed runs differ:\n{difference}{said}");
        let codes = [first.code, next.code].into();
        Ok(Undisturbed { before, unindexed, after, calls: first.calls, codes, later })
    }

    /// Tries one point; `None` if the command did not come so far.
    fn point(
        &self,
        world: &World,
        ideal: &Undisturbed,
        number: usize,
        fault: Fault,
    ) -> Result<Option<(String, Wrong)>> {
        self.scene(world)?;
        let mut hit = None;
        let (run, said) = world.traced(self.command, &mut |at, call| {
            // Threads and times change the numbers a little: the next call that can meet the fault.
            let is_over = hit.is_some() && fault != Fault::Starved;
            if is_over || at < number || !faults(call).any(|possible| possible == fault) {
                return Then::Go;
            }
            hit.get_or_insert_with(|| call.to_string());
            match fault {
                Fault::Kill => Then::Kill,
                Fault::Error(errno) => Then::Fail(errno),
                Fault::Starved => Then::Fail(nix::libc::EAGAIN),
            }
        })?;
        let Some(call) = hit else { return Ok(None) };
        let mut wrong = Wrong::new();
        if is_panic(run.code, &said) || (fault != Fault::Kill && run.code == 137) {
            wrong.push(format!("  it ended with {}: {}", run.code, tail(&said)));
        }
        let now = world.look()?;
        let is_known = |line: &String| !(line.contains("torn") && said.contains(NOT_STRIPPED));
        wrong.extend(lost(&ideal.before, &ideal.after, &now).into_iter().filter(is_known));
        // Where no program can be started, no depmod can: a removal is one all the same, and says so.
        if !(fault == Fault::Starved && said.contains(INDEX_LATER)) {
            wrong.extend(unindexed(world, &now).into_iter().filter(|line| !ideal.unindexed.contains(line)));
        }
        let status = world.run(&["dkms", "status"])?;
        if status.code != 0 || is_panic(status.code, &status.stderr) {
            wrong.push(format!("  status ends with {}: {}", status.code, status.tail()));
        }
        let mut difference = String::new();
        let mut told = format!("  [{}] {}\n", run.code, tail(&said));
        let mut spoken = said;
        for _ in 0..2 {
            let again = world.run(&[&["dkms"], self.command].concat())?;
            let more = again.stdout + &again.stderr;
            told += &format!("  again: [{}] {}\n", again.code, tail(&more));
            spoken += &more;
            let state = world.look()?;
            let differences = [&ideal.after, &ideal.later]
                .map(|ideal| ideal.difference(&state, |line| is_told(line, &call, fault, &spoken)));
            difference = differences.into_iter().min_by_key(String::len).unwrap_or_default();
            if !ideal.codes.contains(&again.code) {
                difference += &format!("  ends with {}, undisturbed with one of {:?}\n", again.code, ideal.codes);
            }
            if difference.is_empty() {
                break;
            }
        }
        if !difference.is_empty() {
            wrong.push(format!("{difference}{told}"));
        }
        Ok(Some((call, wrong)))
    }
}

/// How many points of each scenario the sample of every run has.
const FEW: usize = 3;

/// The sample of every run: some points of each of `scenarios`, always the same ones.
pub fn few(scenarios: &[&Scenario]) -> Result<()> {
    let world = World::new()?;
    let tried = scenarios.iter().map(|scenario| scenario.sweep_in(&world, Effort::Sample(FEW), |_| true));
    let failures: Vec<String> = tried.filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Where no thread and no process is to be had any more (a limit on processes), each of these ends with an error, and not with an abort.
pub fn starved(names: &[&str], scenarios: &[Scenario]) -> Result<()> {
    let world = World::new()?;
    let chosen = scenarios.iter().filter(|scenario| names.contains(&scenario.name));
    let tried = chosen.map(|scenario| scenario.sweep_in(&world, Effort::Sample(6), |fault| fault == Fault::Starved));
    let ended: Vec<Result<()>> = tried.collect();
    ensure!(ended.len() == names.len(), "not all of {names:?} are there");
    ended.into_iter().collect()
}

/// Counts, prints and keeps what a case has found.
pub fn conclude(name: &str, (tried, all): (usize, usize), start: Instant, mut report: Vec<String>) -> Result<()> {
    POINTS.fetch_add(tried, Ordering::Relaxed);
    VIOLATIONS.fetch_add(report.len(), Ordering::Relaxed);
    let seconds = start.elapsed().as_secs_f64();
    let said = format!("torture: {name}: {tried} points of {all}, {} violations, {seconds:.0} s\n", report.len());
    say(&said);
    let kept = settings::project().join("target/torture");
    fs_err::create_dir_all(&kept)?;
    fs_err::write(kept.join(format!("{name}.log")), format!("{said}{}\n", report.join("\n")))?;
    report.truncate(5);
    ensure!(report.is_empty(), "{said}all in target/torture/{name}.log; the first:\n{}", report.join("\n"));
    Ok(())
}

/// What is said where a removal could not have the index made before it.
const INDEX_LATER: &str = "names modules that are gone";

/// What is said where modules are as the compiler made them.
const NOT_STRIPPED: &str = "keep their debug information";

/// What may differ, since it was said: a record of the result is history, and proves nothing: of what a killed run had
/// just done there may be none; where a program for
/// stripping can't be started, modules keep what it would have taken away. A copy of an image that can't be deleted stays
/// until the next one is made; `fsck` finds it.
fn is_told(path: &str, call: &str, fault: Fault, said: &str) -> bool {
    let records_too = ["/.dkms/records", "/.dkms/.dkms-new-", "/.dkms/lock"].iter().any(|part| call.contains(part));
    (path.contains("/.dkms/records") && (records_too || fault == Fault::Kill))
        || (path.starts_with("/boot/.dkms-old-") && call.contains("/boot/.dkms-old-"))
        || (path.ends_with("/Module.symvers") && said.contains("list of exported symbols is left out"))
        || ((path.contains(".ko") || path.starts_with("/boot/initrd.img-")) && said.contains(NOT_STRIPPED))
}

/// Those of the points that this run tries: an even sample that is another one for each scenario.
pub fn sample<T: Copy>(all: &[T], name: &str, effort: Effort) -> Vec<T> {
    let most = match effort {
        Effort::All => return all.to_vec(),
        Effort::Sample(most) => most,
    };
    if all.len() <= most {
        return all.to_vec();
    }
    let shift = name.bytes().map(usize::from).sum::<usize>() % (all.len() / most);
    (0..most).map(|index| all[(index * all.len() / most + shift).min(all.len() - 1)]).collect()
}

pub fn is_panic(code: i32, said: &str) -> bool {
    code == 134 || code == 101 && said.contains("panicked") || said.contains("panicked at")
}

pub fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.trim_end().lines().collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}

/// What is torn or gone: each module's file is one that was there before or is there after; a module that is there before
/// and after is there; an original is in its place or in the archive.
pub fn lost(ideal_before: &State, ideal_after: &State, now: &State) -> Vec<String> {
    let known: BTreeSet<u64> =
        [ideal_before, ideal_after].iter().flat_map(|state| state.modules.values().copied()).collect();
    let mut wrong = Wrong::new();
    let found = now.in_kernels();
    for ((kernel, module), digests) in &found {
        if digests.iter().any(|digest| !known.contains(digest)) {
            wrong.push(format!("  {module} of {kernel} is torn, or nobody's"));
        }
    }
    let (before, after) = (ideal_before.in_kernels(), ideal_after.in_kernels());
    for key in before.keys().filter(|key| after.contains_key(*key)) {
        if !found.contains_key(key) {
            wrong.push(format!("  {} of {} is gone", key.1, key.0));
        }
    }
    // The kernel's own.
    let own = |state: &State| -> BTreeSet<u64> {
        state.modules.iter().filter(|(path, _)| path.contains("/kernel/")).map(|(_, digest)| *digest).collect()
    };
    let there: BTreeSet<u64> = now.modules.values().copied().collect();
    if !own(ideal_before).is_subset(&there) {
        wrong.push("  a module of the kernel's own is lost".to_owned());
    }
    wrong
}

/// Lines of depmod's index whose file is not there: they end the next initramfs.
fn unindexed(world: &World, now: &State) -> Wrong {
    let mut wrong = Wrong::new();
    for kernel in crate::world::KERNELS {
        let directory = format!("/usr/lib/modules/{kernel}");
        let Ok(index) = fs_err::read_to_string(world.outer(&format!("{directory}/modules.dep"))) else { continue };
        for line in index.lines() {
            let file = format!("{directory}/{}", line.split(':').next().unwrap_or(line));
            if !now.modules.contains_key(&file) {
                wrong.push(format!("  the index names {file}, which is not there"));
            }
        }
    }
    wrong
}

/// The number of a run's first call of this kind whose first path holds `word`.
pub fn is(call: &Call, kind: Kind, word: &str) -> bool {
    call.kind == kind && call.paths.iter().any(|path| path.contains(word))
}

/// A line of the report.
#[allow(clippy::print_stdout)] // this is a test runner
pub fn say(line: &str) {
    print!("{line}");
}
