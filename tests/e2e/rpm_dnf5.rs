//! dnf5 and rpm 6: real transactions on kernels in Fedora's layout.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::rpm::{DNF5, Kind, World, release};
use dkms_tests::rpm_classic;
use dkms_tests::run::Outcome;
use dkms_tests::suite::Suite;
use dkms_tests::transcript::Transcript;

fn world() -> Result<World> {
    World::new(Kind::Dnf5, DNF5)
}

fn kernels_and_modules_come_and_go() -> Result<()> {
    let w = world()?;
    // Everything at once: the modules are in the first initramfs.
    let said = w.ok(&format!("install {} hello-dkms-1.0-1 world-dkms-1.0", World::kernel("7.2.13", true)))?;
    ensure!(said.contains("installed hello/1.0, world/1.0"), "no summary:\n{said}");
    w.expect_status(&["hello/1.0, {13}: installed", "world/1.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["hello", "world"])?;
    w.expect_initramfs("7.2.13", &["hello", "world"])?;
    // A kernel and both module packages, upgraded in one transaction.
    w.ok(&format!("install {} hello-dkms-2.0 world-dkms-2.0", World::kernel("7.2.14", true)))?;
    w.expect_status(&[
        "hello/2.0, {13}: installed",
        "hello/2.0, {14}: installed",
        "world/2.0, {13}: installed",
        "world/2.0, {14}: installed",
    ])?;
    w.expect_initramfs("7.2.14", &["hello", "world"])?;
    // A third kernel pushes the first one out.
    w.ok(&format!("install --setopt=installonly_limit=2 {}", World::kernel("7.2.15", true)))?;
    w.expect_modules("7.2.15", &["hello", "world"])?;
    let seen = w.seen()?;
    World::check_initramfs(&seen, "7.2.15", &["hello", "world"])?;
    World::check_initramfs_gone(&seen, "7.2.13")?;
    w.expect_gone("7.2.13")?;
    // A module package goes, its kernels stay.
    w.ok("remove world-dkms")?;
    w.expect_status(&["hello/2.0, {14}: installed", "hello/2.0, {15}: installed"])?;
    w.expect_modules("7.2.14", &["hello"])?;
    w.ok(&format!("remove {}", World::kernel("7.2.15", true)))?;
    World::check_initramfs_gone(&w.seen()?, "7.2.15")?;
    w.expect_gone("7.2.15")?;
    w.ok("remove hello-dkms")?;
    w.expect_status(&[])?;
    w.expect_modules("7.2.14", &[])?;
    expect_no_stray_words(&w)
}

/// Fails if dnf5's actions plugin had anything to complain of: what our program wrote was no request.
fn expect_no_stray_words(w: &World) -> Result<()> {
    let complaints = w.bed.ok("grep -h 'ERROR Actions plugin' /var/log/dnf5.log | grep -v 'Exit code: ' || true")?;
    ensure!(complaints.is_empty(), "the actions plugin complains:\n{complaints}");
    Ok(())
}

fn headers_that_are_missing() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1", World::kernel("7.2.13", false)))?;
    w.expect_status(&["hello/1.0: added"])?;
    w.expect_initramfs("7.2.13", &[])?;
    // Policy warn: said before and after, and the transaction goes on.
    let said = w.ok(&format!("install {}", World::kernel("7.2.14", false)))?;
    let warning = format!("dkms: kernel {} comes without its headers", release("7.2.14"));
    ensure!(said.contains(&warning), "no warning {warning:?}:\n{said}");
    ensure!(said.contains("waiting for headers"), "no summary:\n{said}");
    w.expect_initramfs("7.2.14", &[])?;
    // They come: what waited is built.
    w.ok("install kernel-devel-7.2.13 kernel-devel-7.2.14")?;
    w.expect_status(&["hello/1.0, {13}: installed", "hello/1.0, {14}: installed"])?;
    w.expect_modules("7.2.14", &["hello"])?;
    // Policy fail: nothing is touched, and the reason is given.
    w.bed.write("/etc/dkms/framework.conf", "policy=fail\n")?;
    w.stopped(&format!("install {}", World::kernel("7.2.15", false)), "kernel-devel-7.2.15-100.fc99")?;
    w.expect_gone("7.2.15")?;
    // With headers, it goes on.
    w.ok(&format!("install {}", World::kernel("7.2.15", true)))?;
    w.expect_initramfs("7.2.15", &["hello"])
}

fn a_module_that_fails() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1 world-dkms-1.0", World::kernel("7.2.13", true)))?;
    w.expect_initramfs("7.2.13", &["hello", "world"])?;
    // Both successors fail to build: whether the old %preun asks for removal or not, what worked stays.
    let said = w.ok("upgrade hello-dkms world-dkms")?;
    ensure!(said.contains("hello/3.0") && said.contains("no_such_thing"), "no last words:\n{said}");
    w.expect_modules("7.2.13", &["hello", "world"])?;
    let versions = w.bed.ok(&format!("modinfo -k {} -F version hello world", release("7.2.13")))?;
    ensure!(versions == "1.0\n1.0\n", "the modules are of version {versions:?}");
    // A kernel that it fails on is installed all the same, with initramfs and boot entry.
    w.ok(&format!("install {}", World::kernel("7.2.14", true)))?;
    w.expect_initramfs("7.2.14", &[])?;
    // Who can't do without says so.
    w.bed.write("/etc/dkms/hello.conf", "DKMS_POLICY=required\n")?;
    let stopped = w.run(&format!("install {}", World::kernel("7.2.15", true)))?;
    let seen = w.seen()?;
    ensure!(!seen.contains("50-dracut add"), "kernel-install went on: {seen}\n{}", stopped.tail());
    // It was kernel-install that stopped, not the transaction before it.
    w.bed.ok(&format!("test -d /lib/modules/{}", release("7.2.15"))).with_context(|| stopped.tail())?;
    Ok(())
}

/// What is known to fail, what is not meant for the kernel, and where there is no room: said (policy warn), or in the way
/// (policy fail).
fn preflight() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-3.0", World::kernel("7.2.13", true)))?;
    let again = "reinstall kernel-core-7.2.13";
    let said = w.ok(again)?;
    let known = format!("dkms: hello/3.0 could not be built for kernel {} before: ", release("7.2.13"));
    ensure!(said.matches(&known).count() == 1, "not said once {known:?}:\n{said}");
    w.expect_initramfs("7.2.13", &[])?;
    w.bed.write("/etc/dkms/framework.conf", "policy=fail\n")?;
    w.stopped(again, "could not be built")?;
    // Its author's word is no failure, for policy fail neither; who needs the package wants to stop.
    w.bed.write("/etc/dkms/hello.conf", "BUILD_EXCLUSIVE_KERNEL='^6[.]'\n")?;
    let said = w.ok(again)?;
    ensure!(said.contains("dkms: hello/3.0 is not meant for kernel "), "not said:\n{said}");
    w.bed.write("/etc/dkms/hello.conf", "BUILD_EXCLUSIVE_KERNEL='^6[.]' DKMS_POLICY=required # at any price\n")?;
    w.stopped(again, "is not meant for kernel")?;
    w.bed.ok("rm /etc/dkms/hello.conf")?;
    w.expect_word_of_little_room(["7.2.14", "7.2.15"])?;
    expect_no_stray_words(&w)
}

/// A kernel whose packages are called as nobody can guess.
fn preflight_looks_into_packages() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1", World::kernel("7.2.13", true)))?;
    w.bed.write("/etc/dkms/framework.conf", "policy=fail\n")?;
    let reason = format!("kernel {} comes without its headers", release("7.2.15"));
    let keep_none = "rm -rf /var/cache/libdnf5/*/packages /var/lib/dnf/plugins/local*";
    // A file that the user names is looked into before the question; others when they have been downloaded.
    w.stopped("install /srv/rpm/modules/vendor-linux-1-9.*.rpm --assumeno", &reason)?;
    w.bed.ok(keep_none)?;
    w.stopped("install vendor-linux", &reason)?;
    w.expect_gone("7.2.15")?;
    // A module package that comes with the kernel lacks its modules, too.
    w.bed.ok(keep_none)?;
    w.stopped("install vendor-linux world-dkms-1.0", "it will lack the modules of hello/1.0, world/1.0")?;
    w.bed.ok(keep_none)?;
    let said = w.ok("install vendor-linux vendor-linux-extras")?;
    ensure!(!said.contains("without its headers"), "it has headers:\n{said}");
    w.expect_initramfs("7.2.15", &["hello"])?;
    // Policy warn: said once, though there are two looks.
    w.ok("remove vendor-linux vendor-linux-extras")?;
    w.bed.write("/etc/dkms/framework.conf", "policy=warn\n")?;
    let said = w.ok("install vendor-linux")?;
    ensure!(said.matches(&format!("dkms: {reason}")).count() == 1, "not said once:\n{said}");
    w.expect_initramfs("7.2.15", &[])?;
    expect_no_stray_words(&w)
}

/// As the machine's boot into system-update.target runs what was stored (dnf5-offline-transaction.service): no terminal,
/// no standard input, next to no environment, and nobody who watches.
const OFFLINE: &str = "export DNF_SYSTEM_UPGRADE_NO_REBOOT=1
dnf5 -y offline reboot 2>&1
[ -L /system-update ]
env -i PATH=/usr/sbin:/usr/bin DNF_SYSTEM_UPGRADE_NO_REBOOT=1 setsid dnf5 offline _execute <&- >/var/log/console 2>&1 || true
cat /var/log/console";

fn offline_upgrade() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1", World::kernel("7.2.13", true)))?;
    w.seen()?;
    w.ok(&format!("install --offline {} hello-dkms-2.0", World::kernel("7.2.14", true)))?;
    ensure!(w.seen()?.is_empty(), "a scriptlet ran before the reboot");
    w.bed.ok(OFFLINE)?;
    w.expect_status(&["hello/2.0, {13}: installed", "hello/2.0, {14}: installed"])?;
    w.expect_initramfs("7.2.14", &["hello"])?;
    // What fails when nobody watches: the journal has it (the unit's output goes there), status keeps it.
    w.ok(&format!("install --offline {} hello-dkms-3.0", World::kernel("7.2.15", true)))?;
    let console = w.bed.ok(OFFLINE)?;
    ensure!(console.contains("hello/3.0") && console.contains("no_such_thing"), "not in the journal:\n{console}");
    w.expect_initramfs("7.2.15", &[])?;
    w.expect_modules("7.2.14", &["hello"])?;
    let told = w.bed.ok("dkms status --long")?;
    ensure!(told.contains("no_such_thing"), "dkms status --long has forgotten:\n{told}");
    // Stopped when it is stored, not when the machine is half way down.
    w.bed.ok("rpm -e kernel-core-7.2.15 kernel-modules-7.2.15 kernel-devel-7.2.15 2>&1")?;
    w.bed.write("/etc/dkms/framework.conf", "policy=fail\n")?;
    w.stopped(&format!("install --offline {}", World::kernel("7.2.15", false)), "comes without its headers")?;
    w.bed.ok("[ ! -e /usr/lib/sysimage/libdnf5/offline/transaction.json ]")?;
    expect_no_stray_words(&w)
}

/// What graphical front ends do, PackageKit's back end among them: they use the library, not dnf5.
const API: &str = "import sys, libdnf5
base = libdnf5.base.Base()
base.load_config()
base.setup()
base.get_repo_sack().create_repos_from_system_configuration()
base.get_repo_sack().load_repos()
goal = libdnf5.base.Goal(base)
for word in sys.argv[2:]:
    getattr(goal, 'add_' + sys.argv[1])(word)
transaction = goal.resolve()
transaction.download()
sys.exit(transaction.run() != libdnf5.base.Transaction.TransactionRunResult_SUCCESS)
";

/// The bus, and dnf5's daemon on it.
const DAEMON: &str = "mkdir -p /run/dbus; dbus-daemon --system --fork --nopidfile
/usr/lib/polkit-1/polkitd --no-debug >/dev/null 2>&1 &
dnf5daemon-server </dev/null >>/var/log/daemon 2>&1 &
owned() { dbus-send --system --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner string:$1 2>&1; }
for name in org.freedesktop.PolicyKit1 org.rpm.dnf.v0; do until owned $name | grep -q 'boolean true'; do :; done; done
dnf5daemon-client -y";

fn through_the_library() -> Result<()> {
    let w = world()?;
    w.ok(&format!("install {} hello-dkms-1.0-1 careful-dkms-1.0-1", World::kernel("7.2.13", true)))?;
    w.bed.write("/srv/api.py", API)?;
    for (front, begin, version) in [("api", "python3 /srv/api.py", "7.2.14"), ("daemon", DAEMON, "7.2.15")] {
        let ask = |words: &str| -> Result<Outcome> {
            w.seen()?;
            w.bed.sh(&format!("{begin} {words}"))
        };
        // Old %preun scripts go by rpm's process, which has another name here.
        let outcome = ask(&format!("{} careful-dkms", if front == "api" { "upgrade" } else { "reinstall" }))?;
        ensure!(outcome.code == 0, "{front} careful-dkms: exit code {}: {}", outcome.code, outcome.tail());
        w.expect_status(&["careful/2.0, {13}: installed", "hello/1.0, {13}: installed"])?;
        let kernel = World::kernel(version, true);
        let outcome = ask(&format!("install {kernel}"))?;
        ensure!(outcome.code == 0, "{front} install: exit code {}: {}", outcome.code, outcome.tail());
        w.expect_modules(version, &["careful", "hello"])?;
        w.expect_initramfs(version, &["careful", "hello"])?;
        let outcome = ask(&format!("remove {kernel}"))?;
        ensure!(outcome.code == 0, "{front} remove: exit code {}: {}", outcome.code, outcome.tail());
        World::check_initramfs_gone(&w.seen()?, version)?;
        w.expect_gone(version)?;
        // The reason gets to whoever asked.
        w.bed.write("/etc/dkms/framework.conf", "policy=fail\n")?;
        let kernel = World::kernel(version, false);
        let outcome = ask(&format!("install {kernel}"))?;
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        ensure!(outcome.code != 0 && said.contains("Action calls for stop: dkms: kernel"), "{front}: {said}");
        ensure!(w.seen()?.is_empty(), "{front}: a scriptlet ran");
        // What is lacking stands in the daemon's journal.
        w.bed.write("/etc/dkms/framework.conf", "policy=warn\n")?;
        let outcome = ask(&format!("install {kernel}; code=$?; cat /var/log/daemon >&2 2>/dev/null; exit $code"))?;
        ensure!(outcome.code == 0, "{front} warned: exit code {}: {}", outcome.code, outcome.tail());
        ensure!(outcome.stderr.contains("hello/1.0: waiting for headers"), "{front}: {}", outcome.tail());
        w.expect_initramfs(version, &[])?;
    }
    expect_no_stray_words(&w)
}

// `dnf5 downgrade` finds no older version that is for another architecture: the classic is noarch.
fn from_the_classic_and_back() -> Result<()> {
    rpm_classic::upgrade(&World::without_dkms(Kind::Dnf5, DNF5)?, "upgrade dkms", "install dkms-3.4.3")
}

/// Our package does not come beside an actions plugin that would end every dnf5 command with 1 on our file. When it goes, it
/// names the modules that stay.
fn our_own_package() -> Result<()> {
    let w = World::without_dkms(Kind::Dnf5, DNF5)?;
    w.bed.ok("mkdir /srv/plugin; cd /srv/plugin; for version in 5.2.10 5.2.11; do
         printf '%s\\n' 'Name: libdnf5-plugin-actions' \"Version: $version\" 'Release: 1' 'Summary: x' 'License: x' \
             'BuildArch: noarch' '%description' x '%files' >x.spec
         rpmbuild -bb --quiet --define '_topdir /tmp/build' --define '_rpmdir /srv/plugin' --define '_binary_payload w1.gzdio' x.spec
     done; rpm -i --nosignature noarch/*-5.2.10-1.noarch.rpm")?;
    let ours = "rpm -i --nosignature /srv/rpm/modules/dkms-4*.rpm 2>&1";
    let refused = w.bed.sh(ours)?;
    let why = "libdnf5-plugin-actions < 5.2.11 conflicts with ";
    ensure!(refused.code != 0 && refused.stdout.contains(why), "{}", refused.tail());
    ensure!(w.bed.sh("rpm -q dkms")?.code != 0, "it is installed all the same");
    w.bed.ok(&format!("rpm -U --nosignature /srv/plugin/noarch/*-5.2.11-1.noarch.rpm; {ours}"))?;

    let kernel = release("7.2.13");
    w.bed.ok(&format!(
        "rpm -i --nosignature /srv/rpm/repo/*/kernel-*-7.2.13-*.rpm >&2
         rpm2archive - </srv/rpm/modules/hello-dkms-1.0-1.*.rpm | tar xz -C /; dkms install hello/1.0 -k {kernel} >&2"
    ))?;
    w.expect_modules("7.2.13", &["hello"])?;
    let said = w.bed.ok("rpm -e dkms 2>&1")?;
    for words in ["These modules stay installed", &format!("hello/1.0: {kernel}"), "dkms remove hello/1.0 --all"] {
        ensure!(said.contains(words), "no {words:?} in\n{said}");
    }
    w.expect_modules("7.2.13", &["hello"])?;
    let left = "/etc/dracut.conf.d/dkms-left.conf";
    w.bed.ok(&format!(
        "mkdir -p /etc/dracut.conf.d; echo >{left}; {ours}; [ ! -e {left} ]; dkms remove hello/1.0 --all >&2"
    ))?;
    w.expect_modules("7.2.13", &[])?;
    let said = w.bed.ok("rpm -e dkms 2>&1")?;
    ensure!(!said.contains("dkms:"), "nothing stays, and it says\n{said}");
    Ok(())
}

fn plain_rpm() -> Result<()> {
    let w = world()?;
    // Scriptlets of rpm 6 see nothing in /tmp, and no network.
    w.bed.write(
        "/etc/kernel/install.d/10-look.install",
        "#!/bin/sh\necho \"tmp: $(ls -A /tmp) links: $(ls /sys/class/net | grep -cv lo)\" >>/var/log/look\n",
    )?;
    let repo = "/srv/rpm/repo/*";
    w.bed.ok(&format!("touch /tmp/marker; rpm -ivh --nosignature {repo}/kernel-*-7.2.13-*.rpm 2>&1"))?;
    let look = w.bed.ok("cat /var/log/look")?;
    ensure!(look.starts_with("tmp:  "), "scriptlets are not secluded here: {look}");
    w.expect_initramfs("7.2.13", &[])?;
    let modules = "/srv/rpm/modules";
    w.bed.ok(&format!(
        "rpm -Uvh --nosignature {modules}/hello-dkms-1.0-1.*.rpm {modules}/careful-dkms-1.0-1.*.rpm 2>&1"
    ))?;
    w.expect_status(&["careful/1.0, {13}: installed", "hello/1.0, {13}: installed"])?;
    // The same version packaged anew: both kinds of old %preun leave it installed, and what is installed is the new one.
    w.bed.ok(&format!(
        "rpm -Uvh --nosignature {modules}/hello-dkms-1.0-2.*.rpm {modules}/careful-dkms-1.0-2.*.rpm 2>&1"
    ))?;
    w.expect_status(&["careful/1.0, {13}: installed", "hello/1.0, {13}: installed"])?;
    let packaged = w.bed.ok(&format!("modinfo -k {} -F packaged hello careful", release("7.2.13")))?;
    ensure!(packaged == "2\n2\n", "installed are the releases {packaged:?}");
    w.bed.ok(&format!(
        "rpm -Uvh --nosignature {modules}/hello-dkms-2.0-1.*.rpm {modules}/careful-dkms-2.0-1.*.rpm 2>&1"
    ))?;
    w.expect_status(&["careful/2.0, {13}: installed", "hello/2.0, {13}: installed"])?;
    w.bed.ok("rpm -e hello-dkms 2>&1")?;
    w.expect_status(&["careful/2.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["careful"])?;
    // kernel-install's standard output is its callers': ours stays empty, with something to do and with nothing.
    let plugin = format!("/usr/lib/kernel/install.d/40-dkms.install add {} /boot/x /boot/y", release("7.2.13"));
    let stdout = w.bed.ok(&format!(
        "{plugin} 2>/dev/null; dkms uninstall careful/2.0 -k {} >/dev/null; {plugin} 2>/dev/null",
        release("7.2.13")
    ))?;
    ensure!(stdout.is_empty(), "on standard output: {stdout}");
    w.expect_modules("7.2.13", &["careful"])?;
    w.seen()?;
    w.bed.ok("rpm -e careful-dkms kernel-core kernel-modules kernel-devel 2>&1")?;
    World::check_initramfs_gone(&w.seen()?, "7.2.13")?;
    w.expect_status(&[])?;
    w.expect_gone("7.2.13")
}

/// The newcomer's way, as the guide shows it.
fn as_the_guide_shows() -> Result<()> {
    let w = World::without_dkms(Kind::Dnf5, DNF5)?;
    w.bed.ok("cp /srv/rpm/modules/dkms-4*.rpm /root/; echo 'install_weak_deps=0' >>/etc/dnf/dnf.conf; mkdir -p /etc/dnf/vars; echo 99 >/etc/dnf/vars/releasever")?;
    Transcript::read("docs/guide/first-upgrade.md", "Fedora", &[])?.replay(&w.bed)
}

fn main() -> ExitCode {
    let long = &[Need::Long];
    Suite::new(&[Need::Bed, Need::Ours, Need::Beside("dkms-rpm")])
        .case("kernels and modules come and go", kernels_and_modules_come_and_go)
        .case("as the guide shows", as_the_guide_shows)
        .case_needing(long, "headers that are missing", headers_that_are_missing)
        .case_needing(long, "a module that fails", a_module_that_fails)
        .case_needing(long, "preflight", preflight)
        .case_needing(long, "preflight looks into packages", preflight_looks_into_packages)
        .case_needing(long, "offline upgrade", offline_upgrade)
        .case_needing(long, "through the library", through_the_library)
        .case_needing(long, "from the classic and back", from_the_classic_and_back)
        .case_needing(long, "plain rpm", plain_rpm)
        .case_needing(long, "our own package", our_own_package)
        .main()
}
