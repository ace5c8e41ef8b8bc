//! Real packages of the Debian archive on a real Debian kernel: what the classic makes of them, we make too.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::{compare, step};
use dkms_tests::debs;
use dkms_tests::needs::Need;
use dkms_tests::settings;
use dkms_tests::suite::Suite;

/// A Debian package.
#[derive(Debug, Clone, Copy)]
struct Real {
    package: &'static str,
    /// What else it needs installed to build.
    needs: &'static str,
    /// It asks for subsystems that a cloud kernel lacks.
    full: bool,
    /// Takes many minutes.
    long: bool,
    /// Does not build for its kernel: a failure as users meet it.
    fails: bool,
    /// For the kernel of unstable.
    unstable: bool,
}

const fn real(package: &'static str) -> Real {
    Real { package, needs: "", full: false, long: false, fails: false, unstable: false }
}

/// The slowest first, so that the cores stay busy.
const PACKAGES: &[Real] = &[
    Real {
        needs: "libc6-dev lsb-release python3-minimal libpython3-stdlib perl autoconf automake libtool",
        long: true,
        ..real("zfs-dkms")
    },
    Real { long: true, ..real("jool-dkms") },
    // Its tracepoints are those of the release's first kernel.
    Real { needs: "gawk", long: true, fails: true, ..real("lttng-modules-dkms") },
    // These need a bed with the full kernel, which takes minutes to make.
    Real { full: true, long: true, ..real("ddcci-dkms") },
    Real { full: true, long: true, ..real("digimend-dkms") },
    Real { full: true, long: true, ..real("v4l2loopback-dkms") },
    real("acpi-call-dkms"),
    real("bbswitch-dkms"),
    Real { long: true, ..real("dm-writeboost-dkms") },
    Real { long: true, ..real("tp-smapi-dkms") },
    Real { long: true, fails: true, unstable: true, ..real("jool-dkms") },
    Real { fails: true, unstable: true, ..real("dm-writeboost-dkms") },
];

/// What we call loadable, modprobe would load from our file, and modinfo finds there. (The classic has no `--long`.)
const AS_MODPROBE_SAYS: &str = "set -eo pipefail
for file in $(find /lib/modules/{k}/updates /lib/modules/{k}/extra -name '*.ko*' 2>/dev/null); do
  name=${file##*/}; name=${name%%.ko*}
  modprobe -S {k} -n -v $name | grep -qF \"insmod $file\"
  [ \"$(modinfo -k {k} -n $name)\" = $file ]; count=$((${count:-0} + 1))
done
[ ${count:-0} -gt 0 ]
dkms status --long -k {k} >/root/long 2>&1 || grep -qF 'long' /root/long
(! grep -F 'would not be loaded' /root/long)";

fn whole_life(real: Real) -> Result<()> {
    let Real { package, needs, full, fails, unstable, .. } = real;
    let base = match (full, unstable) {
        (_, true) => Base::boot()?,
        (true, false) => Base::trixie_full()?,
        (false, false) => Base::trixie()?,
    };
    // What Debian 13 ships, for any kernel.
    let sources = debs::sources(&Base::trixie()?, package)?;
    ensure!(!sources.is_empty(), "{package} holds no module source");
    let ids: Vec<String> = sources
        .iter()
        .filter_map(|source| source.file_name()?.to_str()?.rsplit_once('-').map(|(m, v)| format!("{m}/{v}")))
        .collect();
    let mut steps = Vec::new();
    for id in &ids {
        if fails {
            steps.extend([
                step(format!("dkms add {id}")).exits(0),
                step(format!("dkms build {id} -k {{k}}")).exits(10),
                step(format!("dkms install {id} -k {{k}}")).exits(10),
                step("dkms status").exits(0).same_stdout(),
                step(format!("dkms remove {id} --all")).exits(0),
            ]);
            continue;
        }
        steps.extend([
            step(format!("dkms add {id}")).exits(0),
            step(format!("dkms build {id} -k {{k}}")).exits(0),
            step(format!("dkms install {id} -k {{k}}")).exits(0),
            step("dkms status").exits(0).same_stdout(),
            step(AS_MODPROBE_SAYS).exits(0),
            step(format!("dkms uninstall {id} -k {{k}}")).exits(0),
            step(format!("dkms remove {id} --all")).exits(0),
        ]);
    }
    compare(
        &base,
        |bed| {
            for source in &sources {
                let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
                bed.copy_in(source, &format!("/usr/src/{name}"))?;
            }
            if !needs.is_empty() {
                bed.ok(&format!("apt-get -q -y install {needs} >/dev/null"))?;
            }
            Ok(())
        },
        &steps,
    )
}

/// What `dkms lint` finds in the archive's packages was looked at by a person: only these are errors and warnings, and each is true.
const TRUE_PROBLEMS: &[(&str, &str)] = &[
    ("broadcom-sta-dkms", "lost-flags"),
    ("dahdi-dkms", "lost-flags"),
    ("ezurio-qcacld-2.0-dkms", "lost-flags"),
    ("osmocom-dahdi-dkms", "lost-flags"),
    ("r8125-dkms", "lost-flags"),
    ("r8168-dkms", "lost-flags"),
    ("rtpengine-kernel-dkms", "lost-flags"),
    // Without them it builds all the same: they name a directory that it does not have.
    ("tp-smapi-dkms", "lost-flags"),
    ("xtables-addons-dkms", "lost-flags"),
];

/// No finding over every dkms.conf of the archive that nobody has looked at.
fn lint_of_the_archive() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    bed.copy_in(&settings::project().join("tests/scripts/lint-archive.sh"), "/srv/lint-archive.sh")?;
    let said = bed.ok("bash /srv/lint-archive.sh")?;
    let looked_at = said.lines().next_back().and_then(|line| line.strip_prefix("looked at ")?.parse::<u32>().ok());
    ensure!(looked_at.is_some_and(|count| count >= 40), "too few were looked at\n{said}");
    let unknown = |line: &&str| {
        let rule = line.rsplit_once('[').map_or("", |(_, rule)| rule.trim_end_matches(']'));
        let package = line.split('\t').next().unwrap_or_default();
        line.contains('\t') && !line.contains(": note: ") && !TRUE_PROBLEMS.contains(&(package, rule))
    };
    let unknown: Vec<&str> = said.lines().filter(unknown).collect();
    ensure!(unknown.is_empty(), "are these true?\n{}", unknown.join("\n"));
    Ok(())
}

fn main() -> ExitCode {
    let mut suite = Suite::new(&[Need::Bed, Need::Subject]);
    for &real in PACKAGES {
        let needs: &[Need] = if real.long { &[Need::Long] } else { &[] };
        let name = real.package.to_owned() + if real.unstable { "_fails" } else { "" };
        suite = suite.case_needing(needs, name, move || whole_life(real));
    }
    suite.case_needing(&[Need::Long], "lint_of_the_archive", lint_of_the_archive).main()
}
