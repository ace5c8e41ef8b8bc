//! Beds: Debian roots in which tests may do as they like.
//!
//! A [`Base`] is made once and kept ([`settings::cache`]); a [`Bed`] is a clone of it for one test: an overlay where the
//! kernel can make one, a copy elsewhere. Everything inside runs with private mounts and processes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::run::{Outcome, command, run};
use crate::settings::{self, Subject};

/// After so long a kept bed is made again, since the archive moves on.
pub const STALE: Duration = Duration::from_secs(14 * 24 * 3600);

/// A command in a bed that takes longer than this many seconds has hung.
const PATIENCE: u32 = 1500;

const PACKAGES: &[&str] =
    &["dkms", "gcc", "make", "kmod", "patch", "xz-utils", "zstd", "openssl", "file", "gawk", "libc6-dev", "strace"];

/// An emulated machine, its firmware, and Debian's signed boot chain.
const BOOTING: &[&str] = &[
    "qemu-system-x86",
    "ovmf",
    "python3-virt-firmware",
    "shim-signed",
    "grub-efi-amd64-signed",
    "mtools",
    "busybox-static",
    "cpio",
];

/// What makes images for the boot, and boots them.
const INITRAMFS: &[&str] =
    &["initramfs-tools", "dracut-core", "busybox-static", "cpio", "zstd", "binutils", "e2fsprogs", "qemu-system-x86"];

/// What is on a fleet owner's machines.
const FLEET: &[&str] =
    &["docker-registry", "skopeo", "minisign", "iproute2", "python3", "python3-yaml", "python3-jsonschema", "jq"];

/// What real packages need, by their control files.
const NEEDED: &[&str] =
    &["lsb-release", "python3-minimal", "libpython3-stdlib", "perl", "autoconf", "automake", "libtool"];

/// The machine's key and certificate are made once, so that two clones sign alike.
const FINISH: &str = "dkms generate_mok >/dev/null && apt-get clean && rm -f /etc/kernel/*.d/dkms";

/// A kind of Debian kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Small, for virtual machines: a thousand modules.
    Cloud,
    /// The general one: four thousand modules, and the subsystems that many packages ask for.
    Full,
}

impl Flavour {
    fn word(self) -> &'static str {
        match self {
            Flavour::Cloud => "cloud",
            Flavour::Full => "full",
        }
    }
}

/// A Debian root that nobody changes.
#[derive(Debug, Clone)]
pub struct Base {
    /// Where it is.
    pub root: PathBuf,
    /// The kernel releases installed in it with their headers, newest first.
    pub kernels: Vec<String>,
}

impl Base {
    /// Debian 13 with its classic dkms, a compiler, and its three newest cloud kernels with headers.
    pub fn trixie() -> Result<Self> {
        Self::get("trixie", 3, Flavour::Cloud, &[])
    }

    /// The same with its newest general kernel only.
    pub fn trixie_full() -> Result<Self> {
        Self::get("trixie", 1, Flavour::Full, &[])
    }

    /// Debian 13 with its two newest general kernels and what real packages need besides a compiler.
    pub fn real() -> Result<Self> {
        Self::get("trixie", 2, Flavour::Full, NEEDED)
    }

    /// Debian 13 with its newest cloud kernel, a registry and its clients, and `extra` packages.
    pub fn fleet(extra: &[&str]) -> Result<Self> {
        Self::get("trixie", 1, Flavour::Cloud, &[FLEET, extra].concat())
    }

    /// Debian unstable with its newest cloud kernel, and what boots that in an emulated machine with Secure Boot.
    pub fn boot() -> Result<Self> {
        Self::get("sid", 1, Flavour::Cloud, BOOTING)
    }

    /// Debian 13 with its newest cloud kernel, clang, a compiler for arm64, and ccache.
    pub fn clang() -> Result<Self> {
        Self::get("trixie", 1, Flavour::Cloud, &["clang", "lld", "llvm", "gcc-aarch64-linux-gnu", "ccache"])
    }

    /// Debian 13 with its newest cloud kernel, what makes images for the boot, and what boots them.
    pub fn initramfs() -> Result<Self> {
        Self::get("trixie", 1, Flavour::Cloud, INITRAMFS)
    }

    /// Debian unstable without a kernel, with what looks at packages of all families.
    pub fn checkers() -> Result<Self> {
        let tools = ["lintian", "rpmlint", "pacman-package-manager", "libarchive-tools", "rpm", "dnf5"];
        Self::get("sid", 0, Flavour::Cloud, &tools)
    }

    /// Debian 12 with its newest cloud kernel: the last make that knows no named pipe.
    pub fn bookworm() -> Result<Self> {
        Self::get("bookworm", 1, Flavour::Cloud, &[])
    }

    /// The bed of `suite` with its `kernels` newest kernels and `extra` packages: the kept one, or a new one.
    pub fn get(suite: &str, kernels: usize, flavour: Flavour, extra: &[&str]) -> Result<Self> {
        let script = settings::project().join("tests/scripts/make-bed.sh");
        let mut hasher = DefaultHasher::new();
        (kernels, flavour.word(), PACKAGES, extra, FINISH, fs_err::read_to_string(&script)?).hash(&mut hasher);
        let name = format!("{suite}-{:08x}", hasher.finish() >> 32);
        Self::kept(&settings::cache().join("beds"), &name, |new| {
            let mut make = command("bash");
            make.arg(&script).arg(suite).arg(new).args([&kernels.to_string(), flavour.word()]);
            run(make.args(PACKAGES).args(extra), b"")?.ok()?;
            run(command(in_bed()).arg(new).args(["sh", "-ec", FINISH]), b"")?.ok()?;
            Ok(())
        })
    }

    /// The bed `name` among the `beds` that are kept; if there is none that is fresh, `make` makes it in the directory
    /// that it is given.
    ///
    /// # Errors
    /// If a bed can't be made. Where the archive can't be reached, a bed that is not much older than it should be
    /// serves, and the run's list of what it left out says so.
    pub(crate) fn kept(beds: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        fs_err::create_dir_all(beds)?;
        let root = beds.join(name);
        let lock = fs_err::File::create(beds.join(format!("{name}.lock")))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        if age(&root).is_none_or(|age| age > STALE) {
            let new = root.with_extension(format!("new-{}", std::process::id()));
            match make(&new) {
                Ok(()) => {
                    if root.exists() {
                        fs_err::remove_dir_all(&root)?;
                    }
                    fs_err::rename(&new, &root)?;
                    forget_old(beds)?;
                }
                Err(error) => {
                    let _ = fs_err::remove_dir_all(&new);
                    if age(&root).is_none_or(|age| age > 2 * STALE) {
                        return Err(error.context(format!("make the bed {name}")));
                    }
                    crate::left_out::left_out(&format!("a new bed {name}"), &format!("{error:#}"));
                }
            }
        }
        let kernels = fs_err::read_to_string(root.join("etc/dkms-bed-kernels"))?;
        Ok(Self { root, kernels: kernels.split_whitespace().map(str::to_owned).collect() })
    }

    /// The newest kernel.
    pub fn kernel(&self) -> Result<&str> {
        self.kernels.first().map(String::as_str).context("the bed has no kernel")
    }
}

/// Removes the kept beds that nobody has asked for since they went stale: their recipe has changed.
fn forget_old(beds: &Path) -> Result<()> {
    for entry in fs_err::read_dir(beds)? {
        let bed = entry?.path();
        if age(&bed).is_some_and(|age| age > STALE) {
            fs_err::remove_dir_all(&bed)?;
        }
    }
    Ok(())
}

/// How long ago the bed was made; `None` if there is none.
fn age(root: &Path) -> Option<Duration> {
    fs_err::metadata(root.join("etc/dkms-bed-kernels")).and_then(|stamp| stamp.modified()).ok()?.elapsed().ok()
}

fn in_bed() -> PathBuf {
    settings::project().join("tests/scripts/in-bed.sh")
}

/// A clone of a [`Base`], gone when dropped.
#[derive(Debug)]
pub struct Bed {
    base: Base,
    directory: TempDir,
    overlay: bool,
    users: bool,
}

impl Bed {
    /// A clone with the classic dkms, as Debian installs it.
    pub fn classic(base: &Base) -> Result<Self> {
        let clones = settings::cache().join("clones");
        fs_err::create_dir_all(&clones)?;
        let directory = TempDir::with_prefix_in("bed-", &clones)?;
        for name in ["upper", "work", "mnt"] {
            fs_err::create_dir(directory.path().join(name))?;
        }
        // The upper directory is the root of the clone, and gives it its mode.
        fs_err::set_permissions(directory.path().join("upper"), fs_err::metadata(&base.root)?.permissions())?;
        let mut bed = Self { base: base.clone(), directory, overlay: true, users: true };
        if bed.run(&["true"])?.code != 0 {
            let copy = bed.directory.path().join("copy");
            run(command("cp").args(["-a", "--reflink=auto"]).arg(&base.root).arg(copy), b"")?.ok()?;
            bed.overlay = false;
        }
        Ok(bed)
    }

    /// A clone whose `/usr/sbin/dkms` is the program under test.
    pub fn subject(base: &Base) -> Result<Self> {
        let bed = Self::classic(base)?;
        match settings::subject() {
            Subject::Ours(program) => bed.copy_in(&program, "/usr/sbin/dkms")?,
            Subject::Classic => {}
            Subject::Missing => bail!("there is no program to try"),
        }
        Ok(bed)
    }

    /// From now on no user namespace can be made inside.
    #[must_use]
    pub fn without_user_namespaces(mut self) -> Self {
        self.users = false;
        self
    }

    /// The base it is a clone of.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The newest kernel in it.
    pub fn kernel(&self) -> Result<&str> {
        self.base.kernel()
    }

    /// The directory of the host that is seen as `/mnt` inside.
    pub fn exchange(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    /// Runs a program inside.
    pub fn run(&self, words: &[&str]) -> Result<Outcome> {
        self.run_with_input(words, b"")
    }

    /// Runs a program inside with something on its standard input.
    pub fn run_with_input(&self, words: &[&str], input: &[u8]) -> Result<Outcome> {
        let mut inside = command("timeout");
        inside.args(["--kill-after=10", &PATIENCE.to_string()]).arg(in_bed());
        if self.overlay {
            inside.arg("--over").arg(&self.base.root).arg(self.directory.path());
        } else {
            inside.arg(self.directory.path().join("copy"));
        }
        if !self.users {
            inside.env("BED_USERS", "none");
        }
        run(inside.args(words).env("BED_BIND", self.exchange()), input)
    }

    /// Runs a shell script inside.
    pub fn sh(&self, script: &str) -> Result<Outcome> {
        self.run(&["bash", "-c", script])
    }

    /// Runs a shell script inside that has to succeed (each command of it); gives its standard output.
    pub fn ok(&self, script: &str) -> Result<String> {
        self.run(&["bash", "-ec", script])?.ok().with_context(|| format!("in the bed: {script}"))
    }

    /// Writes a file inside, and the directories it needs. Scripts (`#!`) become executable.
    pub fn write(&self, path: &str, contents: impl AsRef<[u8]>) -> Result<()> {
        let contents = contents.as_ref();
        let mode = if contents.starts_with(b"#!") { "0755" } else { "0644" };
        let words = ["install", "-D", "-m", mode, "/dev/stdin", path];
        self.run_with_input(&words, contents)?.ok().with_context(|| format!("write {path} in the bed"))?;
        Ok(())
    }

    /// Copies a file or directory of the host to `to` inside, replacing what is there.
    pub fn copy_in(&self, from: &Path, to: &str) -> Result<()> {
        let hand = TempDir::with_prefix_in("hand-", self.exchange())?;
        run(command("cp").arg("-a").arg(from).arg(hand.path().join("over")), b"")?.ok()?;
        let name = hand.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.ok(&format!(
            "rm -rf '{to}'; mkdir -p \"$(dirname '{to}')\"; cp -a '/mnt/{name}/over' '{to}'; chown -R 0:0 '{to}'"
        ))?;
        Ok(())
    }

    /// The text of a file inside.
    pub fn read(&self, path: &str) -> Result<String> {
        self.run(&["cat", path])?.ok()
    }
}
