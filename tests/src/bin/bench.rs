//! `make bench`: ours against the classic and against the floor, as ratios taken in one run.
//!
//! Prints a Markdown table for the README. Absolute times are this machine's and of no other use. `bench ROUNDS PACKAGES` measures with
//! other numbers than 5 and 100; `bench NAME... [ROUNDS]` measures the named ones of [`SINGLE`] only, which nothing else does.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::debs;
use dkms_tests::hello::package;
use dkms_tests::needs::Need;
use dkms_tests::programs;
use dkms_tests::run::{command, run};
use dkms_tests::settings;

/// What is measured, against what, and which ratio is promised.
struct Row {
    case: &'static str,
    title: &'static str,
    floor: &'static str,
    /// At most so many times the floor; 0: nothing is promised.
    within: f64,
    /// At least so many times faster than the classic.
    faster: Option<f64>,
}

const ROWS: &[Row] = &[
    Row { case: "start-up", title: "`dkms --version`", floor: "true", within: 2.0, faster: None },
    Row {
        case: "status",
        title: "`dkms status`, 100 packages x 3 kernels",
        floor: "find",
        within: 3.0,
        faster: Some(1000.0),
    },
    // Each of the 300 modules is read, and what it needs is looked up.
    Row {
        case: "status-long",
        title: "`dkms status --long`, 100 packages x 3 kernels",
        floor: "xz",
        within: 3.0,
        faster: None,
    },
    Row {
        case: "one-module",
        title: "build and install one small module",
        floor: "make+depmod",
        within: 1.15,
        faster: None,
    },
    Row {
        case: "eight-modules-x1",
        title: "`autoinstall`, 8 signed modules",
        floor: "make+depmod",
        within: 1.10,
        faster: Some(2.4),
    },
    Row {
        case: "eight-modules-full-x1",
        title: "the same on Debian's full kernel",
        floor: "make+depmod",
        within: 1.10,
        faster: Some(3.5),
    },
    Row {
        case: "eight-modules-second",
        title: "the 8 modules removed, added and installed a second time (result cache)",
        floor: "first",
        within: 0.02,
        faster: None,
    },
    Row {
        case: "eight-modules-full-second",
        title: "the same on Debian's full kernel",
        floor: "first",
        within: 0.02,
        faster: None,
    },
    Row {
        case: "eight-modules-x3",
        title: "`reconcile`, 8 signed modules x 3 kernels",
        floor: "make+depmod",
        within: 1.10,
        faster: Some(2.4),
    },
    Row {
        case: "nothing-to-do",
        title: "`reconcile`, 100 packages x 3 kernels, nothing to do",
        floor: "find",
        within: 5.0,
        faster: None,
    },
    // What keeping builds apart costs: the same with build_as="root". Processor time, since 3 % is less than a busy machine varies.
    Row {
        case: "kept-apart",
        title: "build of one small module, as a user of its own in namespaces of its own (processor time)",
        floor: "as-root",
        within: 1.03,
        faster: None,
    },
    Row {
        case: "status-kept-apart",
        title: "`dkms status`, 100 packages x 3 kernels, with that setting (processor time)",
        floor: "as-root",
        within: 1.05,
        faster: None,
    },
    Row {
        case: "uninstall",
        title: "`uninstall` of a package of 600 modules",
        floor: "four-quarters",
        within: 1.5,
        faster: None,
    },
];

/// What is measured by its name alone, each in a bed of its own.
struct Single {
    name: &'static str,
    bed: Bedding,
    /// The package of the archive whose source it builds.
    source: Option<&'static str>,
    rows: &'static [Row],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bedding {
    Cloud,
    Full,
    /// With what real packages need.
    Real,
    /// With a registry.
    Fleet,
}

const fn compiled(case: &'static str, title: &'static str) -> Row {
    Row { case, title, floor: "plain", within: 0.0, faster: None }
}

const fn eight(case: &'static str, title: &'static str, within: f64, faster: Option<f64>) -> Row {
    Row { case, title, floor: "make+depmod", within, faster }
}

const fn tree(case: &'static str, title: &'static str) -> Row {
    Row { case, title, floor: "find", within: 0.5, faster: None }
}

const SINGLE: &[Single] = &[
    Single {
        name: "eight-modules-cold",
        bed: Bedding::Cloud,
        source: None,
        rows: &[eight(
            "eight-modules-cold",
            "`autoinstall`, 8 signed modules, no compiler's answer is known",
            1.0,
            None,
        )],
    },
    Single {
        name: "eight-modules-warm",
        bed: Bedding::Cloud,
        source: None,
        rows: &[eight("eight-modules-warm", "the same, compilers' answers are known", 0.5, Some(6.0))],
    },
    Single {
        name: "eight-modules-full-cold",
        bed: Bedding::Full,
        source: None,
        rows: &[eight("eight-modules-full-cold", "on Debian's full kernel, no answer is known", 1.0, None)],
    },
    Single {
        name: "eight-modules-full-warm",
        bed: Bedding::Full,
        source: None,
        rows: &[eight("eight-modules-full-warm", "the same, answers are known", 0.5, Some(12.0))],
    },
    Single {
        name: "reuse",
        bed: Bedding::Cloud,
        source: None,
        rows: &[Row {
            case: "reuse",
            title: "8 packages for the next kernel, which is the same to them",
            floor: "built",
            within: 0.05,
            faster: None,
        }],
    },
    Single {
        name: "depmod-one",
        bed: Bedding::Full,
        source: None,
        rows: &[
            Row {
                case: "depmod-one",
                title: "the index of Debian's full kernel and one new module",
                floor: "depmod",
                within: 0.033,
                faster: None,
            },
            Row {
                case: "depmod-one-memory",
                title: "the most memory that it takes, in KiB",
                floor: "",
                within: 0.0,
                faster: None,
            },
        ],
    },
    Single {
        name: "share",
        bed: Bedding::Fleet,
        source: None,
        rows: &[Row {
            case: "share",
            title: "`autoinstall`, 8 signed modules from a registry on the same machine, against building them",
            floor: "building",
            within: 0.05,
            faster: None,
        }],
    },
    Single {
        name: "status-100x3",
        bed: Bedding::Cloud,
        source: None,
        rows: &[
            tree("status-100x3", "`dkms status`, 100 packages x 3 kernels"),
            tree("reconcile-100x3", "`dkms reconcile`, nothing to do, 100 x 3"),
            Row {
                case: "status-memory-100x3",
                title: "the most memory of `dkms status`, 100 x 3, in KiB",
                floor: "",
                within: 0.0,
                faster: None,
            },
        ],
    },
    Single {
        name: "status-1000x10",
        bed: Bedding::Cloud,
        source: None,
        rows: &[
            tree("status-1000x10", "`dkms status`, 1,000 packages x 10 kernels"),
            tree("reconcile-1000x10", "`dkms reconcile`, nothing to do, 1,000 x 10"),
            Row {
                case: "status-memory-1000x10",
                title: "the most memory of `dkms status`, 1,000 x 10, in KiB",
                floor: "",
                within: 0.0,
                faster: None,
            },
        ],
    },
    Single {
        name: "zfs",
        bed: Bedding::Real,
        source: Some("zfs-dkms"),
        rows: &[
            compiled("zfs-cold", "zfs, no answer is known, against builds without answers"),
            compiled("zfs-warm", "zfs, answers are known"),
        ],
    },
    Single {
        name: "nvidia-open",
        bed: Bedding::Real,
        source: Some("nvidia-open-kernel-dkms"),
        rows: &[
            compiled("nvidia-open-cold", "nvidia-open, no answer is known, against builds without answers"),
            compiled("nvidia-open-warm", "nvidia-open, answers are known"),
        ],
    },
    Single {
        name: "jool",
        bed: Bedding::Real,
        source: Some("jool-dkms"),
        rows: &[
            compiled("jool-cold", "jool, no answer is known, against builds without answers"),
            compiled("jool-warm", "jool, answers are known"),
        ],
    },
];

/// What runs make and its scripts in a private world, and is not counted as a program of its own.
const MAKE: &[&str] = &["exe", "bash", "make", "true"];

type Measured = BTreeMap<(String, String), Vec<f64>>;

#[allow(clippy::print_stdout, clippy::print_stderr)] // this is its job
fn main() -> Result<()> {
    programs::build(&[Need::Subject])?;
    for need in [Need::Bed, Need::Subject] {
        if let Some(reason) = need.unmet() {
            eprintln!("no bench: {reason}");
            std::process::exit(1);
        }
    }
    // Fewer of either only try the bench itself: the titles below say 100.
    let argument = |i: usize, default: &str| std::env::args().nth(i).unwrap_or_else(|| default.to_owned());
    let mut measured = Measured::new();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "share") {
        programs::build(&[Need::Beside("dkms-share")])?;
    }
    if words.iter().any(|word| word.parse::<u32>().is_err()) {
        return single(&words);
    }
    for (flavour, base) in [("cloud", Base::trixie()?), ("full", Base::trixie_full()?)] {
        measure(&mut measured, flavour, &base, &[&argument(1, "5"), &argument(2, "100")])?;
    }
    let date = run(command("date").arg("+%Y-%m-%d"), b"")?.ok()?;
    let mut table = format!(
        "Measured on {} (medians of one run; {} cores; load {} at its end)\n\n",
        date.trim(),
        std::thread::available_parallelism()?,
        fs_err::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default()
    );
    table += "| what | ours | floor | times the floor | promised | classic | times faster | promised |\n";
    table += "|---|---|---|---|---|---|---|---|\n";
    for row in ROWS {
        table += &line(row, &measured);
        table.push('\n');
    }
    table += &format!("\nPrograms started for each package, outside make and its scripts: {}\n", started(&measured));
    print!("{table}");
    fs_err::write(settings::project().join("target/bench.md"), table)?;
    Ok(())
}

/// Measures what is named, and prints a table of that.
#[allow(clippy::print_stdout)]
fn single(words: &[String]) -> Result<()> {
    let mut measured = Measured::new();
    let rounds = words.iter().find(|word| word.parse::<u32>().is_ok()).map_or("5", String::as_str);
    let mut table = String::new();
    for word in words.iter().filter(|word| word.parse::<u32>().is_err()) {
        let known = || SINGLE.iter().map(|single| single.name).collect::<Vec<_>>().join(", ");
        let single = SINGLE.iter().find(|single| single.name == *word);
        let single = single.with_context(|| format!("{word} is none of {}", known()))?;
        let base = match single.bed {
            Bedding::Cloud => Base::trixie()?,
            Bedding::Full => Base::trixie_full()?,
            Bedding::Real => Base::real()?,
            Bedding::Fleet => Base::fleet(&[])?,
        };
        let bed = ready(&base)?;
        if let Some(package) = single.source {
            for source in debs::sources(&base, package)? {
                let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
                bed.copy_in(&source, &format!("/usr/src/{name}"))?;
            }
        }
        if single.bed == Bedding::Fleet {
            let program = settings::beside("dkms-share").context("there is no dkms-share beside the program")?;
            bed.copy_in(&program, "/usr/lib/dkms/dkms-share")?;
        }
        if single.name == "reuse" {
            let script = dkms_tests::settings::project().join("tests/scripts/reuse-in-bed.sh");
            bed.copy_in(&script, "/root/reuse-in-bed.sh")?;
        }
        if single.name == "depmod-one" {
            bed.copy_in(&programs::core_test("index", true)?, "/root/changes")?;
        }
        take(&mut measured, &bed, include_str!("../../scripts/bench-row.sh"), &[single.name, rounds], &base)?;
        for row in single.rows {
            table += &line(row, &measured);
            table.push('\n');
        }
    }
    print!("{table}");
    Ok(())
}

/// A bed with both programs, and hello in /usr/src.
fn ready(base: &Base) -> Result<Bed> {
    let bed = Bed::subject(base)?;
    bed.copy_in(&base.root.join("usr/sbin/dkms"), "/root/classic")?;
    let hand = tempfile::tempdir()?;
    bed.copy_in(&package("hello").build_in(hand.path())?, "/usr/src/hello-1.0")?;
    Ok(bed)
}

/// Runs the measurements for this flavour of kernels in one bed; microseconds by case and program.
#[allow(clippy::print_stderr)]
fn measure(measured: &mut Measured, flavour: &str, base: &Base, size: &[&str]) -> Result<()> {
    let mut words = vec![flavour];
    words.extend(size);
    take(measured, &ready(base)?, include_str!("../../scripts/bench-in-bed.sh"), &words, base)
}

/// Runs a script, and takes down what it measures.
#[allow(clippy::print_stderr)]
fn take(measured: &mut Measured, bed: &Bed, script: &str, arguments: &[&str], base: &Base) -> Result<()> {
    let script = format!("{}{script}", include_str!("../../scripts/bench-common.sh"));
    // What listens in it is nobody else's.
    let mut words = vec!["unshare", "--net", "bash", "-c", &script, "bench"];
    words.extend(arguments);
    words.extend(base.kernels.iter().map(String::as_str));
    let outcome = bed.run(&words)?;
    eprint!("{}", outcome.stderr);
    for line in outcome.stdout.lines() {
        let mut words = line.split(' ');
        let (Some(case), Some(program), Some(time)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let time: f64 = time.parse().with_context(|| format!("the line {line}"))?;
        measured.entry((case.into(), program.into())).or_default().push(time);
    }
    Ok(())
}

fn line(row: &Row, measured: &Measured) -> String {
    let of = |program: &str| measured.get(&(row.case.to_owned(), program.to_owned())).map(|times| median(times));
    let (ours, floor, classic) = (of("ours"), of(row.floor), of("classic"));
    let is_memory = row.title.ends_with("KiB");
    let shown = |value: f64| if is_memory { format!("{value:.0}") } else { duration(value) };
    let time = |t: Option<f64>| t.map_or("none".to_owned(), shown);
    let ratio = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => format!("{:.2}", a / b),
        _ => "none".to_owned(),
    };
    format!(
        "| {} | {} | {} ({}) | {} | {} | {} | {} | {} |",
        row.title,
        time(ours),
        time(floor),
        row.floor,
        ratio(ours, floor),
        if row.within > 0.0 { format!("at most {}", row.within) } else { String::new() },
        time(classic),
        ratio(classic, ours),
        row.faster.map_or(String::new(), |f| format!("at least {f}")),
    )
}

/// The programs that one more package starts.
fn started(measured: &Measured) -> String {
    let programs: Vec<String> = measured
        .iter()
        .filter(|((case, name), times)| case == "started" && !MAKE.contains(&name.as_str()) && times[0] >= 1.0)
        .map(|((_, name), times)| format!("{} {name}", times[0]))
        .collect();
    if programs.is_empty() { "none".to_owned() } else { programs.join(", ") }
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Microseconds as a person reads them.
fn duration(micros: f64) -> String {
    if micros < 1e5 { format!("{:.1} ms", micros / 1e3) } else { format!("{:.2} s", micros / 1e6) }
}
