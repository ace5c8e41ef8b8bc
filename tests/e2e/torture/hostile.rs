//! Packages that want to do harm, beyond what the suite `unprivileged` tries: processes without end, files of absurd size,
//! files that are none.

use std::time::Instant;

use anyhow::{Context, Result};
use dkms_tests::hello::{Package, package};

use crate::sweep::{conclude, is_panic, tail};
use crate::world::World;

/// A package that wants to do harm.
#[derive(Debug, Clone, Copy)]
pub struct Hostile {
    /// Its name.
    pub name: &'static str,
    /// `PRE_BUILD`, if it has one.
    before: &'static str,
    /// `POST_BUILD`, if it has one.
    after: &'static str,
    /// `MAKE[0]`; empty: a module that builds.
    make: &'static str,
    /// The exit codes that are right for `install`.
    codes: &'static [i32],
}

/// All of them.
pub const ALL: &[Hostile] = &[
    // As many processes as fit, in sessions of their own, that listen to nobody.
    Hostile {
        name: "hostile_processes",
        before: "for n in {1..200}; do setsid bash -c 'trap : TERM HUP INT; exec 0</dev/null 1>&0 2>&0; while read -rt 60 <> <(:); do :; done; read -r _ <> <(:)' & done; true",
        after: "",
        make: "",
        codes: &[0],
    },
    Hostile {
        name: "hostile_sparse_module",
        before: "",
        after: "",
        make: "truncate -s 2147483648 hostile.ko",
        codes: &[7],
    },
    Hostile {
        name: "hostile_sparse_exports",
        before: "",
        after: "truncate -s 2147483648 Module.symvers",
        make: "",
        codes: &[0, 7, 10],
    },
    Hostile {
        name: "hostile_endless_module",
        before: "",
        after: "",
        make: "head -c 300000000 /dev/zero >hostile.ko",
        codes: &[7],
    },
    Hostile { name: "hostile_module_is_a_pipe", before: "", after: "", make: "mkfifo hostile.ko", codes: &[7, 10] },
    Hostile {
        name: "hostile_module_is_a_link",
        before: "",
        after: "",
        make: "ln -s /var/lib/dkms/mok.key hostile.ko",
        codes: &[7, 10],
    },
    Hostile {
        name: "hostile_module_is_a_directory",
        before: "",
        after: "",
        make: "mkdir -p hostile.ko/a",
        codes: &[7, 10],
    },
    Hostile {
        name: "hostile_odd_files",
        before: "",
        after: "d=$(dirname $PWD)/$kernelver/$arch; cp /bin/bash $d/module/; chmod 6755 $d/module/*; ln $d/module/bash $d/hard; ln -s /etc/shadow $d/soft; mkfifo $d/fifo; mknod $d/null c 1 3; chmod 0 $d/module; true",
        make: "",
        codes: &[0, 7, 10, 18],
    },
    Hostile {
        name: "hostile_deep_directories",
        before: "mkdir -p $(printf d/%.0s {1..1500}); true",
        after: "",
        make: "",
        codes: &[0],
    },
    Hostile {
        name: "hostile_log",
        before: "head -c 400000000 /dev/zero | tr '\\0' x; true",
        after: "",
        make: "",
        codes: &[0],
    },
];

/// What must hold afterwards. `$1` is what `install` ended with.
const AFTERWARDS: &str = r#"
fail() { echo "$*"; exit 1; }
left=$(find /proc -maxdepth 1 -name '[0-9]*' -uid +2130706431 | wc -l); [ "$left" = 0 ] || fail "$left processes are left"
left=$(find /var/lib/dkms /usr/lib/modules /usr/src -uid +2130706431); [ -z "$left" ] || fail "files of a build's user: $left"
# What a failed build has left is kept for people.
left=$(find /var/lib/dkms /usr/lib/modules -path '*/hostile/1.0/build' -prune -o \( -type p -o -type c -o -type b -o -type s -o -perm /6000 \) -print); [ -z "$left" ] || fail "odd files: $left"
[ -z "$(find /var/lib/dkms/.dkms/work -mindepth 1)" ] || fail "work directories are left: $(find /var/lib/dkms/.dkms/work | head -5)"
[ -z "$(find /var/lib/dkms -name '*.log' -size +257M)" ] || fail "a log fills the disk"
for f in $(find /var/lib/dkms/hostile /usr/lib/modules/6.1.0-torture/updates -path '*/build' -prune -o -type l -print 2>/dev/null); do case $(readlink -f $f) in /var/lib/dkms/mok*|/etc/*) fail "$f leads out";; esac; done
dkms status >/dev/null || fail status
dkms remove hostile/1.0 --all >/dev/null || fail "it can't be removed"
[ ! -e /var/lib/dkms/hostile ] || fail "remains: $(find /var/lib/dkms/hostile | head -5)"
"#;

impl Hostile {
    fn package(&self) -> Package {
        let mut made = package("hostile");
        if !self.before.is_empty() {
            made = made.script("PRE_BUILD", self.before);
        }
        if !self.after.is_empty() {
            made = made.script("POST_BUILD", self.after);
        }
        if self.make.is_empty() { made } else { made.make(self.make) }
    }

    /// Installs it, with 2 GB of memory for dkms.
    pub fn run(&self) -> Result<()> {
        let world = World::new()?;
        self.package().build_in(&world.outer("/usr/src"))?;
        let start = Instant::now();
        let script = "chown -R 0:0 /usr/src/hostile-1.0; dkms add hostile/1.0 >/dev/null; \
             prlimit --as=2147483648 dkms install hostile/1.0 -k 6.1.0-torture";
        let outcome = world.sh(script).context("install it")?;
        let said = outcome.stdout + &outcome.stderr;
        let mut report = Vec::new();
        if is_panic(outcome.code, &said) || !self.codes.contains(&outcome.code) {
            report.push(format!("  it ends with {}: {}", outcome.code, tail(&said)));
        }
        let afterwards = world.sh(AFTERWARDS)?;
        if afterwards.code != 0 {
            report.push(format!("  {}{}", afterwards.stdout, tail(&afterwards.stderr)));
        }
        conclude(self.name, (1, 1), start, report)
    }
}
