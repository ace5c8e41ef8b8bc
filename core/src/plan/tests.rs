use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn kernel(release: &str) -> Kernel {
    Kernel::new(release, "x86_64").unwrap()
}

fn on(kernel: &Kernel, package: &str, state: PackageState) -> PackageInput {
    let (name, version) = package.split_once('/').unwrap();
    PackageInput {
        package: Package::new(name, version).unwrap(),
        kernel: kernel.clone(),
        state,
        other: None,
        wish: Wish::Install,
        depends: Vec::new(),
        follows: false,
        known_failure: None,
    }
}

fn facts(headers: HeadersState, packages: Vec<PackageInput>) -> PlanInput {
    PlanInput {
        registered: packages.iter().map(|package| package.package.name.clone()).collect(),
        kernels: vec![KernelInput {
            kernel: kernel("6.1"),
            presence: Presence::Installed,
            headers,
            leftovers: Vec::new(),
        }],
        packages,
    }
}

fn steps_of(facts: &PlanInput) -> Vec<String> {
    plan(facts)
        .steps
        .iter()
        .map(|step| format!("{:?} {} {:?} {:?}", step.action, step.package, step.reason, step.after))
        .collect()
}

#[test]
fn a_shared_build_serves_while_there_are_no_headers() {
    let shared = || vec![on(&kernel("6.1"), "a/1", PackageState::Shared(Release::new("6.0").unwrap()))];
    let missing = || HeadersState::Missing("x".into());
    assert_eq!(steps_of(&facts(missing(), shared())), [r#"Keep a/1 Shared(Release("6.0")) []"#]);
    assert_eq!(steps_of(&facts(HeadersState::Ready, shared())), ["Build a/1 Missing []"]);
    // What needs it is no worse off.
    let mut packages = shared();
    packages.push(PackageInput { depends: vec![name("a")], ..on(&kernel("6.1"), "b/1", PackageState::Absent) });
    assert_eq!(steps_of(&facts(missing(), packages))[1], r#"Wait b/1 Headers("x") []"#);
}

#[test]
fn each_state_has_its_step() {
    let k = kernel("6.1");
    let stale = |installed| PackageState::Stale { why: Stale::Kernel, installed };
    let table = [
        (on(&k, "a/1", PackageState::Absent), r"Build a/1 Missing []"),
        (on(&k, "a/1", PackageState::Built), r"Install a/1 Missing []"),
        (on(&k, "a/1", PackageState::Installed), r"Keep a/1 Present []"),
        (on(&k, "a/1", stale(true)), r"Build a/1 Stale(Kernel) []"),
        (on(&k, "a/1", stale(false)), r"Build a/1 Stale(Kernel) []"),
        (
            PackageInput { other: Some(Version::new("0").unwrap()), ..on(&k, "a/1", PackageState::Absent) },
            r#"Build a/1 Newer(Version("0")) []"#,
        ),
        (
            on(&k, "a/1", PackageState::Stale { why: Stale::Signature("x".into()), installed: true }),
            r#"Sign a/1 Stale(Signature("x")) []"#,
        ),
        (
            on(&k, "a/1", PackageState::Stale { why: Stale::Unsigned("x".into()), installed: true }),
            r#"Build a/1 Stale(Unsigned("x")) []"#,
        ),
        (PackageInput { wish: Wish::Manual, ..on(&k, "a/1", PackageState::Absent) }, "Skip a/1 Manual []"),
        (PackageInput { wish: Wish::Manual, ..on(&k, "a/1", PackageState::Built) }, "Skip a/1 Manual []"),
        (PackageInput { wish: Wish::Manual, ..on(&k, "a/1", stale(true)) }, "Build a/1 Stale(Kernel) []"),
        (
            PackageInput { wish: Wish::Excluded("x".into()), ..on(&k, "a/1", PackageState::Absent) },
            r#"Skip a/1 Excluded("x") []"#,
        ),
        (
            PackageInput { wish: Wish::Unusable("x".into()), ..on(&k, "a/1", PackageState::Absent) },
            r#"Fail a/1 Unusable("x") []"#,
        ),
        (
            PackageInput {
                known_failure: Some(KnownFailure { code: 10, why: "x".into() }),
                ..on(&k, "a/1", PackageState::Absent)
            },
            r#"Fail a/1 KnownFailure(10, "x") []"#,
        ),
    ];
    for (package, expected) in table {
        assert_eq!(steps_of(&facts(HeadersState::Ready, vec![package])), [expected]);
    }
}

#[test]
fn without_headers_what_is_built_is_installed_and_the_rest_waits() {
    let k = kernel("6.1");
    let packages = vec![
        on(&k, "a/1", PackageState::Absent),
        on(&k, "b/1", PackageState::Built),
        on(&k, "c/1", PackageState::Installed),
    ];
    assert_eq!(
        steps_of(&facts(HeadersState::Missing("h".into()), packages)),
        [r#"Wait a/1 Headers("h") []"#, "Install b/1 Missing []", "Keep c/1 Present []"]
    );
}

/// The cause, not its consequence: what it needs has no headers either.
#[test]
fn without_headers_nothing_else_is_the_reason() {
    let k = kernel("6.1");
    for depends in ["a", "ghost"] {
        let packages = vec![
            on(&k, "a/1", PackageState::Absent),
            PackageInput { depends: vec![name(depends)], ..on(&k, "b/1", PackageState::Absent) },
        ];
        let expected = [r#"Wait a/1 Headers("h") []"#, r#"Wait b/1 Headers("h") []"#];
        assert_eq!(steps_of(&facts(HeadersState::Missing("h".into()), packages)), expected);
    }
}

#[test]
fn dependencies_come_first_and_fail_for_those_who_need_them() {
    let k = kernel("6.1");
    let needs = |package: &str, state, what: &[&str]| PackageInput {
        depends: what.iter().map(|text| name(text)).collect(),
        ..on(&k, package, state)
    };
    let packages = vec![
        needs("a/1", PackageState::Absent, &["z"]),
        needs("b/1", PackageState::Absent, &["ghost"]),
        needs("c/1", PackageState::Absent, &["d"]),
        needs("d/1", PackageState::Absent, &["c"]),
        needs("e/1", PackageState::Absent, &["m"]),
        PackageInput { wish: Wish::Manual, ..on(&k, "m/1", PackageState::Absent) },
        PackageInput { follows: true, ..needs("y/1", PackageState::Installed, &["z"]) },
        on(&k, "z/1", PackageState::Absent),
    ];
    assert_eq!(
        steps_of(&facts(HeadersState::Ready, packages)),
        [
            "Build z/1 Missing []",
            "Build a/1 Missing [0]",
            r#"Wait b/1 Unregistered([Name("ghost")]) []"#,
            r#"Fail d/1 Cycle([Name("c"), Name("d"), Name("c")]) []"#,
            r#"Fail c/1 Dependencies([Name("d")]) []"#,
            "Skip m/1 Manual []",
            r#"Fail e/1 Dependencies([Name("m")]) []"#,
            r#"Build y/1 Stale(Dependency(Name("z"))) [0]"#,
        ]
    );
}

#[test]
fn a_removed_kernel_is_cleaned_up() {
    let k = kernel("5.10");
    let facts = PlanInput {
        kernels: vec![KernelInput {
            kernel: k,
            presence: Presence::Gone,
            headers: HeadersState::Ready,
            leftovers: vec![Package::new("a", "1").unwrap()],
        }],
        ..PlanInput::default()
    };
    assert_eq!(steps_of(&facts), ["Remove a/1 Orphaned []"]);
}

/// A model of a system: what the plan sees of it, and what carrying a plan out does to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Machine {
    /// Installed kernels, with the number of their build.
    kernels: BTreeMap<String, u32>,
    /// Kernels whose headers are there.
    headers: BTreeSet<String>,
    /// Registered versions by name.
    packages: BTreeMap<String, BTreeSet<u32>>,
    /// What is installed: by kernel and name, the version and the kernel's build it was made for.
    installed: BTreeMap<(String, String), (u32, u32)>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Kernel(&'static str, u32),
    Headers(&'static str),
    KernelGone(&'static str),
    Package(&'static str, u32),
    /// Somebody looks although nothing has happened.
    Look,
}

impl Machine {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Kernel(release, build) => {
                self.kernels.insert(release.into(), build);
            }
            Event::Headers(release) => {
                self.headers.insert(release.into());
            }
            Event::KernelGone(release) => {
                self.kernels.remove(release);
                self.headers.remove(release);
            }
            Event::Package(name, version) => {
                self.packages.entry(name.into()).or_default().insert(version);
            }
            Event::Look => {}
        }
        self.carry_out();
    }

    fn facts(&self) -> PlanInput {
        let mut facts =
            PlanInput { registered: self.packages.keys().map(|text| name(text)).collect(), ..PlanInput::default() };
        for release in self.kernels.keys() {
            let headers =
                if self.headers.contains(release) { HeadersState::Ready } else { HeadersState::Missing(String::new()) };
            let k = kernel(release);
            for (package, versions) in &self.packages {
                let newest = *versions.last().unwrap();
                let there = self.installed.get(&(release.clone(), package.clone()));
                let state = match there {
                    Some((version, build)) if *version == newest && *build == self.kernels[release] => {
                        PackageState::Installed
                    }
                    Some((version, _)) if *version == newest => {
                        PackageState::Stale { why: Stale::Kernel, installed: true }
                    }
                    _ => PackageState::Absent,
                };
                let other = there
                    .filter(|(version, _)| *version != newest)
                    .map(|(version, _)| Version::new(version.to_string()).unwrap());
                let wish = match package.as_str() {
                    "excluded" => Wish::Excluded(String::new()),
                    "broken" => Wish::Unusable(String::new()),
                    "manual" => Wish::Manual,
                    _ => Wish::Install,
                };
                let depends = if package == "child" { vec![name("parent")] } else { Vec::new() };
                facts.packages.push(PackageInput {
                    other,
                    wish,
                    depends,
                    ..on(&k, &format!("{package}/{newest}"), state)
                });
            }
            facts.kernels.push(KernelInput {
                kernel: k,
                presence: Presence::Installed,
                headers,
                leftovers: Vec::new(),
            });
        }
        let gone: BTreeSet<&String> = self
            .installed
            .keys()
            .map(|(release, _)| release)
            .filter(|release| !self.kernels.contains_key(*release))
            .collect();
        for release in gone {
            let of = self.installed.iter().filter(|((on, _), _)| on == release);
            let leftovers =
                of.map(|((_, name), (version, _))| Package::new(name, &version.to_string()).unwrap()).collect();
            facts.kernels.push(KernelInput {
                kernel: kernel(release),
                presence: Presence::Gone,
                headers: HeadersState::Ready,
                leftovers,
            });
        }
        facts
    }

    fn carry_out(&mut self) {
        for (index, step) in plan(&self.facts()).steps.iter().enumerate() {
            assert!(step.after.iter().all(|before| *before < index), "a step comes before what it needs");
            let key = (step.kernel.release.to_string(), step.package.name.to_string());
            match step.action {
                Action::Build | Action::Install => {
                    let build = self.kernels[&key.0];
                    self.installed.insert(key, (step.package.version.as_str().parse().unwrap(), build));
                }
                Action::Remove => {
                    self.installed.remove(&key);
                }
                Action::BuildOnly | Action::Uninstall | Action::Delete | Action::Outdate => {
                    panic!("a reconciliation does no such thing")
                }
                Action::Keep | Action::Sign | Action::Skip | Action::Wait | Action::Fail => {}
            }
        }
        assert!(plan(&self.facts()).is_idle(), "looking again finds nothing to do");
    }
}

/// Small and repeatable: the same orders in every run (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// Events of one thing keep their order, those of different things come in any, some come twice.
#[test]
fn every_order_of_events_ends_in_the_same_state() {
    let threads: &[&[Event]] = &[
        &[Event::Kernel("6.1", 1), Event::Kernel("6.1", 2)],
        &[Event::Headers("6.1")],
        &[Event::Kernel("6.12", 1)],
        &[Event::Headers("6.12")],
        &[Event::Kernel("5.10", 1), Event::KernelGone("5.10")],
        &[Event::Kernel("6.6", 1)],
        &[Event::Package("parent", 1), Event::Package("parent", 2)],
        &[Event::Package("child", 1)],
        &[Event::Package("excluded", 1)],
        &[Event::Package("broken", 1)],
        &[Event::Package("manual", 1)],
    ];
    let mut dice = Dice(7);
    let mut ends: BTreeSet<String> = BTreeSet::new();
    for _ in 0..400 {
        let mut left: Vec<std::collections::VecDeque<Event>> =
            threads.iter().map(|events| events.iter().copied().collect()).collect();
        let mut machine = Machine::default();
        while left.iter().any(|events| !events.is_empty()) {
            let index = dice.roll(left.len());
            let Some(event) = left[index].pop_front() else { continue };
            machine.happen(event);
            if dice.roll(3) == 0 {
                machine.happen(event);
            }
            if dice.roll(4) == 0 {
                machine.happen(Event::Look);
            }
        }
        ends.insert(format!("{machine:?}"));
    }
    assert_eq!(ends.len(), 1, "{ends:#?}");
    let end = ends.first().unwrap();
    assert!(end.contains(r#"("6.1", "parent"): (2, 2)"#) && end.contains(r#"("6.12", "child"): (1, 1)"#), "{end}");
    assert!(
        !end.contains(r#"("6.6","#) && !end.contains(r#"("5.10","#),
        "no headers, or no kernel: nothing installed: {end}"
    );
}
