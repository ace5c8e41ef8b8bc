//! Modules that dkms built, signed, compressed and installed, loaded by a real kernel: Debian's, in an emulated machine,
//! with and without Secure Boot. What the guest's kernel said is printed.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::hello::{Package, module, package};
use dkms_tests::needs::Need;
use dkms_tests::settings::project;
use dkms_tests::suite::Suite;

const SCRIPT: &str = "/root/boot-in-bed.sh";
const STATES: &str = "/root/states.sh";
const REUSE: &str = "/root/reuse-in-bed.sh";

/// The bed with everything installed, made by the first case that needs it. One boot at a time.
#[derive(Default)]
struct Lab(Mutex<Option<Result<Bed>>>);

/// Modules that say so when they run.
fn loud(package: Package, modules: &[&str]) -> Package {
    modules.iter().fold(package, |package, name| {
        let code = format!(
            "#include <linux/module.h>
static int __init loud_init(void) {{ pr_info(\"{name}: the module runs\\n\"); return 0; }}
static void __exit loud_exit(void) {{ }}
module_init(loud_init);
module_exit(loud_exit);
MODULE_LICENSE(\"GPL\");
MODULE_DESCRIPTION(\"an honest module\");
"
        );
        package.module(module(name)).file(&format!("{name}.c"), code)
    })
}

/// `hello` signed with our own key, `tampered` too but changed afterwards, `foreign` with a key that nobody enrols, and
/// `plain` without signature: all installed by dkms, and listed by depmod.
fn prepare() -> Result<Bed> {
    let base = Base::boot()?;
    let bed = Bed::subject(&base)?;
    let kernel = bed.kernel()?.to_owned();
    let hand = tempfile::tempdir()?;
    for (name, modules) in [("hello", &["hello", "tampered"][..]), ("foreign", &["foreign"]), ("plain", &["plain"])] {
        let source = loud(package(name), modules).build_in(hand.path())?;
        bed.copy_in(&source, &format!("/usr/src/{name}-1.0"))?;
    }
    bed.copy_in(&project().join("tests/scripts/boot-in-bed.sh"), SCRIPT)?;
    let said = bed.ok(&format!(
        "rm -f /var/lib/dkms/mok.* /etc/dkms/framework.conf
         dkms generate_mok
         dkms install hello/1.0 -k {kernel}
         openssl req -new -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=stranger -keyout /root/other.key \
             -out /root/other.pem 2>/dev/null
         printf 'mok_signing_key=/root/other.key\\nmok_certificate=/root/other.pem\\n' >/etc/dkms/framework.conf
         dkms install foreign/1.0 -k {kernel}
         echo try_sign_modules=false >/etc/dkms/framework.conf
         dkms install plain/1.0 -k {kernel}
         rm /etc/dkms/framework.conf
         cd /lib/modules/{kernel}/updates/dkms
         xz -d tampered.ko.xz
         sed -i 's/an honest module/no longer honest/' tampered.ko
         xz --check=crc32 tampered.ko
         for m in hello tampered foreign plain; do
             echo \"$m: $(modinfo -k {kernel} -F filename $m) signer=$(modinfo -k {kernel} -F signer $m)\"
         done
         {SCRIPT} initramfs {kernel}"
    ))?;
    for line in [
        "hello: /lib/modules/{k}/updates/dkms/hello.ko.xz signer=DKMS module signing key",
        "tampered: /lib/modules/{k}/updates/dkms/tampered.ko.xz signer=DKMS module signing key",
        "foreign: /lib/modules/{k}/updates/dkms/foreign.ko.xz signer=stranger",
        "plain: /lib/modules/{k}/updates/dkms/plain.ko.xz signer=",
    ] {
        let line = line.replace("{k}", &kernel);
        ensure!(said.lines().any(|l| l == line), "no {line:?} in\n{said}");
    }
    Ok(bed)
}

impl Lab {
    /// Boots once; gives the guest's lines.
    #[allow(clippy::print_stdout)] // what the guest's kernel said is part of the result
    fn boot(&self, case: &str, how: &str, words: &str) -> Result<Vec<String>> {
        let mut bed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bed = bed.get_or_insert_with(prepare).as_ref().map_err(|error| anyhow!("prepare the bed: {error:#}"))?;
        let kernel = bed.kernel()?;
        let outcome = bed.sh(&format!("{SCRIPT} {how} {kernel} {words}"))?;
        let lines: Vec<String> = outcome
            .stdout
            .lines()
            .filter_map(|line| line.find("GUEST ").map(|at| line[at + 6..].trim_end().to_owned()))
            .collect();
        for line in &lines {
            println!("{case}: {line}");
        }
        ensure!(
            lines.iter().any(|line| line.starts_with("done after")),
            "the guest did not get to its end (exit code {})\n{}",
            outcome.code,
            outcome.tail()
        );
        Ok(lines)
    }
}

/// How `modprobe` ended in the guest: its code, and what it said.
fn modprobe(lines: &[String], module: &str) -> Result<(i32, String)> {
    let start = format!("modprobe {module}: ");
    let line = lines.iter().find_map(|line| line.strip_prefix(&start)).with_context(|| format!("no {start}"))?;
    let (code, said) = line.split_once(' ').unwrap_or((line, ""));
    Ok((code.parse()?, said.to_owned()))
}

fn loads(lines: &[String], module: &str) -> Result<()> {
    let (code, said) = modprobe(lines, module)?;
    ensure!(code == 0, "{module} was not loaded: {said}");
    let alive = format!("{module}: the module runs");
    ensure!(lines.iter().any(|line| line.starts_with("dmesg:") && line.contains(&alive)), "{module} did not run");
    Ok(())
}

fn refused(lines: &[String], module: &str, why: &str) -> Result<()> {
    let (code, said) = modprobe(lines, module)?;
    ensure!(code != 0, "{module} was loaded");
    ensure!(said.contains(why), "{module} was refused, but not because of {why:?}: {said}");
    Ok(())
}

fn says(lines: &[String], text: &str) -> Result<()> {
    ensure!(lines.iter().any(|line| line.contains(text)), "the guest never said {text:?}");
    Ok(())
}

/// Nothing is enforced: all that matters is that modprobe finds it and the kernel takes it.
fn direct(lab: &Lab) -> Result<()> {
    let lines = lab.boot("direct", "direct", "")?;
    loads(&lines, "hello")?;
    says(&lines, "Secure Boot:              off")
}

/// Nobody's key is enrolled: nothing gets in.
fn sig_enforce(lab: &Lab) -> Result<()> {
    let lines = lab.boot("sig_enforce", "direct", "module.sig_enforce=1")?;
    refused(&lines, "plain", "Key was rejected by service")?;
    refused(&lines, "foreign", "Key was rejected by service")?;
    refused(&lines, "hello", "Key was rejected by service")?;
    says(&lines, "Loading of unsigned module is rejected")?;
    says(&lines, "Loading of module with unavailable key is rejected")
}

fn secure_boot(lab: &Lab) -> Result<()> {
    let lines = lab.boot("secure_boot", "secure", "/var/lib/dkms/mok.pub")?;
    says(&lines, "Secure boot enabled")?;
    says(&lines, "lockdown none [integrity] confidentiality")?;
    loads(&lines, "hello")?;
    refused(&lines, "plain", "Key was rejected by service")?;
    refused(&lines, "foreign", "Key was rejected by service")?;
    refused(&lines, "tampered", "Key was rejected by service")?;
    says(&lines, "dkms: Secure Boot:              on")?;
    says(&lines, "dkms: Trusted now:              yes")
}

/// The same without the machine owner's key: it is the enrolment that counts.
fn not_enrolled(lab: &Lab) -> Result<()> {
    let lines = lab.boot("not_enrolled", "secure", "")?;
    for module in ["hello", "plain", "foreign", "tampered"] {
        refused(&lines, module, "Key was rejected by service")?;
    }
    says(&lines, "dkms: Trusted now:              no")?;
    says(&lines, "dkms: Enrol the certificate with: dkms mok enroll")
}

/// Modules in all states: what dkms calls loadable is loaded, from the file that it put there, and what it does not is not. The newest
/// kernel of `base`, laid down there.
#[allow(clippy::print_stdout)] // what dkms and the guest said is part of the result
fn states(base: &Base) -> Result<()> {
    let bed = Bed::subject(base)?;
    let kernel = bed.kernel()?.to_owned();
    let script = project().join("tests/scripts/states.sh");
    bed.copy_in(&script, STATES)?;
    let said = bed.ok(&format!("{STATES} lay {kernel} /mnt/states"))?;
    let machine = Bed::subject(&Base::boot()?)?;
    machine.copy_in(&script, STATES)?;
    machine.copy_in(&bed.exchange().join("states"), "/var/tmp/states")?;
    let seen = machine.sh(&format!("{STATES} boot {kernel} /var/tmp/states"))?;
    let seen: Vec<&str> =
        seen.stdout.lines().filter_map(|line| Some(line.split_once("GUEST ")?.1.trim_end())).collect();
    ensure!(seen.iter().any(|line| line.starts_with("done after")), "the guest did not get to its end: {seen:?}");
    let mut wrong = Vec::new();
    let (mut loaded, mut refused) = (0, 0);
    for state in said.lines().filter_map(|line| line.strip_prefix("STATE ")) {
        let (name, path) = state.split_once(' ').context(state.to_owned())?;
        let why = said.lines().find_map(|line| line.strip_prefix(&format!("REFUSED {name} ")));
        let start = format!("STATE {name} ");
        let found = seen.iter().find_map(|line| line.strip_prefix(&start)).with_context(|| format!("no {start}"))?;
        let ours = format!("0 ours /lib/modules/{kernel}/{path}");
        let is_loaded = found.strip_prefix(&ours).is_some_and(|rest| rest.trim().is_empty());
        println!("{kernel}: {name}: {found}; dkms: {}", why.unwrap_or("is loaded"));
        if is_loaded == why.is_some() {
            wrong.push(name);
        }
        *(if is_loaded { &mut loaded } else { &mut refused }) += 1;
    }
    ensure!(wrong.is_empty(), "dkms and the kernel differ about {}", wrong.join(", "));
    ensure!(loaded >= 10 && refused >= 20, "{loaded} were loaded, {refused} were not");
    ensure!(seen.contains(&"alias 0"), "a module was not loaded by its alias");
    Ok(())
}

/// A module that was built for another kernel, used for the newest of `base`, is what a build makes, and that kernel loads it: by the
/// checksums of symbols where it goes by them, otherwise by a vermagic that was written anew.
fn reused(base: &Base, names_it: bool) -> Result<()> {
    let bed = Bed::subject(base)?;
    let kernel = bed.kernel()?.to_owned();
    let hand = tempfile::tempdir()?;
    bed.copy_in(&loud(package("hello"), &["hello"]).build_in(hand.path())?, "/usr/src/hello-1.0")?;
    bed.copy_in(&project().join("tests/scripts/reuse-in-bed.sh"), REUSE)?;
    let said = bed.ok(&format!(
        "next=$({REUSE} next {kernel}); {REUSE} pairs hello/1.0 $next:{kernel}
         dkms install hello/1.0 -k {kernel} >&2; dkms status --long -k {kernel}
         echo vermagic: $(modinfo -k {kernel} -F vermagic hello)
         mkdir /mnt/kernel; cp -a /lib/modules/{kernel} /boot/vmlinuz-{kernel} /var/lib/dkms/mok.pub /mnt/kernel/"
    ))?;
    ensure!(said.lines().next().is_some_and(|line| line.ends_with("\treused\t\tequal")), "{said}");
    ensure!(said.contains("reused from kernel "), "{said}");
    ensure!(said.contains(&format!("vermagic: {kernel} ")) != names_it, "another vermagic\n{said}");
    let machine = Bed::subject(&Base::boot()?)?;
    machine.copy_in(&project().join("tests/scripts/boot-in-bed.sh"), SCRIPT)?;
    machine.copy_in(&bed.exchange().join("kernel"), "/root/kernel")?;
    let seen = machine.ok(&format!(
        "rm -rf /lib/modules/{kernel}; cd /root/kernel; mv {kernel} /lib/modules/; mv vmlinuz-{kernel} /boot/; mv mok.pub /var/lib/dkms/
         {SCRIPT} initramfs {kernel}; {SCRIPT} direct {kernel}"
    ))?;
    let guest = |line: &str| line.find("GUEST ").map(|at| line[at + 6..].trim_end().to_owned());
    let lines: Vec<String> = seen.lines().filter_map(guest).collect();
    says(&lines, &format!("kernel {kernel}"))?;
    loads(&lines, "hello")
}

/// A boot and what must come of it.
type Case = fn(&Lab) -> Result<()>;

fn main() -> ExitCode {
    let lab = Arc::new(Lab::default());
    let cases: [(&str, Case); 4] = [
        ("direct", direct),
        ("sig_enforce", sig_enforce),
        ("secure_boot", secure_boot),
        ("not_enrolled", not_enrolled),
    ];
    cases
        .into_iter()
        .fold(Suite::new(&[Need::Bed, Need::Subject, Need::Ours]), |suite, (name, case)| {
            let lab = Arc::clone(&lab);
            suite.case(name, move || case(&lab))
        })
        .case("states_of_the_newest_kernel", || states(&Base::boot()?))
        .case_needing(&[Need::Long], "states_of_a_stable_kernel", || states(&Base::trixie()?))
        .case_needing(&[Need::Long], "reused_by_the_newest_kernel", || reused(&Base::boot()?, false))
        .case_needing(&[Need::Long], "reused_by_a_stable_kernel", || reused(&Base::trixie()?, true))
        .main()
}
