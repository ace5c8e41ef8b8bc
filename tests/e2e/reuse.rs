//! What dkms reuses of a build for another kernel is what a build for this one makes, section by section
//! (tests/scripts/reuse-in-bed.sh). Kernels of the archive that are the same to a module come and go, so the kernel after the
//! newest one is made of its headers; real neighbours are compared by
//! tests/scripts/reuse-table.sh, whose table is in docs/guide/reuse.md.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::debs;
use dkms_tests::hello::{module, package};
use dkms_tests::needs::Need;
use dkms_tests::settings::project;
use dkms_tests::suite::Suite;

const SCRIPT: &str = "/root/reuse-in-bed.sh";

/// Packages of the archive, and whether they need the full kernel.
const REAL: &[(&str, bool)] = &[
    ("acpi-call-dkms", false),
    ("bbswitch-dkms", false),
    ("dm-writeboost-dkms", false),
    ("jool-dkms", false),
    ("tp-smapi-dkms", false),
    ("lime-forensics-dkms", false),
    ("vhba-dkms", false),
    ("dpdk-kmods-dkms", false),
    ("ddcci-dkms", true),
    ("digimend-dkms", true),
    ("openrazer-driver-dkms", true),
    ("v4l2loopback-dkms", true),
];

fn bed_of(base: &Base) -> Result<Bed> {
    let bed = Bed::subject(base)?;
    bed.copy_in(&project().join("tests/scripts/reuse-in-bed.sh"), SCRIPT)?;
    Ok(bed)
}

/// `hello` for the newest kernel and the one after it; then with a header changed that it reads.
fn hello() -> Result<()> {
    let bed = bed_of(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    bed.copy_in(&package("hello").build_in(hand.path())?, "/usr/src/hello-1.0")?;
    let kernel = bed.kernel()?;
    let said = bed.ok(&format!(
        "k={kernel}; next=$({SCRIPT} next $k); {SCRIPT} pairs hello/1.0 $k:$next
         module=$(find /var/lib/dkms/hello/1.0/$next -name 'hello.ko*')
         # What compares them sees a difference.
         case $module in *.xz) xz -dc $module ;; *) cat $module ;; esac | sed 's/license=GPL/license=XXX/' >/root/other.ko
         if {SCRIPT} equal $module /root/other.ko $next $next; then echo 'nothing is compared'; fi
         modinfo -F vermagic $module
         dkms unbuild hello/1.0 -k $next >/dev/null 2>&1
         echo '#define OTHER 1' >>/lib/modules/$next/build/include/generated/bounds.h
         dkms build hello/1.0 -k $next --dry-run 2>&1"
    ))?;
    ensure!(
        said.lines().next().is_some_and(|line| line.ends_with("\treused\t\tequal")),
        "not reused, or not equal\n{said}"
    );
    ensure!(!said.contains("nothing is compared"), "{said}");
    // What its checksums of symbols make good.
    ensure!(said.lines().any(|line| line.starts_with(&format!("{kernel} "))), "another vermagic\n{said}");
    let why = "the header include/generated/bounds.h differs";
    ensure!(said.contains(why), "no {why:?}\n{said}");
    Ok(())
}

/// What is planted in the headers of the next kernel, or in what they share with others, and what is said of it. `auto.conf` stands for
/// the three files that have the configuration.
const PLANTED: &[(&str, &str, &str)] = &[
    (
        "common/include/linux/types.h",
        "s/list_head \\*next, \\*prev;/list_head *prev, *next;/",
        "the header include/linux/types.h differs",
    ),
    (
        "common/include/linux/kref.h",
        "s/refcount_set(&kref->refcount, 1)/refcount_set(\\&kref->refcount, 2)/",
        "the header include/linux/kref.h differs",
    ),
    ("common/include/linux/poison.h", "s/0x122 + POISON/0x123 + POISON/", "the header include/linux/poison.h differs"),
    ("auto.conf", "$ a CONFIG_PLANTED_ASKED=y", "CONFIG_PLANTED_ASKED was not set, and is y"),
    ("auto.conf", "s/^CONFIG_HZ=.*/CONFIG_HZ=77/", "CONFIG_HZ was "),
    ("auto.conf", "s/^CONFIG_RANDSTRUCT_NONE=y/CONFIG_RANDSTRUCT=y/", "CONFIG_RANDSTRUCT was not set, and is y"),
    (
        "common/Makefile",
        "s/^KBUILD_CFLAGS += -fno-common$/KBUILD_CFLAGS += -fno-common -fno-inline/",
        "kbuild's Makefile differs",
    ),
    (
        "build/Module.symvers",
        "s/^0x[0-9a-f]*\\t_printk\\t/0x00000001\\t_printk\\t/",
        "the symbol _printk has another checksum",
    ),
    ("build/Module.symvers", "/\\t_printk\\t/d", "the symbol _printk is gone"),
];
/// What no build of it has read.
const UNRELATED: &[(&str, &str)] = &[
    ("common/include/linux/zorro.h", "$ a #define NOBODY_READS_THIS 1"),
    ("auto.conf", "$ a CONFIG_NOBODY_ASKS=y"),
    ("build/Module.symvers", "$ a 0x00000002\\tnobody_asks_for_these\\tvmlinux\\tEXPORT_SYMBOL\\t"),
];

/// Each change to what a build has read forbids to use it, each change to something else does not; a package that needs another follows
/// from what that exports.
fn planted() -> Result<()> {
    let bed = bed_of(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    let code = "#include <linux/kref.h>\n#include <linux/list.h>\nstatic LIST_HEAD(all); static struct kref count;\n\
        int planted(void);\nint planted(void) { kref_init(&count); list_del(all.next); pr_info(\"planted\\n\"); return HZ; }\n\
        EXPORT_SYMBOL(planted);\n#ifdef CONFIG_PLANTED_ASKED\nint asked;\n#endif\n";
    let exporter = package("planted").module(module("planted").code(code));
    bed.copy_in(&exporter.build_in(hand.path())?, "/usr/src/planted-1.0")?;
    let code = "int planted(void);\nint needs(void);\nint needs(void) { return planted(); }\n";
    let needs = package("needs").module(module("needs").code(code)).depends_on("planted");
    bed.copy_in(&needs.build_in(hand.path())?, "/usr/src/needs-1.0")?;
    let kernel = bed.kernel()?;
    let mut script = format!(
        "k={kernel}; next=$({SCRIPT} next $k); build=$(readlink -f /lib/modules/$next/build)
         common=$(echo /usr/src/linux-headers-*-common | tr ' ' '\\n' | grep -F \"/linux-headers-${{k%%+*}}\")
         mkdir -p /etc/dkms/framework.conf.d; echo 'reuse=\"proven\"' >/etc/dkms/framework.conf.d/reuse.conf
         for p in planted needs; do dkms add $p/1.0; dkms install $p/1.0 -k $k; done >&2
         # change FILE SED: to the file, or to all that have the configuration.
         change() {{
             local file before
             case $1 in
             auto.conf)
                 for file in include/config/auto.conf .config; do change \"build/$file\" \"$2\"; done
                 keep $build/include/generated/autoconf.h
                 comm -13 <(sort /root/before$build/include/config/auto.conf) <(sort $build/include/config/auto.conf) |
                     sed 's/\\(.*\\)=y$/\\1=1/; s/\\(.*\\)=\\(.*\\)/#undef \\1\\n#define \\1 \\2/' >>$build/include/generated/autoconf.h
                 return ;;
             common/*) file=$common/${{1#*/}} ;;
             *) file=$build/${{1#*/}} ;;
             esac
             before=$(sha256sum <$file)
             keep $file
             sed -i \"$2\" $file
             [ \"$before\" != \"$(sha256sum <$file)\" ] || {{ echo \"$file has not changed\" >&2; exit 1; }}
         }}
         keep() {{ [ -e /root/before$1 ] || {{ mkdir -p /root/before${{1%/*}}; cp -p $1 /root/before$1; echo $1 >>/root/changed; }}; }}
         back() {{ local file; while read -r file; do mv /root/before$file $file; done </root/changed; rm /root/changed; }}
         ask() {{ dkms build planted/1.0 -k $next --dry-run 2>&1 | sed -n 's/.* is not reused from kernel [^:]*: /not reused: /p; s/.*reused from kernel.*/reused/p'; }}
"
    );
    for (file, change, _) in PLANTED {
        writeln!(script, "change {file} '{change}'; echo \"asked: $(ask)\"; back")?;
    }
    for (file, change) in UNRELATED {
        writeln!(script, "change {file} '{change}'")?;
    }
    // Really used, and what a build makes.
    script += &format!(
        "echo \"asked: $(ask)\"
         dkms install planted/1.0 -k $next; dkms install needs/1.0 -k $next
         dkms unbuild needs/1.0 -k $next >&2
         sed -i 's/return HZ;/return HZ; }} EXPORT_SYMBOL(more); int more(void) {{ return 2;/; s/^int planted(void);/int planted(void); int more(void);/' /usr/src/planted-1.0/planted.c
         dkms unbuild planted/1.0 -k $next >&2; dkms install planted/1.0 -k $next --force >&2
         echo 'the other has changed'; dkms install needs/1.0 -k $next; echo 'compared'
         dkms unbuild needs/1.0 --all >&2; dkms unbuild planted/1.0 --all >&2; {SCRIPT} pairs planted/1.0 $k:$next"
    );
    let said = bed.ok(&script)?;
    let mut asked = said.lines().filter_map(|line| line.strip_prefix("asked: "));
    for (file, _, why) in PLANTED {
        let answer = asked.next().unwrap_or_default();
        ensure!(answer.starts_with(&format!("not reused: {why}")), "{file}: {answer:?} is not {why:?}\n{said}");
    }
    ensure!(asked.next().is_some_and(|answer| !answer.contains("not reused")), "something unrelated counts\n{said}");
    let reused = format!("Reused from kernel {kernel}");
    let (before, after) = said.split_once("the other has changed").unwrap_or_default();
    ensure!(before.matches(&reused).count() == 2, "planted and needs are not both reused\n{said}");
    let (after, compared) = after.split_once("compared").unwrap_or_default();
    ensure!(!after.contains(&reused), "it is reused, although what it needs has changed\n{said}");
    ensure!(compared.trim_end().ends_with("\treused\t\tequal"), "{said}");
    Ok(())
}

/// Debugging information has the paths of headers: what keeps it is not used for another kernel.
fn not_stripped() -> Result<()> {
    let bed = bed_of(&Base::trixie()?)?;
    let hand = tempfile::tempdir()?;
    let source = package("hello").conf_line("STRIP[0]=no").build_in(hand.path())?;
    bed.copy_in(&source, "/usr/src/hello-1.0")?;
    let kernel = bed.kernel()?;
    let said = bed.ok(&format!("{SCRIPT} pairs hello/1.0 {kernel}:$({SCRIPT} next {kernel})"))?;
    ensure!(said.contains("\tunrecorded\tits modules keep their debugging information"), "{said}");
    Ok(())
}

/// A real package for the newest kernel, the one after it, the same installed again, another build of it.
#[allow(clippy::print_stdout)] // what could be reused is the result
fn real(name: &str, full: bool) -> Result<()> {
    let base = if full { Base::trixie_full()? } else { Base::trixie()? };
    let bed = bed_of(&base)?;
    let kernel = bed.kernel()?;
    for source in debs::sources(&Base::trixie()?, name)? {
        let directory = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id = directory.rsplit_once('-').map(|(name, version)| format!("{name}/{version}")).unwrap_or_default();
        bed.copy_in(&source, &format!("/usr/src/{directory}"))?;
        let said =
            bed.ok(&format!("k={kernel}; next=$({SCRIPT} next $k); {SCRIPT} pairs {id} $k:$next $k:$k $k:rebuilt"))?;
        print!("{said}");
        ensure!(said.lines().count() == 3, "not all were compared\n{said}");
        for line in said.lines() {
            let unreused = line.contains("\tbuilt\t") || line.contains("\tunrecorded\t");
            ensure!(line.ends_with("\tequal") || unreused, "{line}");
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let suite = Suite::new(&[Need::Bed, Need::Subject, Need::Ours])
        .case("hello_for_the_next_kernel", hello)
        .case_needing(&[Need::Long], "planted_changes", planted)
        .case_needing(&[Need::Long], "what_is_not_stripped", not_stripped);
    REAL.iter()
        .fold(suite, |suite, &(name, full)| suite.case_needing(&[Need::Long], name, move || real(name, full)))
        .main()
}
