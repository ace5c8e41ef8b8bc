//! The index of `dkms_core::depmod` against that of the real depmod, after random changes: every file byte by byte.
//!
//! Without words: on a small kernel in a temporary directory, with the depmod of this machine. `KERNEL STEPS SEED`: on a kernel of
//! this system, which is changed (the suite `depmod` does so in beds). `KERNEL once`: how long one new module takes, and how much
//! memory.

// A program of its own: it is copied into beds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]
#![allow(clippy::disallowed_methods, clippy::cast_possible_truncation)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dkms_core::depmod::{Request, index};
use dkms_core::kernel::symvers::Symvers;

#[path = "index/elf.rs"]
mod elf;

use elf::Ko;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let depmod = ["/usr/sbin/depmod", "/sbin/depmod", "/usr/bin/depmod"].iter().find(|path| Path::new(path).exists());
    let Some(depmod) = depmod else {
        eprintln!("\nleft out: dkms-core index: because there is no depmod");
        return;
    };
    if let [kernel, once] = &words[..] {
        assert_eq!(once, "once");
        World::new(PathBuf::from("/"), kernel, depmod, 1).once();
    } else if let [kernel, steps, seed] = &words[..] {
        let mut world = World::new(PathBuf::from("/"), kernel, depmod, seed.parse().unwrap());
        world.run(steps.parse().unwrap());
    } else {
        // Other words are a filter of cargo's.
        let tmp = tempfile::tempdir().unwrap();
        small_kernel(tmp.path());
        let mut world = World::new(tmp.path().to_owned(), "6.1-small", depmod, 1);
        world.run(120);
        // Somebody else's depmod in between.
        let made = world.index().unwrap();
        assert!(made.is_current(&world.dir));
        assert!(world.real().0);
        assert!(!made.is_current(&world.dir));
    }
}

/// A kernel with 60 modules of its own.
fn small_kernel(root: &Path) {
    let dir = root.join("lib/modules/6.1-small");
    let mut random = Random(7);
    let mut order = String::new();
    for number in 0..60 {
        let mut ko = Ko { exports: vec![format!("stock_{number}")], ..Ko::default() };
        for _ in 0..random.below(4) {
            if number > 0 {
                ko.needs.push(format!("stock_{}", random.below(number)));
            }
        }
        ko.modinfo.push(format!("alias=pci:v{number:08}d*"));
        let path = format!("kernel/drivers/d{}/stock-{number}.ko", number % 5);
        put(&dir.join(&path), &ko.bytes());
        order += &format!("{path}\n");
    }
    for (name, text) in
        [("modules.order", order.as_str()), ("modules.builtin", "kernel/lib/in.ko\n"), ("modules.builtin.modinfo", "")]
    {
        put(&dir.join(name), text.as_bytes());
    }
}

fn put(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    // As a package manager does: another file takes the name.
    let new = path.with_extension("new");
    fs_err::write(&new, bytes).unwrap();
    fs_err::rename(new, path).unwrap();
}

/// Xorshift: the same steps in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

const DIRS: [&str; 7] =
    ["updates", "updates/dkms", "updates/dkms", "extra", "kernel/drivers/zz", "weak-updates", "misc/deep/er"];

const CONFIGURATIONS: [&str; 6] = [
    "",
    "search updates extra built-in weak-updates\n",
    "search extra\nsearch built-in misc\nmake_map_files yes\n",
    "override m_3 * extra\noverride m_4 9.9 updates\nsearch updates built-in\n",
    "exclude er zz\n",
    "# nothing\nsearch \\\n updates weak-updates built-in\noverride m_5 * misc/deep/er\n",
];

struct World {
    root: PathBuf,
    dir: PathBuf,
    kernel: String,
    depmod: PathBuf,
    version: String,
    symvers: String,
    /// The kernel's own modules.
    stock: Vec<String>,
    /// What they export.
    symbols: Vec<String>,
    /// What was put there.
    ours: BTreeSet<String>,
    /// The kernel's own that were moved away, and where to.
    away: BTreeMap<String, PathBuf>,
    random: Random,
    log: Vec<String>,
}

impl World {
    fn new(root: PathBuf, kernel: &str, depmod: &str, seed: u64) -> Self {
        let dir = root.join("lib/modules").join(kernel);
        let said = Command::new(depmod).arg("--version").output().unwrap();
        let mut world = Self {
            dir,
            kernel: kernel.to_owned(),
            depmod: depmod.into(),
            version: String::from_utf8(said.stdout).unwrap(),
            symvers: "0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n".to_owned(),
            stock: Vec::new(),
            symbols: Vec::new(),
            ours: BTreeSet::new(),
            away: BTreeMap::new(),
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            log: Vec::new(),
            root,
        };
        fs_err::create_dir_all(world.root.join("etc/depmod.d")).unwrap();
        assert!(world.real().0, "the first depmod");
        let read = |name: &str| fs_err::read_to_string(world.dir.join(name)).unwrap();
        let dep = read("modules.dep");
        let stock: Vec<String> = dep.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
        for line in read("modules.symbols").lines().filter_map(|line| line.strip_prefix("alias symbol:")) {
            let (symbol, module) = line.split_once(' ').unwrap();
            world.symvers += &format!("0x1\t{symbol}\tdrivers/{module}\tEXPORT_SYMBOL\t\n");
            world.symbols.push(symbol.to_owned());
        }
        world.stock = stock;
        world
    }

    /// Runs the real depmod; whether it succeeded, and how long it took.
    fn real(&self) -> (bool, Duration) {
        let mut command = Command::new(&self.depmod);
        command.arg("-a");
        if self.root != Path::new("/") {
            command.arg("-b").arg(&self.root).arg("-C").arg(self.root.join("etc/depmod.d"));
        }
        let start = Instant::now();
        let end = command.arg(&self.kernel).output().unwrap();
        (end.status.success(), start.elapsed())
    }

    /// One more module, by ourselves and by depmod.
    fn once(&mut self) {
        let ko = Ko { exports: vec!["of_once".to_owned()], needs: self.symbols[..5].to_vec(), ..Ko::default() };
        put(&self.dir.join("updates/once.ko"), &ko.bytes());
        self.ours.insert("updates/once.ko".to_owned());
        let peak = || {
            let status = fs_err::read_to_string("/proc/self/status").unwrap();
            status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned()
        };
        let mut own: Vec<Duration> = Vec::new();
        let before = peak();
        for _ in 0..9 {
            let start = Instant::now();
            self.index().unwrap();
            own.push(start.elapsed());
        }
        let after = peak();
        own.sort();
        let made = self.index().unwrap();
        let (_, real) = self.real();
        self.compare(0, &made.files);
        fs_err::remove_file(self.dir.join("updates/once.ko")).unwrap();
        println!(
            "{} modules: {:.1} ms (median of 9), depmod {:.1} ms: {:.1} times; before it {before}, then {after}",
            self.stock.len(),
            own[4].as_secs_f64() * 1000.0,
            real.as_secs_f64() * 1000.0,
            real.as_secs_f64() / own[4].as_secs_f64()
        );
    }

    fn run(&mut self, steps: usize) {
        let (mut own, mut read) = (0_u32, 0);
        let mut unusual: BTreeMap<String, usize> = BTreeMap::new();
        let (mut own_time, mut real_time) = (Duration::ZERO, Duration::ZERO);
        for step in 0..steps {
            self.log.clear();
            for _ in 0..=self.random.below(4) {
                self.change();
            }
            let start = Instant::now();
            let made = self.index();
            let time = start.elapsed();
            let (is_done, taken) = self.real();
            match made {
                Ok(made) => {
                    assert!(is_done, "step {step}: the real depmod failed: {:#?}", self.log);
                    self.compare(step, &made.files);
                    own += 1;
                    read += made.read;
                    own_time += time;
                    real_time += taken;
                }
                Err(error) => {
                    let text = error.to_string();
                    let words: Vec<&str> = text.split_whitespace().filter(|word| !word.contains(['/', '_'])).collect();
                    *unusual.entry(words.join(" ")).or_default() += 1;
                }
            }
            assert!(is_done, "step {step}: the real depmod failed: {:#?}", self.log);
        }
        let version = self.version.lines().next().unwrap_or_default();
        let mean = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(own.max(1));
        println!(
            "{version}, {}, {} modules: {steps} steps, {own} by ourselves ({read} files read, {:.1} ms; depmod {:.1} ms), \
             no difference; left to depmod: {unusual:?}",
            self.kernel,
            self.stock.len(),
            mean(own_time),
            mean(real_time)
        );
        assert!(u64::from(own) * 2 > steps as u64, "most are no longer done by ourselves: {unusual:?}");
    }

    fn index(&self) -> Result<dkms_core::depmod::Index, dkms_core::depmod::Unusual> {
        let dirs = ["etc", "run", "usr/local/lib", "usr/lib", "lib"];
        let all: Vec<PathBuf> = dirs.iter().map(|dir| self.root.join(dir).join("depmod.d")).collect();
        let request = Request {
            is_host: self.root == Path::new("/"),
            dir: &self.dir,
            release: &self.kernel,
            depmod_d: if self.root == Path::new("/") { &all } else { &all[..1] },
            program: &self.depmod,
            version: &self.version,
            going: &BTreeSet::new(),
            since: None,
            foreign: &self.ours,
            symvers: &|| Symvers::parse(&self.symvers),
        };
        index(&request)
    }

    fn compare(&self, step: usize, files: &[(&'static str, Vec<u8>)]) {
        for (name, bytes) in files {
            let real = fs_err::read(self.dir.join(name)).unwrap();
            if real == *bytes {
                continue;
            }
            let dir = std::env::temp_dir().join("depmod-differs");
            fs_err::create_dir_all(&dir).unwrap();
            fs_err::write(dir.join(format!("{name}.own")), bytes).unwrap();
            fs_err::write(dir.join(format!("{name}.real")), &real).unwrap();
            let (own, real) = (String::from_utf8_lossy(bytes), String::from_utf8_lossy(&real));
            let differs = own.lines().zip(real.lines()).find(|(own, real)| own != real);
            panic!("step {step}: {name} differs: {differs:?}\nafter {:#?}; see {}", self.log, dir.display());
        }
    }

    /// One random change.
    fn change(&mut self) {
        let what = self.random.below(20);
        let ours: Vec<String> = self.ours.iter().cloned().collect();
        match what {
            0..=3 if !ours.is_empty() => {
                let path = self.random.one(&ours).clone();
                self.log.push(format!("remove {path}"));
                fs_err::remove_file(self.dir.join(&path)).unwrap();
                self.ours.remove(&path);
            }
            4..=6 if !ours.is_empty() => {
                let path = self.random.one(&ours).clone();
                let is_copy = path.contains("stock-") || !path.contains("/m_");
                if !is_copy {
                    self.add(&path);
                }
            }
            7..=8 => {
                // The kernel's own module, once more.
                let from = self.random.one(&self.stock).clone();
                if self.away.contains_key(&from) {
                    return;
                }
                let path = format!("{}/{}", self.random.one(&DIRS), from.rsplit('/').next().unwrap());
                self.log.push(format!("copy {from} to {path}"));
                put(&self.dir.join(&path), &fs_err::read(self.dir.join(&from)).unwrap());
                self.ours.insert(path);
            }
            9 => {
                // A package's module that takes the place of the kernel's own.
                let path = self.random.one(&self.stock).clone();
                if !self.away.contains_key(&path) && self.away.len() < 5 {
                    self.log.push(format!("move {path} away"));
                    let to = self.root.join("away").join(path.replace('/', "%"));
                    fs_err::create_dir_all(to.parent().unwrap()).unwrap();
                    fs_err::rename(self.dir.join(&path), &to).unwrap();
                    self.away.insert(path, to);
                }
            }
            10 => {
                if let Some((path, from)) = self.away.pop_first() {
                    self.log.push(format!("move {path} back"));
                    fs_err::rename(from, self.dir.join(path)).unwrap();
                }
            }
            11 if !ours.is_empty() && self.random.below(2) == 0 => {
                let to = self.random.one(&ours).clone();
                let path = format!("weak-updates/{}", to.rsplit('/').next().unwrap());
                if !self.dir.join(&path).exists() && !self.dir.join(&to).is_symlink() {
                    self.log.push(format!("link {path} to {to}"));
                    fs_err::create_dir_all(self.dir.join("weak-updates")).unwrap();
                    fs_err::os::unix::fs::symlink(Path::new("..").join(&to), self.dir.join(&path)).unwrap();
                    self.ours.insert(path);
                    // What a link leads to stays, or depmod would complain.
                    self.ours.remove(&to);
                }
            }
            12 if self.random.below(4) == 0 => {
                let text = *self.random.one(&CONFIGURATIONS);
                self.log.push(format!("configuration {text:?}"));
                put(&self.root.join("etc/depmod.d/test.conf"), text.as_bytes());
            }
            _ => {
                let suffixes = [".ko", ".ko", ".ko.xz", ".ko.zst", ".ko.gz"];
                let name = format!("m{}{}", self.random.one(&["_", "_", "-"]), self.random.below(40));
                let path = format!("{}/{name}{}", self.random.one(&DIRS), self.random.one(&suffixes));
                if !self.dir.join(&path).is_symlink() && (self.ours.contains(&path) || !self.dir.join(&path).exists()) {
                    self.add(&path);
                }
            }
        }
    }

    /// Puts a new module at `path`. It needs symbols of modules with a lower number alone, so that there is no circle.
    fn add(&mut self, path: &str) {
        let file = path.rsplit('/').next().unwrap();
        let digits: String = file.chars().filter(char::is_ascii_digit).collect();
        let number: usize = digits.parse().unwrap();
        let random = &mut self.random;
        let mut ko = Ko::default();
        for _ in 0..random.below(4) {
            ko.exports.push(format!("sym_{number}_{}", random.below(4)));
        }
        if (20..30).contains(&number) {
            // Several export these, and need nothing.
            ko.exports.push(format!("shared_{}", random.below(6)));
            if random.below(20) == 0 {
                ko.exports.push(random.one(&self.symbols).clone());
            }
        } else {
            for _ in 0..random.below(7) {
                ko.needs.push(match random.below(4) {
                    0 if number > 0 => format!("sym_{}_{}", random.below(number), random.below(4)),
                    1 => format!("shared_{}", random.below(6)),
                    2 => "printk".to_owned(),
                    _ => random.one(&self.symbols).clone(),
                });
            }
            for _ in 0..random.below(3) {
                if number > 0 {
                    ko.weak.push(format!("sym_{}_{}", random.below(number), random.below(4)));
                }
            }
            if random.below(3) == 0 {
                ko.versions = ko.needs.clone();
                ko.versions.push(random.one(&self.symbols).clone());
                ko.versions.reverse();
            }
        }
        ko.has_checksums = random.below(2) == 0;
        for _ in 0..random.below(4) {
            ko.modinfo.push(match random.below(8) {
                0 => format!("softdep=pre: m_{} post: crc-x", random.below(40)),
                1 => format!("weakdep=m-{}", random.below(40)),
                2 => format!("alias=pci:v0000{:04X}d*sv*sd*bc*sc*i*", random.below(0x10000)),
                3 => format!("alias=char-major-10-{}", random.below(300)),
                4 => format!("alias=x-[a-{}]-*b", random.below(10)),
                5 => "alias=odd]one".to_owned(),
                6 => format!("alias=block-major-{}-*", random.below(300)),
                _ => format!("alias=of:N*T*Cvendor,m-{}", random.below(50)),
            });
        }
        if random.below(4) == 0 {
            ko.modinfo.push(format!("alias=devname:dev/{number}"));
            ko.modinfo.push(format!("alias=char-major-{}-{number}", random.below(255)));
        }
        self.log.push(format!("add {path}: {ko:?}"));
        let plain = self.root.join("plain.ko");
        fs_err::write(&plain, ko.bytes()).unwrap();
        let (program, arguments): (&str, &[&str]) = match path.rsplit('.').next() {
            Some("xz") => ("xz", &["--check=crc32", "-c"]),
            Some("zst") => ("zstd", &["-q", "-c"]),
            Some("gz") => ("gzip", &["-c"]),
            _ => ("cat", &[]),
        };
        let end = Command::new(program).args(arguments).arg(&plain).output().unwrap();
        assert!(end.status.success(), "{program}");
        put(&self.dir.join(path), &end.stdout);
        self.ours.insert(path.to_owned());
    }
}
