//! The classic as an rpm package, and what becomes of its tree when ours takes its place, and of ours when it comes back.

use anyhow::{Result, ensure};

use crate::rpm::{World, release};

/// Debian's classic in a package with the name and the places that rpm distributions give it.
const SPEC: &str = r#"Name: dkms
Version: 3.4.3
Release: 1
Summary: The classic
License: GPL-2.0-or-later
BuildArch: noarch
AutoReqProv: no
%description
%{summary}.
%install
cd %{buildroot}
mkdir -p var/lib/dkms usr/sbin usr/lib/dkms usr/lib/kernel/install.d usr/lib/systemd/system etc/dkms/framework.conf.d
cp /srv/classic/usr/sbin/dkms %{buildroot}/usr/sbin/
cp /srv/classic/etc/dkms/framework.conf %{buildroot}/etc/dkms/
printf '[Service]\nType=oneshot\nExecStart=/usr/sbin/dkms autoinstall\n[Install]\nWantedBy=multi-user.target\n' >%{buildroot}/usr/lib/systemd/system/dkms.service
printf '#!/bin/sh\n[ "$1" != add ] || dkms autoinstall -k "$2" >/dev/null 2>&1\n' >%{buildroot}/usr/lib/kernel/install.d/40-dkms.install
printf '#!/bin/sh\n' >%{buildroot}/usr/lib/dkms/common.postinst
chmod 755 %{buildroot}/usr/lib/*/common.postinst %{buildroot}/usr/lib/kernel/install.d/40-dkms.install
touch %{buildroot}/usr/lib/dkms/classic-only
%files
/usr/sbin/dkms
/usr/lib/dkms
/usr/lib/kernel/install.d/40-dkms.install
/usr/lib/systemd/system/dkms.service
%config(noreplace) /etc/dkms/framework.conf
%dir /etc/dkms
%dir /etc/dkms/framework.conf.d
%dir /var/lib/dkms
%preun
[ $1 != 0 ] || systemctl --no-reload disable dkms.service >/dev/null 2>&1 || :
"#;

/// The classic has built for a kernel; then comes our package. Nothing is lost, nothing is built anew; the classic comes back
/// to the same, and ours again; the next kernel and the module package's end are ours. The world has no dkms yet, `upgrade`
/// installs our package, and `downgrade` the classic over it.
pub fn upgrade(w: &World, upgrade: &str, downgrade: &str) -> Result<()> {
    let kernel = release("7.2.13");
    w.bed.write("/root/classic.spec", SPEC)?;
    w.bed.ok(
        "rpmbuild -bb --quiet --define '_topdir /tmp/build' --define '_rpmdir /tmp/out' --define '_buildhost bed' \
                /root/classic.spec >/tmp/log 2>&1 || { cat /tmp/log >&2; exit 1; }
         cp /tmp/out/noarch/dkms-3*.rpm /srv/rpm/modules/; createrepo_c -q /srv/rpm/modules
         rpm -i --nosignature /tmp/out/noarch/dkms-3*.rpm 2>&1
         [ -e /etc/systemd/system/multi-user.target.wants/dkms.service ] || systemctl enable dkms.service 2>&1",
    )?;
    w.ok(&format!("install {} hello-dkms-1.0-1", World::kernel("7.2.13", true)))?;
    w.bed.ok(&format!(
        "dkms install hello/1.0 -k {kernel} 2>&1; dkms status | grep -q '^hello/1.0, {kernel}, .*: installed'"
    ))?;
    // What only the administrator knows.
    w.bed.ok("echo '# mine' >>/etc/dkms/framework.conf; echo 'REMAKE_INITRD=no' >/etc/dkms/hello.conf")?;
    let state = format!(
        "find /lib/modules/{kernel} -name 'hello.ko*' -exec md5sum {{}} +; cat /etc/dkms/*.conf; \
                         ls /etc/systemd/system/*.wants/dkms.service"
    );
    let before = w.bed.ok(&state)?;
    w.ok(upgrade)?;
    let package = w.bed.ok("rpm -q --qf '%{VERSION}\n' dkms; ls /usr/lib/dkms")?;
    ensure!(package.starts_with("4."), "installed is {package}");
    ensure!(!package.contains("classic-only") && package.contains("dkms-rpm"), "in /usr/lib/dkms: {package}");
    w.expect_status(&["hello/1.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["hello"])?;
    let after = w.bed.ok(&state)?;
    ensure!(before == after, "changed from\n{before}\nto\n{after}");
    w.bed.ok(&format!(
        "[ -L /var/lib/dkms/hello/kernel-{kernel}-* ] && [ -e /var/lib/dkms/hello/1.0/source/dkms.conf ]"
    ))?;
    // Something of ours for the classic to find: it leaves nothing beside the modules that only we know.
    w.bed.ok(&format!(
        "dkms unbuild hello/1.0 -k {kernel} && dkms install hello/1.0 -k {kernel} && [ -e /lib/modules/{kernel}/.dkms-manifest.json ]"
    ))?;
    let before = w.bed.ok(&state)?;
    let said = w.ok(downgrade)?;
    let package = w.bed.ok("rpm -q --qf '%{VERSION}\n' dkms; dkms --version; ls /usr/lib/dkms")?;
    ensure!(
        package.starts_with("3.4.3\ndkms-3.") && !package.contains("dkms-rpm"),
        "installed is {package}after\n{said}"
    );
    w.bed.ok(&format!("dkms status | grep -q '^hello/1.0, {kernel}, .*: installed'"))?;
    w.bed.ok("[ -z \"$(find /lib/modules/ -name '.dkms-*')\" ]")?;
    w.expect_modules("7.2.13", &["hello"])?;
    let after = w.bed.ok(&state)?;
    ensure!(before == after, "changed by the way back from\n{before}\nto\n{after}");
    w.bed.ok(&format!("dkms uninstall hello/1.0 -k {kernel} && dkms install hello/1.0 -k {kernel}"))?;
    w.ok(upgrade)?;
    w.expect_status(&["hello/1.0, {13}: installed"])?;
    w.expect_modules("7.2.13", &["hello"])?;
    w.seen()?;
    w.ok(&format!("install {}", World::kernel("7.2.14", true)))?;
    w.expect_initramfs("7.2.14", &["hello"])?;
    w.ok("remove hello-dkms")?;
    w.expect_status(&[])?;
    w.expect_modules("7.2.13", &[])?;
    w.expect_modules("7.2.14", &[])?;
    let left = w.bed.ok("find /var/lib/dkms -name '*hello*' ! -path '*/.dkms/locks/*'")?;
    ensure!(left.is_empty(), "left of hello:\n{left}");
    Ok(())
}
