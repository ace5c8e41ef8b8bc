//! Damaged files: each file of ours, and each that we read, is damaged in every way we know, and in some that nobody has
//! thought of. No command panics or hangs, no module is lost. What was found once is tried in every run: the corpus,
//! `tests/corpus/torture/<format>`, grows by itself.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use dkms_tests::settings::{self, Effort};

use crate::sweep::{conclude, is_panic, lost, sample, tail};
use crate::world::{State, World};

/// All formats at once: an installation over the kernel's own module, a build, a failure, marks, a configuration. A make that
/// reads headers without an end is not waited for long.
const SCENE: &str = r"
cp -a /srv/torture/{dummy-1.0,hello-2.0,fails-1.0} /usr/src/
for p in dummy/1.0 hello/2.0 fails/1.0; do dkms add $p; done
dkms install --force dummy/1.0 -k 6.1.0-torture; dkms build hello/2.0 -k 6.1.0-torture
dkms install --force dummy/1.0 -k 6.6.0-torture; dkms kernel_preinst -k 6.6.0-torture
dkms build fails/1.0 -k 6.1.0-torture && exit 1
mkdir -p /var/lib/dkms/.dkms/{initramfs,owed/depmod,owed/initramfs,journal,pending} /var/lib/dkms/.dkms/superseded/hello/2.0
echo dummy >/var/lib/dkms/.dkms/initramfs/6.1.0-torture
echo '*' >/var/lib/dkms/.dkms/owed/initramfs/6.1.0-torture@4194305-1; touch /var/lib/dkms/.dkms/owed/depmod/6.1.0-torture@4194305-1
printf '%s\n' try_sign_modules=no build_time_limit=15s >/etc/dkms/framework.conf.d/some.conf; echo 'DKMS_POLICY=wanted' >/etc/dkms/dummy.conf
";

/// A format: its name, and how a path of it is recognised.
type Format = (&'static str, fn(&str) -> bool);

const FORMATS: &[Format] = &[
    ("kernel-manifest", |path| path.starts_with("/usr/lib/modules/") && path.ends_with("/.dkms-manifest.json")),
    ("manifest", |path| path.starts_with("/var/lib/dkms/") && path.ends_with("/.dkms-manifest.json")),
    ("image-list", |path| path.ends_with("/.dkms-initramfs")),
    ("record", |path| path.contains("/.dkms/records/") && path.ends_with(".json")),
    ("journal", |path| path.contains("/.dkms/journal/")),
    ("stale-list", |path| path.contains("/.dkms/stale/")),
    ("owed", |path| path.contains("/.dkms/owed/") || path.contains("/.dkms/initramfs/")),
    ("origin", |path| path.ends_with(".origin")),
    ("original", |path| path.contains("/original_module/") && path.contains(".ko")),
    ("key", |path| path.ends_with("/mok.key") || path.ends_with("/mok.pub")),
    ("conf", |path| path.ends_with(".conf")),
    ("module", |path| path.contains("/updates/dkms/") && path.contains(".ko")),
    ("built", |path| path.contains("/x86_64/module/") && path.contains(".ko")),
    ("index", |path| path.ends_with("/modules.dep") || path.ends_with("/modules.order")),
];

/// What becomes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Damage {
    /// It holds this.
    Content(&'static str, Vec<u8>),
    /// A command makes something else of it: `$f` is the file.
    Other(&'static str),
}

/// All known ways to damage a file that holds `bytes`.
fn damages(bytes: &[u8]) -> Vec<Damage> {
    let with = |from: &str, to: &str| String::from_utf8_lossy(bytes).replace(from, to).into_bytes();
    let flipped = |step: usize, bit: u8| {
        let flip = |(at, byte): (usize, &u8)| if at % step == step / 2 { byte ^ bit } else { *byte };
        bytes.iter().enumerate().map(flip).collect()
    };
    let numbers = || {
        let text = String::from_utf8_lossy(bytes);
        text.replace(|c: char| c.is_ascii_digit(), "99999999999").into_bytes()
    };
    let mut all = vec![
        Damage::Content("empty", Vec::new()),
        Damage::Content("half", bytes[..bytes.len() / 2].to_vec()),
        Damage::Content("a byte less", bytes[..bytes.len().saturating_sub(2)].to_vec()),
        Damage::Content("twice", bytes.repeat(2)),
        Damage::Content("zeros", vec![0; bytes.len()]),
        Damage::Content("not UTF-8", [bytes, &[0xff, 0xfe, 0]].concat()),
        Damage::Content("flipped", flipped(7, 1)),
        Damage::Content("flipped", flipped(61, 0x20)),
        Damage::Content("flipped", flipped(509, 0x80)),
        Damage::Content("an object", b"{}".to_vec()),
        Damage::Content("a list", b"[]".to_vec()),
        Damage::Content("nested", b"[".repeat(100_000)),
        Damage::Content("numbers", numbers()),
        Damage::Content("another format", with("\"format\":1", "\"format\":999")),
        Damage::Content("paths that lead out", with("updates/dkms", "../../../../root/out")),
        Damage::Content("lines without end", b"a".repeat(1 << 20)),
        Damage::Other("rm $f"),
        Damage::Other("rm $f; mkdir -p $f/below"),
        Damage::Other("rm $f; mkfifo $f"),
        Damage::Other("rm $f; ln -s /dev/zero $f"),
        Damage::Other("rm $f; ln -s /nowhere $f"),
        Damage::Other("rm $f; ln -s $f $f"),
        Damage::Other("truncate -s 3G $f"),
        Damage::Other("chmod 0 $f; chown 12345 $f"),
    ];
    all.dedup();
    all
}

/// Damages that nobody has thought of: from a seed, which is another one in each run.
fn surprises(bytes: &[u8], mut seed: u64, count: usize) -> Vec<Damage> {
    let mut random = move || {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 16).unwrap_or(0)
    };
    let mut one = || {
        let mut bytes = bytes.to_vec();
        for _ in 0..=random() % 4 {
            let at = random() % (bytes.len() + 1);
            let until = (at + random() % 9).min(bytes.len());
            let new: Vec<u8> = (0..random() % 9).map(|_| random().to_le_bytes()[0]).collect();
            bytes.splice(at..until, new);
        }
        Damage::Content("random", bytes)
    };
    (0..count).map(|_| one()).collect()
}

fn corpus(format: &str) -> PathBuf {
    settings::project().join("tests/corpus/torture").join(format)
}

/// Inputs that once went wrong.
fn known(format: &str) -> Vec<Damage> {
    let entries = std::fs::read_dir(corpus(format)).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(Damage::Content("corpus", fs_err::read(entry.path()).ok()?))).collect()
}

/// What is run on a damaged system. The last one takes modules away.
const COMMANDS: [&[&str]; 4] =
    [&["status", "--long"], &["fsck"], &["reconcile", "--all-kernels"], &["remove", "dummy/1.0", "--all"]];

/// Tries all damages, or a sample of them.
pub fn run() -> Result<()> {
    let world = World::new()?;
    world.sh(SCENE)?.ok().context("set the scene")?;
    // A journal of a change that was killed on its way.
    world.save("scene")?;
    let mut done = false;
    world.traced(&["install", "--force", "hello/2.0", "-k", "6.1.0-torture"], &mut |_, call| {
        use crate::tracer::Then;
        if done || !crate::sweep::is(call, crate::calls::Kind::Sync, "/.dkms-new-") || call.paths[0].contains("journal")
        {
            return Then::Go;
        }
        done = true;
        Then::Kill
    })?;
    world.save("scene")?;
    // What an undamaged system becomes.
    world.restore("scene")?;
    for words in &COMMANDS[..3] {
        world.run(&[&["dkms"], *words].concat())?;
    }
    let healthy = world.look()?;
    world.restore("scene")?;
    let seed = RandomState::new().build_hasher().finish() | 1;
    let surprising = if settings::torture() == Effort::All { 20 } else { 2 };
    let mut all: Vec<(&str, String, Damage)> = Vec::new();
    for path in world.look()?.paths() {
        let Some((format, _)) = FORMATS.iter().find(|(_, is)| is(&path)) else { continue };
        let Ok(bytes) = fs_err::read(world.outer(&path)) else { continue };
        let ways = damages(&bytes).into_iter().chain(surprises(&bytes, seed, surprising)).chain(known(format));
        all.extend(ways.map(|damage| (*format, path.clone(), damage)));
    }
    let numbers: Vec<usize> = (0..all.len()).collect();
    let start = Instant::now();
    let mut report = Vec::new();
    let chosen = sample(&numbers, "damaged files", settings::torture());
    for number in &chosen {
        let (format, path, damage) = &all[*number];
        if let Some(wrong) = point(&world, &healthy, path, damage)? {
            if let Damage::Content(_, bytes) = damage {
                fs_err::create_dir_all(corpus(format))?;
                fs_err::write(
                    corpus(format).join(format!(
                        "{}-{number}",
                        Path::new(path).file_name().unwrap_or_default().to_string_lossy().trim_start_matches('.')
                    )),
                    bytes,
                )?;
            }
            report.push(wrong);
        }
    }
    conclude("damaged_files", (chosen.len(), all.len()), start, report)
}

fn point(world: &World, healthy: &State, path: &str, damage: &Damage) -> Result<Option<String>> {
    world.restore("scene")?;
    let before = world.look()?;
    let what = match damage {
        Damage::Content(what, bytes) => {
            fs_err::write(world.outer(path), bytes)?;
            (*what).to_owned()
        }
        Damage::Other(script) => {
            world.sh(&format!("f={path}; {script}"))?.ok().with_context(|| format!("{script}: {path}"))?;
            (*script).to_owned()
        }
    };
    let mut wrong = Vec::new();
    for words in COMMANDS {
        let outcome = world.run(&[&["dkms"], words].concat())?;
        let said = outcome.stdout + &outcome.stderr;
        if is_panic(outcome.code, &said) || outcome.code == 137 {
            wrong.push(format!("  {words:?} ends with {}: {}", outcome.code, tail(&said)));
        }
        if words[0] == "remove" {
            break;
        }
        let now = world.look()?;
        // What was damaged itself is torn until it is mended, or stays so; who may mend it has it there again. All others are
        // what they were.
        let others = |line: &String| {
            let excused = line.contains("torn") || (line.contains("is gone") && words[0] != "reconcile");
            !excused || !before.modules.contains_key(path)
        };
        wrong.extend(lost(&before, healthy, &now).into_iter().filter(others));
    }
    Ok((!wrong.is_empty()).then(|| format!("{path}: {what}\n{}", wrong.join("\n"))))
}
