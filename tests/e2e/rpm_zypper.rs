//! zypper and rpm 4.18: each package is installed by an rpm run of its own, %posttrans scripts are run by zypper, and
//! rpm's transaction file triggers miss packages that have one.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::rpm::{Kind, World, ZYPPER, fill, release};
use dkms_tests::settings;
use dkms_tests::suite::Suite;

fn world() -> Result<World> {
    World::new(Kind::Old, ZYPPER)
}

/// `kernel-core=7.2.13 …`, as zypper wants versions.
fn kernel(version: &str) -> String {
    ["core", "modules", "devel"].map(|name| format!("kernel-{name}={version}-100.fc99")).join(" ")
}

fn kernels_and_modules_come_and_go() -> Result<()> {
    let w = world()?;
    w.bed.ok("mkdir -p /etc/zypp; echo 'multiversion = provides:installonlypkg(kernel), provides:installonlypkg(kernel-module)' >>/etc/zypp/zypp.conf")?;
    w.ok(&format!("install --oldpackage hello-dkms=1.0-1 world-dkms=1.0-1 {}", kernel("7.2.13")))?;
    w.expect_status(&["hello/1.0, {13}: installed", "world/1.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["hello", "world"])?;
    w.expect_initramfs("7.2.13", &["hello", "world"])?;
    w.ok(&format!("install --oldpackage hello-dkms=2.0-1 {}", kernel("7.2.14")))?;
    w.expect_modules("7.2.14", &["hello", "world"])?;
    w.expect_initramfs("7.2.14", &["hello", "world"])?;
    w.ok("remove world-dkms")?;
    w.expect_modules("7.2.14", &["hello"])?;
    w.ok(&format!("remove {}", kernel("7.2.14")))?;
    World::check_initramfs_gone(&w.seen()?, "7.2.14")?;
    w.expect_gone("7.2.14")?;
    // Without headers, and where a module fails, initramfs and boot entry are made all the same.
    w.ok(&format!("install --oldpackage {}", kernel("7.2.14").rsplit_once(' ').unwrap_or_default().0))?;
    w.expect_initramfs("7.2.14", &[])?;
    w.ok("install --oldpackage kernel-devel=7.2.14-100.fc99")?;
    w.expect_modules("7.2.14", &["hello"])?;
    w.ok("install hello-dkms=3.0-1")?;
    w.expect_modules("7.2.14", &["hello"])?;
    w.ok(&format!("install --oldpackage {}", kernel("7.2.15")))?;
    w.expect_initramfs("7.2.15", &[])
}

/// Where kernel packages do not call kernel-install, as SUSE's do not, their headers' arrival is what wakes us up.
fn without_kernel_install() -> Result<()> {
    let w = world()?;
    w.bed.ok("touch /etc/no-kernel-install")?;
    w.ok(&format!("install --oldpackage hello-dkms=1.0-1 {}", kernel("7.2.13")))?;
    w.expect_status(&["hello/1.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["hello"])
}

/// What os-release says on SUSE's systems (as their packages openSUSE-release and sles-release have it).
const SUSES: [(&str, &str); 3] =
    [("opensuse-tumbleweed", "opensuse suse"), ("opensuse-leap", "suse opensuse"), ("sles", "suse")];

fn become_suse(w: &World, (id, like): (&str, &str)) -> Result<()> {
    w.bed.write("/etc/os-release", format!("NAME=\"SUSE\"\nID=\"{id}\"\nID_LIKE=\"{like}\"\nVERSION_ID=\"16.0\"\n"))
}

/// hello's source in its place, registered with nobody.
const HELLO: &str = "cd /tmp; rpm2cpio /srv/rpm/modules/hello-dkms-1.0-1.*.rpm | cpio -idm 2>/dev/null; cp -a usr/src/hello-1.0 /usr/src/";

/// Says what it is told, whether the first module is there, and who would make an initramfs; then the program itself.
const TOLD: &str = r#"#!/bin/bash
input=$(cat)
[ -e "$input" ] && there=there || there=gone
printf '%s\n' "$* $there" "$input" >>/srv/told
exec /usr/libexec/weak-modules2 "$@" <<<"$input"
"#;

/// SUSE's place for modules, and its program: it hears of our modules, and links none of them.
fn weak_modules2() -> Result<()> {
    let w = world()?;
    w.bed.write("/usr/lib/module-init-tools/weak-modules2", TOLD)?;
    match settings::real_weak_modules2() {
        Some(real) => w.bed.copy_in(&real, "/usr/libexec/weak-modules2")?,
        None => w.bed.write("/usr/libexec/weak-modules2", include_str!("../scripts/weak-modules2.sh"))?,
    }
    w.bed.write("/usr/bin/lsinitrd", "#!/bin/sh\ncat \"$1\"\n")?;
    w.bed.write("/usr/bin/dracut", "#!/bin/sh\necho dracut \"$@\" >>/srv/told\n")?;
    w.bed.write("/usr/lib/rpm/rpmsort", "#!/bin/sh\nexec sort -rV\n")?;
    let (old, new) = (release("7.2.13"), release("7.2.14"));
    let flavour = new.rsplit('-').next().unwrap_or_default();
    w.bed.ok(&format!(
        "{HELLO}; : >/etc/fstab; touch /etc/no-kernel-install
         rpm -i --nosignature /srv/rpm/repo/*/kernel-*-7.2.1[34]-*.rpm 2>&1
         # Of its modules the bed has a few, without what they need.
         find /lib/modules/*/kernel -name '*.ko*' ! -name 'dummy.ko*' -delete
         for kernel in {old} {new}; do
             symvers=/usr/src/kernels/$kernel/Module.symvers
             gzip -c $symvers >/lib/modules/$kernel/symvers.gz
             awk '{{ print \"ffffffff81000000 r __ksymtab_\" $2 }}' $symvers >/lib/modules/$kernel/System.map
             echo '-rw-r--r-- 1 root root 1 lib/modules/x/ext4.ko' >/boot/initrd-$kernel
         done
         # A kernel module package of the vendor's, built for the older kernel.
         cat >/tmp/kmp.spec <<-S
		Name: thing-kmp-{flavour}
		Version: 1
		Release: 1
		Summary: A kernel module package
		License: GPL-2.0-only
		AutoReqProv: no
		%description
		%{{summary}}.
		%install
		mkdir -p %{{buildroot}}/lib/modules/{old}/updates
		cp /lib/modules/{old}/kernel/drivers/net/dummy.ko* %{{buildroot}}/lib/modules/{old}/updates/
		cd %{{buildroot}}/lib/modules/{old}/updates; for file in dummy*; do mv \\$file thing\\${{file#dummy}}; done
		%files
		/lib/modules/{old}/updates/*
	S
         rpmbuild -bb --quiet --define '__os_install_post %{{nil}}' --define '_rpmdir /tmp/kmp' /tmp/kmp.spec
         rpm -i --nosignature --notriggers /tmp/kmp/*/*.rpm"
    ))?;
    for suse in SUSES {
        become_suse(&w, suse)?;
        let said = w.bed.ok(&format!(": >/srv/told; dkms install hello/1.0 -k {new} 2>&1"))?;
        ensure!(!said.contains("weak-modules2 failed"), "{said}");
        let module = w.bed.ok(&format!("ls /lib/modules/{new}/updates/hello.ko*"))?;
        let told = w.bed.ok("cat /srv/told; : >/srv/told")?;
        ensure!(told == format!("--add-kernel-modules {new} there\n{module}"), "{suse:?}: it was told: {told}");
        w.expect_status(&["hello/1.0, {14}: installed"])?;
        w.bed.ok(&format!(
            "[[ $(cd /lib/modules; find */weak-updates -type l) = {new}/weak-updates/updates/thing.ko* ]] || \
                 {{ find /lib/modules/*/weak-updates; false; }}
             modinfo -k {new} hello thing >/dev/null"
        ))?;
        let said = w.bed.ok(&format!("dkms remove hello/1.0 -k {new} 2>&1"))?;
        let told = w.bed.ok("cat /srv/told; : >/srv/told")?;
        ensure!(
            told == format!("--remove-kernel-modules {new} gone\n{module}"),
            "{suse:?}: it was told: {told}\n{said}"
        );
        w.expect_status(&[])?;
        w.bed.ok(&format!("rm -rf /lib/modules/{new}/weak-updates"))?;
    }
    // Where it can't make its directory it would write to the root: it is not called, and nothing fails.
    w.bed
        .ok(&format!("mount -t tmpfs -o ro none /var/tmp; dkms install hello/1.0 -k {new} 2>&1; [ ! -s /srv/told ]"))?;
    Ok(())
}

/// Goes into the snapshot and runs there what follows in quotes. Its /var is $VAR: `none`, as transactional-update has it
/// while it works (nothing there, and nothing to be written, but what it mounts itself); `own`, that of the system that was
/// running, as after a restart; `empty`, as in a freshly deployed image.
const INTO: &str = r"
snap=/mnt/snap
mkdir -p $snap/{proc,dev,run,tmp,var}
mount --bind $snap $snap
mount -t proc proc $snap/proc
mount --rbind /dev $snap/dev
for dir in run tmp; do mount -t tmpfs tmpfs $snap/$dir; done
mkdir -p $snap/run/rpm
mount --bind /srv/rpm $snap/run/rpm
case $VAR in
none)
	mount -t tmpfs tmpfs $snap/var
	# What zypper and rpm themselves can't do without.
	for dir in adm cache log tmp; do mkdir $snap/var/$dir; mount -t tmpfs tmpfs $snap/var/$dir; done
	mount -o remount,ro $snap/var
	;;
own) mount --bind /var $snap/var ;;
empty) mount -t tmpfs tmpfs $snap/var ;;
esac
chroot $snap bash -ec ";

fn inside(w: &World, var: &str, script: &str) -> Result<String> {
    w.bed.ok(&format!("VAR={var}{INTO}'{script}' 2>&1"))
}

/// `dkms status` there, exactly.
fn expect_there(w: &World, var: &str, lines: &[&str]) -> Result<()> {
    let found = inside(w, var, "dkms status")?;
    let expected: String = lines.iter().map(|line| fill(line) + "\n").collect();
    ensure!(found == expected, "with {var} /var: dkms status:\n{found}instead of\n{expected}");
    Ok(())
}

/// A snapshot of transactional-update: what zypper installs there is built there, without /var; what is said of it after
/// the restart, with the /var of the system that was running, or with none.
fn snapshot_without_var() -> Result<()> {
    let w = world()?;
    become_suse(&w, SUSES[0])?;
    w.bed.ok(
        "echo 'multiversion = provides:installonlypkg(kernel), provides:installonlypkg(kernel-module)' >>/etc/zypp/zypp.conf
         touch /etc/no-kernel-install",
    )?;
    w.ok(&format!("install --oldpackage hello-dkms=1.0-1 {}", kernel("7.2.13")))?;
    w.expect_status(&["hello/1.0, {13}: installed"])?;
    w.bed.ok("mkdir /mnt/snap; cp -a /bin /sbin /lib /lib?? /usr /etc /root /boot /mnt/snap/ 2>/dev/null || :
         sed -i 's,/srv/rpm,/run/rpm,' /mnt/snap/etc/zypp/repos.d/*.repo")?;
    // A kernel arrives: the module is built for it, from what the other kernel's manifest and /usr/src say.
    // SUSE's bring the link to the headers in the package of these; here it is the image's.
    let packages = kernel("7.2.14");
    let (image, devel) = packages.rsplit_once(' ').unwrap_or_default();
    let zypper = format!("{ZYPPER} install --oldpackage");
    let said = inside(&w, "none", &format!("{zypper} {image}; {zypper} {devel}; dkms status"))?;
    ensure!(said.matches("is read-only here").count() == 1, "not said once that /var can't be written:\n{said}");
    ensure!(!said.contains("Error!") && !said.contains("returned "), "{said}");
    for line in ["hello/1.0, {13}: installed\n", "hello/1.0, {14}: installed\n"] {
        ensure!(said.contains(&fill(line)), "no {line}:\n{said}");
    }
    // A module package arrives.
    let said = inside(&w, "none", &format!("{ZYPPER} install world-dkms=1.0-1"))?;
    ensure!(!said.contains("Error!") && !said.contains("returned "), "{said}");
    let all = [
        "hello/1.0, {13}: installed",
        "hello/1.0, {14}: installed",
        "world/1.0, {13}: installed",
        "world/1.0, {14}: installed",
    ];
    for var in ["none", "own", "empty"] {
        expect_there(&w, var, &all)?;
        inside(&w, var, "for kernel in /lib/modules/*; do modinfo -k ${kernel##*/} hello world >/dev/null; done")?;
        let json = inside(&w, var, "dkms status world --format json; dkms status nothing; dkms status world/2.0")?;
        ensure!(json.matches("\"state\": \"installed\"").count() == 2, "{json}");
    }
    // Started again: nothing is archived, built or lacking, whatever /var is. (Nor signed: this is a chroot.)
    for var in ["empty", "own"] {
        let said = inside(
            &w,
            var,
            "files() { find /lib/modules -name \"*.ko*\" -printf \"%p %i %T@ \"; }
             before=$(files); dkms reconcile --all-kernels; [ \"$before\" = \"$(files)\" ]
             [ ! -e /var/lib/dkms/*/original_module ]; [ -e /var/lib/dkms/world/1.0/source/dkms.conf ]
             dkms reconcile --dry-run",
        )?;
        ensure!(said.ends_with("Nothing to do.\n"), "{var}: {said}");
        ensure!(!said.contains("Building") && !said.contains(") is missing"), "{var}: {said}");
    }
    expect_there(&w, "own", &all)?;
    let (old, new) = (release("7.2.13"), release("7.2.14"));
    // What the files are is what is said.
    let said = inside(
        &w,
        "empty",
        &format!(
            "cd /lib/modules/{new}/updates; mkdir /tmp/kept; cp -a * /tmp/kept/; echo >>$(echo hello.ko*); dkms status hello
             rm hello.ko*; dkms status hello -k {new}; cp -a /tmp/kept/* .; dkms status hello -k {new}
             dkms kernel_prerm -k {new} --dry-run"
        ),
    )?;
    let expected = format!(
        "{}\nWould remove hello/1.0 from kernel {named}.\nWould remove world/1.0 from kernel {named}.\n",
        fill(
            "hello/1.0, {13}: installed\nhello/1.0, {14}: installed (Differences between built and installed modules)\n\
             hello/1.0, {14}: installed"
        ),
        named = w.named("7.2.14")
    );
    ensure!(said == expected, "{said}instead of\n{expected}");
    // It can be taken out by what lies beside it alone.
    inside(&w, "empty", &format!("dkms uninstall world/1.0 -k {old}; [ ! -e /lib/modules/{old}/updates/world.ko* ]"))?;
    expect_there(&w, "empty", &[all[0], all[1], all[3]])?;
    inside(&w, "empty", "dkms remove world/1.0 --all; (! grep -q world /lib/modules/*/modules.dep)")?;
    expect_there(&w, "empty", &all[..2])?;
    inside(&w, "empty", &format!("dkms kernel_prerm -k {new}; [ ! -e /lib/modules/{new}/updates ]"))?;
    expect_there(&w, "empty", &all[..1])?;
    // The package is upgraded there: in place of what only the manifest knows, which its old scriptlet does not take away.
    let said = inside(&w, "none", &format!("{ZYPPER} install hello-dkms=2.0-1"))?;
    ensure!(!said.contains("Error!") && !said.contains("Deleting"), "{said}");
    let upgraded = ["hello/2.0, {13}: installed", "hello/2.0, {14}: installed"];
    expect_there(&w, "empty", &upgraded)?;
    // The copy of the root has the old source's directory still.
    let said = inside(
        &w,
        "own",
        "rm -rf /usr/src/hello-1.0; dkms status hello; dkms reconcile --all-kernels; dkms status hello",
    )?;
    // That /var has heard of the old version only, which is forgotten: its source is gone.
    for line in ["hello/1.0: broken\n", "hello/1.0 is forgotten: ", "hello/2.0 is registered again: "] {
        ensure!(said.contains(line), "no {line}:\n{said}");
    }
    let there = fill(&format!("{}\n", upgraded.join("\n")));
    ensure!(said.contains(&there) && said.ends_with(&there), "{said}");
    let after = said.rsplit("DKMS summary").next().unwrap_or_default();
    ensure!(!after.contains(&fill("hello/1.0, {13}: installed")), "{said}");
    let said = inside(&w, "own", "dkms status hello; dkms reconcile --dry-run | grep hello || :")?;
    ensure!(said == there, "{said}");
    let said = w.bed.ok(&format!("VAR=empty{INTO}'dkms remove unknown/1 --all' 2>&1 || echo code $?"))?;
    ensure!(said.ends_with("code 3\n"), "{said}");
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Bed, Need::Ours, Need::Long, Need::Beside("dkms-rpm")])
        .case("kernels and modules come and go", kernels_and_modules_come_and_go)
        .case("without kernel-install", without_kernel_install)
        .case("weak-modules2", weak_modules2)
        .case("snapshot without var", snapshot_without_var)
        .main()
}
