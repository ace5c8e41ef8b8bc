//! Two commands at once: the second begins when the first is about to make one of its changes. Both end, and what is there
//! then is what one after the other would have left.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use dkms_tests::settings;

use crate::sweep::{conclude, is_panic, sample, tail};
use crate::tracer::Then;
use crate::world::{State, World};

/// Two commands in a state.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// Its name.
    pub name: &'static str,
    setup: &'static str,
    first: &'static [&'static str],
    second: &'static [&'static str],
}

const K: &str = "6.1.0-torture";

const ADDED: &str = "cp -a /srv/torture/{hello-1.0,hello-2.0,dummy-1.0} /usr/src/; dkms add hello/1.0; dkms add hello/2.0; dkms add dummy/1.0";
const BUILT: &str = "cp -a /srv/torture/{hello-1.0,hello-2.0,dummy-1.0} /usr/src/; for p in hello/1.0 hello/2.0 dummy/1.0; do dkms add $p; dkms build $p -k 6.1.0-torture; done";
const INSTALLED: &str = "cp -a /srv/torture/{hello-1.0,dummy-1.0} /usr/src/; for p in hello/1.0 dummy/1.0; do dkms add $p; dkms install --force $p -k 6.1.0-torture; done";

/// All pairs.
pub const ALL: &[Pair] = &[
    Pair {
        name: "at_once_add",
        setup: "cp -a /srv/torture/hello-1.0 /usr/src/",
        first: &["add", "hello/1.0"],
        second: &["add", "hello/1.0"],
    },
    Pair {
        name: "at_once_install_and_remove",
        setup: ADDED,
        first: &["install", "hello/1.0", "-k", K],
        second: &["remove", "hello/1.0", "--all"],
    },
    Pair {
        name: "at_once_remove_and_install",
        setup: BUILT,
        first: &["remove", "hello/1.0", "--all"],
        second: &["install", "hello/1.0", "-k", K],
    },
    Pair {
        name: "at_once_two_versions",
        setup: BUILT,
        first: &["install", "--force", "hello/1.0", "-k", K],
        second: &["install", "--force", "hello/2.0", "-k", K],
    },
    Pair {
        name: "at_once_two_packages",
        setup: BUILT,
        first: &["install", "hello/1.0", "-k", K],
        second: &["install", "--force", "dummy/1.0", "-k", K],
    },
    Pair {
        name: "at_once_uninstall_and_install",
        setup: INSTALLED,
        first: &["uninstall", "dummy/1.0", "-k", K],
        second: &["install", "--force", "dummy/1.0", "-k", K],
    },
    Pair {
        name: "at_once_prerm_and_install",
        setup: INSTALLED,
        first: &["kernel_prerm", "-k", K],
        second: &["install", "--force", "dummy/1.0", "-k", K],
    },
    Pair {
        name: "at_once_prerm_and_autoinstall",
        setup: BUILT,
        first: &["kernel_prerm", "-k", K],
        second: &["autoinstall", "-k", K],
    },
    Pair {
        name: "at_once_autoinstall_and_prerm",
        setup: ADDED,
        first: &["autoinstall", "-k", K],
        second: &["kernel_prerm", "-k", K],
    },
    Pair {
        name: "at_once_install_and_prerm",
        setup: BUILT,
        first: &["install", "--force", "dummy/1.0", "-k", K],
        second: &["kernel_prerm", "-k", K],
    },
    Pair { name: "at_once_reconcile", setup: BUILT, first: &["reconcile", "-k", K], second: &["reconcile", "-k", K] },
    Pair {
        name: "at_once_unbuild_and_build",
        setup: BUILT,
        first: &["unbuild", "hello/1.0", "-k", K],
        second: &["build", "hello/1.0", "-k", K],
    },
    Pair {
        name: "at_once_sign_and_uninstall",
        setup: INSTALLED,
        first: &["sign", "--all"],
        second: &["uninstall", "hello/1.0", "-k", K],
    },
    Pair {
        name: "at_once_fsck_and_install",
        setup: BUILT,
        first: &["fsck", "--repair"],
        second: &["install", "hello/1.0", "-k", K],
    },
];

/// What is said of a package that was asked for by name, when another run has taken all modules away from its kernel.
pub const KERNEL_GONE: &str = "another dkms has taken all modules away from that kernel";

/// How long the second may take before it counts as waiting for the first.
const PATIENCE: Duration = Duration::from_millis(400);

impl Pair {
    /// Tries all its points, or a sample of them.
    pub fn run(&self) -> Result<()> {
        let world = World::new()?;
        world.sh(self.setup)?.ok().context("set the scene")?;
        world.save("scene")?;
        let one_after_the_other = |order: [&[&str]; 2]| -> Result<([i32; 2], State)> {
            world.restore("scene")?;
            let codes = order.map(|words| world.run(&[&["dkms"], words].concat()).map(|outcome| outcome.code));
            let [one, two] = codes;
            Ok(([one?, two?], world.look()?))
        };
        let (codes, state) = one_after_the_other([self.first, self.second])?;
        let (back, other) = one_after_the_other([self.second, self.first])?;
        let serial = [(codes, state), ([back[1], back[0]], other)];
        world.restore("scene")?;
        let (record, _) = world.traced(self.first, &mut |_, _| Then::Go)?;
        let all: Vec<usize> = (0..record.calls.len()).filter(|number| record.calls[*number].kind.changes()).collect();
        let start = Instant::now();
        let mut report = Vec::new();
        let chosen = sample(&all, self.name, settings::torture());
        for number in &chosen {
            report.extend(self.point(&world, *number, &serial)?);
        }
        conclude(self.name, (chosen.len(), all.len()), start, report)
    }

    fn point(&self, world: &World, number: usize, serial: &[([i32; 2], State)]) -> Result<Option<String>> {
        world.restore("scene")?;
        let mut second = None;
        let mut early = None;
        let mut at = String::new();
        let (first, said) = world.traced(self.first, &mut |here, call| {
            if here >= number && second.is_none() && call.kind.changes() {
                at = call.to_string();
                let coming = world.start(self.second);
                match coming.recv_timeout(PATIENCE) {
                    Ok(outcome) => early = Some(outcome),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
                second = Some(coming);
            }
            Then::Go
        })?;
        let Some(second) = second else { return Ok(None) };
        let second = match early {
            Some(outcome) => outcome?,
            None => second.recv().context("the second command was lost")??,
        };
        let state = world.look()?;
        let codes = [first.code, second.code];
        let mut differences: Vec<String> = Vec::new();
        for (expected, ideal) in serial {
            // The image of a kernel that goes is of no use, and nobody makes it anew.
            let goes = [self.first, self.second].iter().any(|words| words[0] == "kernel_prerm");
            let mut difference = ideal.difference(&state, |path| goes && path.starts_with("/boot/initrd.img-"));
            // What was undone before it was whole says so, and ends with an error of its own.
            let undone = said.contains(KERNEL_GONE) && first.code == 17;
            let expected = if undone { [first.code, expected[1]] } else { *expected };
            if codes != expected {
                difference += &format!("  exit codes {codes:?}, one after the other {expected:?}\n");
            }
            differences.push(difference);
        }
        let spoken = second.stdout + &second.stderr;
        if is_panic(first.code, &said) || is_panic(second.code, &spoken) {
            differences = vec!["  it panicked\n".to_owned()];
        }
        let least = differences.into_iter().min_by_key(String::len).unwrap_or_default();
        let told = format!("  first: {}\n  second: {}\n", tail(&said), tail(&spoken));
        Ok((!least.is_empty()).then(|| format!("the second begins before call {number}, {at}:\n{least}{told}")))
    }
}
