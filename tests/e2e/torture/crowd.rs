//! Many commands at once, chosen by a seed. After twelve, whatever their order was, everything is whole: no module is torn, each package
//! is there with all its modules or not at all, the index is what depmod would make, and nothing is left over or owed. After two or three,
//! what is there is what one of their orders, one after the other, would have left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use dkms_tests::run::Outcome;
use dkms_tests::settings::{self, Effort};

use crate::pairs::KERNEL_GONE;
use crate::sweep::{conclude, is_panic, tail};
use crate::world::{KERNELS, State, World};

const PACKAGES: [&str; 6] = ["hello/1.0", "hello/2.0", "dummy/1.0", "dummy/2.0", "base/1.0", "needs/1.0"];

/// What is chosen from: `{p}` is a package, `{n}` its name, `{k}` a kernel.
const COMMANDS: [&str; 19] = [
    "add {p}",
    "build {p} -k {k}",
    "install --force {p} -k {k}",
    "install {p} -k {k}",
    "uninstall {p} -k {k}",
    "unbuild {p} -k {k}",
    "remove {p} -k {k}",
    "remove {p} --all",
    "autoinstall -k {k}",
    "reconcile -k {k}",
    "reconcile --all-kernels",
    "kernel_preinst -k {k}",
    "kernel_postinst -k {k}",
    "kernel_prerm -k {k}",
    "hold {n}",
    "unhold {n}",
    "prune --yes",
    "fsck --repair",
    "sign --all",
];

/// Something of everything: added, built, installed for one kernel or for both, and sources that are not registered.
const SCENE: &str = "cp -a /srv/torture/{hello,dummy}-{1.0,2.0} /srv/torture/{base,needs}-1.0 /usr/src/
for p in hello/1.0 dummy/1.0 dummy/2.0 base/1.0 needs/1.0; do dkms add $p; done
for k in 6.1.0-torture 6.6.0-torture; do dkms install --force dummy/1.0 -k $k; dkms install base/1.0 -k $k; done
dkms build hello/1.0 -k 6.1.0-torture; dkms build dummy/2.0 -k 6.1.0-torture; dkms install needs/1.0 -k 6.6.0-torture
for k in 6.1.0-torture 6.6.0-torture; do update-initramfs -u -k $k; done; dkms fsck";

/// All that the packages' modules may be.
const EVERYTHING: [&str; 2] = [
    "cp -a /srv/torture/{hello,dummy,base,needs}-1.0 /usr/src/; for p in hello dummy base needs; do dkms add $p/1.0
for k in 6.1.0-torture 6.6.0-torture; do dkms install --force $p/1.0 -k $k; done; done",
    "cp -a /srv/torture/{hello,dummy}-2.0 /usr/src/; for p in hello dummy; do dkms add $p/2.0
for k in 6.1.0-torture 6.6.0-torture; do dkms install --force $p/2.0 -k $k; done; done",
];

/// Whether depmod would change a kernel's index. The binary ones follow from the others.
const INDEX: &str =
    "for k in 6.1.0-torture 6.6.0-torture; do cd /usr/lib/modules/$k; rm -rf /tmp/index; mkdir /tmp/index
cp -a modules.{dep,alias,symbols,softdep,devname} /tmp/index/; depmod $k
for f in /tmp/index/*; do diff -u $f ${f##*/} >&2 || { echo \"the index of $k is stale\" >&2; exit 1; }; done; done";

/// xorshift64.
struct Random(u64);

impl Random {
    /// The rounds' seeds are small numbers: what follows from two of them has nothing in common.
    fn of(round: usize) -> Self {
        let mut random = Self((round as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.below(2);
        random
    }

    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap_or(0) % count
    }

    fn commands(&mut self, count: usize) -> Vec<String> {
        let mut one = || {
            let package = PACKAGES[self.below(PACKAGES.len())];
            let name = package.split('/').next().unwrap_or(package);
            let kernel = KERNELS[self.below(KERNELS.len())];
            let command = COMMANDS[self.below(COMMANDS.len())];
            command.replace("{p}", package).replace("{n}", name).replace("{k}", kernel)
        };
        (0..count).map(|_| one()).collect()
    }
}

fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

/// How many rounds there are.
fn rounds() -> usize {
    match settings::torture() {
        Effort::All => 60,
        Effort::Sample(count) => count,
    }
}

/// Starts all of them, and waits for all.
fn at_once(world: &World, commands: &[String]) -> Result<Vec<Outcome>> {
    let coming: Vec<_> = commands.iter().map(|command| world.start(&words(command))).collect();
    coming.into_iter().map(|one| one.recv().context("a command was lost")?).collect()
}

fn told(commands: &[String], outcomes: &[Outcome]) -> String {
    let line = |(command, outcome): (&String, &Outcome)| {
        format!("    [{}] {command}: {}\n", outcome.code, tail(&format!("{}{}", outcome.stdout, outcome.stderr)))
    };
    commands.iter().zip(outcomes).map(line).collect()
}

/// A command that broke down, or hung.
fn broken(commands: &[String], outcomes: &[Outcome]) -> Vec<String> {
    let is_broken = |outcome: &Outcome| {
        outcome.code == 137 || is_panic(outcome.code, &outcome.stderr) || is_panic(outcome.code, &outcome.stdout)
    };
    let ends = commands.iter().zip(outcomes).filter(|(_, outcome)| is_broken(outcome));
    ends.map(|(command, outcome)| format!("  {command} ended with {}: {}", outcome.code, outcome.tail())).collect()
}

/// The modules that dkms put beside the kernels' own: path to digest.
fn put(state: &State) -> BTreeSet<(String, u64)> {
    let ours = |(path, _): &(&String, &u64)| path.starts_with("/usr/lib/modules/") && path.contains("/updates/");
    state.modules.iter().filter(ours).map(|(path, digest)| (path.clone(), *digest)).collect()
}

/// Which files each package has on each kernel when it is installed: `hello/1.0, 6.1.0-torture` to paths and digests.
type Whole = BTreeMap<String, BTreeSet<(String, u64)>>;

fn whole(world: &World) -> Result<Whole> {
    let mut all = Whole::new();
    for script in EVERYTHING {
        world.restore("empty")?;
        world.sh(script)?.ok().context("install everything")?;
        let files = put(&world.look()?);
        for installed in installed(world)? {
            let name = installed.split('/').next().unwrap_or_default();
            let kernel = installed.rsplit(' ').next().unwrap_or_default();
            let of_package = |path: &str| {
                let file = path.rsplit('/').next().unwrap_or_default();
                path.contains(&format!("/{kernel}/")) && file.starts_with(name)
            };
            all.insert(installed.clone(), files.iter().filter(|(path, _)| of_package(path)).cloned().collect());
        }
    }
    ensure!(all.len() == 2 * PACKAGES.len() && all.values().all(|files| !files.is_empty()), "not all: {all:?}");
    Ok(all)
}

/// What `dkms status` says is installed: package and kernel.
fn installed(world: &World) -> Result<BTreeSet<String>> {
    let said = world.run(&["dkms", "status"])?.ok()?;
    let lines =
        said.lines().filter_map(|line| line.split_once(": ")).filter(|(_, state)| state.starts_with("installed"));
    Ok(lines.map(|(pair, _)| pair.rsplit_once(", ").map_or(pair, |(pair, _)| pair).to_owned()).collect())
}

/// What is not whole.
fn harm(world: &World, whole: &Whole, own: &BTreeSet<u64>) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let state = world.look()?;
    let installed = installed(world)?;
    let expected: BTreeSet<(String, u64)> =
        installed.iter().flat_map(|pair| whole.get(pair).into_iter().flatten().cloned()).collect();
    let there = put(&state);
    wrong.extend(expected.difference(&there).map(|(path, _)| format!("  {path} is torn or gone: {installed:?}")));
    wrong.extend(there.difference(&expected).map(|(path, _)| format!("  {path} is nobody's: {installed:?}")));
    let modules: BTreeSet<u64> = state.modules.values().copied().collect();
    if !own.is_subset(&modules) {
        wrong.push("  a module of the kernel's own is lost".to_owned());
    }
    for (what, outcome) in [("fsck", world.run(&["dkms", "fsck"])?), ("depmod", world.sh(INDEX)?)] {
        if outcome.code != 0 {
            wrong.push(format!("  {what}: [{}] {}", outcome.code, outcome.tail()));
        }
    }
    Ok(wrong)
}

/// Twelve at once.
pub fn twelve() -> Result<()> {
    let world = World::new()?;
    let own = world.look()?.modules.values().copied().collect();
    let whole = whole(&world)?;
    world.restore("empty")?;
    world.sh(SCENE)?.ok().context("set the scene")?;
    world.save("scene")?;
    let before = harm(&world, &whole, &own)?;
    ensure!(before.is_empty(), "before anything was done:\n{}", before.join("\n"));
    let start = Instant::now();
    let mut report = Vec::new();
    let rounds = rounds();
    for round in 0..rounds {
        world.restore("scene")?;
        let commands = Random::of(round).commands(12);
        let outcomes = at_once(&world, &commands)?;
        let mut wrong = broken(&commands, &outcomes);
        wrong.extend(harm(&world, &whole, &own)?);
        // And it is a state that goes on.
        let settled = world.run(&["dkms", "reconcile", "--all-kernels"])?;
        if ![0, 11].contains(&settled.code) {
            wrong.push(format!("  reconcile afterwards: [{}] {}", settled.code, settled.tail()));
        }
        wrong.extend(harm(&world, &whole, &own)?.into_iter().map(|line| format!("  after reconcile:{line}")));
        if !wrong.is_empty() {
            report.push(format!("round {round}:\n{}\n{}", wrong.join("\n"), told(&commands, &outcomes)));
        }
    }
    conclude("twelve_at_once", (rounds, rounds), start, report)
}

/// All orders of `count` things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(count - 1);
    let places = (0..count).flat_map(|place| shorter.iter().map(move |order| (place, order)));
    places.map(|(place, order)| [&order[..place], &[count - 1], &order[place..]].concat()).collect()
}

/// Two at once, and three.
pub fn few() -> Result<()> {
    let world = World::new()?;
    world.sh(SCENE)?.ok().context("set the scene")?;
    world.save("scene")?;
    let start = Instant::now();
    let mut report = Vec::new();
    let rounds = rounds();
    for round in 0..rounds {
        let commands = Random::of(1000 + round).commands(if round % 4 == 3 { 3 } else { 2 });
        let mut serial = Vec::new();
        for order in orders(commands.len()) {
            world.restore("scene")?;
            let mut codes = vec![0; commands.len()];
            for one in order {
                codes[one] = world.run(&[&["dkms"], words(&commands[one]).as_slice()].concat())?.code;
            }
            serial.push((codes, world.look()?));
        }
        // Each time another way through each other.
        for _ in 0..3 {
            world.restore("scene")?;
            let outcomes = at_once(&world, &commands)?;
            let wrong = broken(&commands, &outcomes);
            let difference = least_difference(&serial, &commands, &outcomes, &world.look()?);
            if !wrong.is_empty() || !difference.is_empty() {
                let told = told(&commands, &outcomes);
                report.push(format!("round {round}:\n{}{difference}{told}", wrong.join("\n")));
                break;
            }
        }
    }
    conclude("few_at_once", (rounds, rounds), start, report)
}

/// How the nearest of the orders differs; empty if one of them ends so.
fn least_difference(serial: &[(Vec<i32>, State)], commands: &[String], outcomes: &[Outcome], state: &State) -> String {
    // The image of a kernel that goes is of no use, and nobody makes it anew.
    let goes = commands.iter().any(|command| command.starts_with("kernel_prerm"));
    let differences = serial.iter().map(|(codes, ideal)| {
        let mut difference = ideal.difference(state, |path| goes && path.starts_with("/boot/initrd.img-"));
        for ((expected, outcome), command) in codes.iter().zip(outcomes).zip(commands) {
            // What was undone before it was whole says so, and ends with an error of its own.
            let undone = outcome.code == 17 && outcome.stderr.contains(KERNEL_GONE);
            if *expected != outcome.code && !undone {
                difference += &format!("  {command} ends with {}, one after the other with {expected}\n", outcome.code);
            }
        }
        difference
    });
    differences.min_by_key(String::len).unwrap_or_default()
}
