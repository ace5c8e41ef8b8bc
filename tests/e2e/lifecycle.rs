//! add, build, install, status, uninstall, unbuild, remove: step by step the classic's exit codes, `dkms status` lines,
//! tree, installed files, modinfo and depmod index, on a real kernel.

use std::process::ExitCode;

use anyhow::Result;
use dkms_tests::bed::{Base, Bed};
use dkms_tests::compare::{Step, compare, fill, step};
use dkms_tests::hello::{Package, module, package};
use dkms_tests::needs::Need;
use dkms_tests::suite::Suite;

/// What a case starts from, and its steps.
struct Case {
    packages: Vec<Package>,
    prepare: &'static str,
    steps: Vec<Step>,
}

/// The packages' sources in `/usr/src`.
fn with(packages: impl Into<Vec<Package>>) -> Case {
    Case { packages: packages.into(), prepare: "", steps: Vec::new() }
}

impl Case {
    /// A script run in both beds before the first step.
    fn prepared_by(mut self, script: &'static str) -> Self {
        self.prepare = script;
        self
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// A step that ends with this code by both programs.
    fn then(self, code: i32, command: &str) -> Self {
        self.step(step(command).exits(code))
    }

    /// A command whose output is part of the contract.
    fn shows(self, command: &str) -> Self {
        self.step(step(command).exits(0).same_stdout())
    }

    fn run(&self) -> Result<()> {
        let base = Base::trixie()?;
        compare(&base, |bed| self.lay(bed), &self.steps)
    }

    fn lay(&self, bed: &Bed) -> Result<()> {
        let hand = tempfile::tempdir()?;
        for package in &self.packages {
            let source = package.build_in(hand.path())?;
            let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
            bed.copy_in(&source, &format!("/usr/src/{name}"))?;
        }
        bed.ok(&fill(bed.base(), self.prepare))?;
        Ok(())
    }
}

fn hello() -> Package {
    package("hello")
}

fn every_verb() -> Case {
    with([hello()])
        .then(3, "dkms remove nothing/1.0 --all")
        .then(0, "dkms add hello/1.0")
        .then(3, "dkms add hello/1.0")
        .shows("dkms status")
        .then(0, "dkms build hello/1.0 -k {k}")
        .then(0, "dkms build -m hello -v 1.0 -k {k}")
        .shows("dkms status hello/1.0 -k {k}")
        .then(0, "dkms install hello/1.0 -k {k}")
        .then(0, "dkms install -m hello/1.0 -k {k}/{a}")
        .shows("dkms status -m hello -v 1.0 -k {k} -a {a}")
        .shows("dkms status 'h*'")
        .shows("dkms status nothing")
        .shows("dkms status -k 1.2.3")
        .then(0, "dkms uninstall hello/1.0 -k {k}")
        .then(0, "dkms uninstall hello/1.0 -k {k}")
        .then(0, "dkms install hello/1.0 -k {k} --no-depmod")
        .then(0, "dkms unbuild hello/1.0 -k {k}")
        .then(0, "dkms unbuild hello/1.0 -k {k}")
        .then(0, "dkms remove hello/1.0 -k {k}")
        .then(3, "dkms remove hello/1.0 --all")
        .shows("dkms status")
}

fn from_a_directory() -> Case {
    with([])
        .prepared_by(
            "mkdir -p /root/work/away; cd /root/work/away
             printf 'obj-m += away.o\\n' >Makefile
             printf '#include <linux/module.h>\\nMODULE_LICENSE(\"GPL\");\\nMODULE_VERSION(\"3\");\\n' >away.c
             printf 'PACKAGE_NAME=away\\nPACKAGE_VERSION=3\\nDEST_MODULE_LOCATION=/extra\\nAUTOINSTALL=yes\\n' >dkms.conf",
        )
        .then(0, "dkms install /root/work/away -k {k}")
        .shows("dkms status")
        .then(3, "dkms add /root/work/away")
        .then(3, "cd /root/work/away && dkms add ./dkms.conf")
        .then(0, "dkms remove away/3 --all")
        .then(0, "ls -R /usr/src/away-3")
}

fn several_modules() -> Case {
    let many = package("many")
        .version("0.1.2-rc3")
        .module(module("many_one"))
        .module(module("many-two").in_directory("sub/dir").destination("/kernel/drivers/net"))
        .module(module("many_three").installed_as("renamed").destination("/updates"))
        .patch("a.patch", "--- a/many_one.c\n+++ b/many_one.c\n@@ -1 +1,2 @@\n #include <linux/module.h>\n+MODULE_ALIAS(\"patched\");\n")
        .conf_line("STRIP[1]=no")
        .conf_line("BUILD_EXCLUSIVE_KERNEL='^[0-9]'")
        .conf_line("PATCH_MATCH[0]='^6'");
    with([many])
        .then(0, "dkms install many/0.1.2-rc3 -k {k}")
        .then(0, "modinfo -F alias -k {k} many_one | grep -x patched")
        .shows("dkms status")
        .then(0, "dkms uninstall many/0.1.2-rc3 -k {k}")
        .then(0, "dkms remove many/0.1.2-rc3 --all")
}

fn two_kernels_two_versions() -> Case {
    with([hello(), hello().version("2.0")])
        .then(0, "dkms install hello/1.0 -k {k} -k {k2}")
        .then(0, "dkms install hello/2.0 -k {k}")
        .shows("dkms status")
        .then(0, "dkms uninstall hello/1.0 --all")
        .shows("dkms status hello/1.0")
        .then(0, "dkms install --force hello/1.0 -k {k}")
        .then(0, "dkms remove hello/2.0 --all")
        .then(0, "dkms unbuild hello/1.0 --all")
        .shows("dkms status")
        .then(0, "dkms remove hello/1.0 -k {k}")
}

/// The kernel's own module of that name has to go aside, and come back.
fn takes_the_place_of_a_stock_module() -> Case {
    with([package("dummy").version("9.9")])
        .then(0, "dkms install dummy/9.9 -k {k}")
        .shows("dkms status")
        .then(0, "dkms uninstall dummy/9.9 -k {k}")
        .shows("dkms status")
        .then(0, "dkms install dummy/9.9 -k {k}")
        .then(0, "dkms remove dummy/9.9 --all")
        .then(0, "modinfo -F filename -k {k} dummy")
}

fn failures() -> Case {
    let text = "--- a/nothing.c\n+++ b/nothing.c\n@@ -1 +1 @@\n-a\n+b\n";
    with([
        package("badcode").that_fails(),
        package("badpatch").patch("p.patch", text),
        package("nopatch").conf_line("PATCH[0]=missing.patch"),
        package("noko").conf_line("BUILT_MODULE_NAME[0]=other").conf_line("DEST_MODULE_LOCATION[0]=/updates"),
        package("excluded").conf_line("BUILD_EXCLUSIVE_KERNEL=^2\\\\.4"),
        package("needs").depends_on("absent"),
        package("prebuild").script("PRE_BUILD", "exit 42"),
        package("preinstall").script("PRE_INSTALL", "exit 3"),
        package("postadd").script("POST_ADD", "exit 5"),
        package("scripts")
            .script("POST_ADD", "pwd >>/srv/told/log; env | grep -E '^(kernelver|module|dkms_tree)=' | sort >>/srv/told/log")
            .script("PRE_BUILD", "pwd >>/srv/told/log; ls >>/srv/told/log")
            .script("POST_BUILD", "pwd >>/srv/told/log; echo $kernelver >>/srv/told/log")
            .script("PRE_INSTALL", "pwd >>/srv/told/log")
            .script("POST_INSTALL", "pwd >>/srv/told/log")
            .script("POST_REMOVE", "pwd >>/srv/told/log"),
    ])
    // A build is nobody of this system: it tells where everybody may write.
    .prepared_by("mkdir -p /srv/told; touch /srv/told/log; chmod 0777 /srv/told; chmod 0666 /srv/told/log")
    .then(10, "dkms build badcode/1.0 -k {k}")
    .shows("dkms status")
    .then(6, "dkms build badpatch/1.0 -k {k}")
    .then(5, "dkms build nopatch/1.0 -k {k}")
    .then(7, "dkms build noko/1.0 -k {k}")
    .then(77, "dkms build excluded/1.0 -k {k}")
    .then(13, "dkms build needs/1.0 -k {k}")
    .then(42, "dkms build prebuild/1.0 -k {k}")
    .then(101, "dkms install preinstall/1.0 -k {k}")
    .then(5, "dkms add postadd/1.0")
    .then(21, "dkms build badcode/1.0 -k 1.2.3")
    .shows("dkms status")
    .then(0, "dkms install scripts/1.0 -k {k} && dkms remove scripts/1.0 --all")
    .shows("cat /srv/told/log")
    .then(0, "for m in badcode badpatch nopatch noko excluded needs prebuild preinstall postadd; do dkms remove $m/1.0 --all; done")
}

/// zfs adds files to its artefact in POST_BUILD: it is told the places as arguments, and copies from the build directory.
fn a_post_build_like_that_of_zfs() -> Case {
    let body = "while getopts a:k:n:t:v: o; do case $o in a) a=$OPTARG;; k) k=$OPTARG;; n) n=$OPTARG;; t) t=$OPTARG;; v) v=$OPTARG;; esac; done
                cd $t/$n/$v/build && test -e $t/$n/$v/$k/$a/module/hello.ko.xz && mkdir -p $t/$n/$v/$k/$a/config && cp Makefile Module.symvers $t/$n/$v/$k/$a/config/ &&
                cp hello.c $t/$n/$v/$k/$a/ && exit ${FAIL:-0}";
    with([hello()
        .file("post_build.sh", format!("#!/bin/bash\n{body}\n"))
        .conf_line("POST_BUILD=\"post_build.sh -n ${PACKAGE_NAME} -v ${PACKAGE_VERSION} -a ${arch} -k ${kernelver} -t ${dkms_tree}\"")])
    .then(0, "dkms install hello/1.0 -k {k}")
    .shows("cd /var/lib/dkms/hello/1.0/{k}/{a}; ls config hello.c; cmp config/Makefile /usr/src/hello-1.0/Makefile")
    .then(0, "dkms build hello/1.0 -k {k2}")
    .then(0, "dkms remove hello/1.0 --all")
}

fn configuration() -> Case {
    with([hello(), package("second")])
        .prepared_by(
            "echo 'STRIP[0]=no' >/etc/dkms/hello.conf
             echo 'BUILD_EXCLUSIVE_KERNEL=^9' >/etc/dkms/hello-1.0-{k2}.conf
             mkdir -p /etc/dkms/framework.conf.d; echo 'source_tree=/srv/src' >/etc/dkms/framework.conf.d/a.conf
             mkdir -p /srv/src /srv/tree; cp -a /usr/src/hello-1.0 /usr/src/second-1.0 /srv/src/",
        )
        .then(0, "dkms install hello/1.0 -k {k}")
        .then(77, "dkms build hello/1.0 -k {k2}")
        .then(77, "dkms build --directive='BUILD_EXCLUSIVE_KERNEL=^9' second/1.0 -k {k}")
        .shows("dkms status")
        .then(0, "dkms add second/1.0 --dkmstree /srv/tree --sourcetree /usr/src")
        .shows("dkms status --dkmstree /srv/tree")
        .then(0, "dkms remove hello/1.0 --all")
        .then(0, "dkms uninstall second/1.0 -k {k} --directive=DEST_MODULE_NAME=directed")
}

fn command_line() -> Case {
    with([hello()])
        .shows("dkms --version >/dev/null; dkms --help >/dev/null")
        .then(2, "dkms add hello/1.0 --no-such-option")
        .then(4, "dkms add build hello/1.0")
        .then(1, "dkms add")
        .then(1, "dkms build hello")
        .then(3, "dkms unbuild hello/1.0 --all")
        .then(2, "dkms unbuild hello/1.0 --all -k {k}")
        .then(3, "dkms unbuild hello/1.0 --all -a {a}")
        .then(5, "dkms build hello/1.0 --all")
        .then(2, "dkms add absent/1.0")
        .then(1, "dkms status -k a -k b -a c -a d -a e")
        .then(0, "dkms add hello/1.0 --no-initrd --no-prepare-kernel -q")
        .then(0, "rm -r /usr/src/hello-1.0")
        .shows("dkms status")
        .then(4, "dkms build hello/1.0 -k {k}")
        .step(step("dkms uninstall hello/1.0 -k {k}").exits(4))
        // The classic's way out is to take the source back, or rm; what is left of it is taken away for the comparison.
        .step(
            step(
                "dkms remove hello/1.0 --all; code=$?
                 [ $code != 0 ] || [ ! -e /var/lib/dkms/hello ] || exit 99; rm -rf /var/lib/dkms/hello; exit $code",
            )
            .exits_ours(0, 4),
        )
}

/// A script of a package may call dkms.
fn nested() -> Case {
    with([
        package("outer")
            .script("POST_INSTALL", "dkms status >/root/seen; dkms install inner/1.0 -k $kernelver")
            .conf_line("export kernelver"),
        package("inner"),
    ])
    .then(0, "dkms install outer/1.0 -k {k}")
    .shows("dkms status")
}

/// The programs of others that are told: modprobe for the devices of the running kernel, and apport of a failure. The
/// machine has recorders in their places.
fn tells_modprobe_and_apport() -> Case {
    with([hello(), package("bad").that_fails()])
        .prepared_by(
            "cp -a /lib/modules/{k} /lib/modules/$(uname -r)
             printf '#!/bin/sh\\nprintf \"%%s\\\\n\" \"$@\" >>/root/modprobe\\n' >/usr/local/sbin/modprobe
             mkdir -p /usr/share/apport/package-hooks; printf '#!/bin/sh\\n' >/usr/share/apport/apport
             printf '#!/bin/sh\\necho \"$@\" >>/root/apport\\n' >/usr/local/bin/python3
             chmod +x /usr/local/sbin/modprobe /usr/share/apport/apport /usr/local/bin/python3; touch /root/modprobe /root/apport",
        )
        .then(0, "dkms install hello/1.0 -k {k} --modprobe-on-install")
        .shows("cat /root/modprobe")
        .then(0, "dkms install hello/1.0 -k $(uname -r)")
        .shows("cat /root/modprobe")
        .then(0, "dkms uninstall hello/1.0 -k $(uname -r) && dkms install hello/1.0 -k $(uname -r) --modprobe-on-install")
        .shows("grep -c ^-a$ /root/modprobe; sort -u /root/modprobe")
        .then(10, "dkms build bad/1.0 -k {k}")
        .shows("grep bad /root/apport")
}

/// Killed before depmod: the next command that changes anything runs it. And `--rpm_safe_upgrade` in rpm's order.
fn owed_and_safe() -> Result<()> {
    let bed = Bed::subject(&Base::trixie()?)?;
    with([hello(), package("other")]).lay(&bed)?;
    let script = "depmod=/usr/local/sbin/depmod; printf '#!/bin/sh\\n[ \"$1\" != --version ] || exec /sbin/depmod --version\\nkill -9 $PPID; sleep 1\\n' >$depmod; chmod +x $depmod
        (! dkms install hello/1.0 -k {k}); rm $depmod; (! grep -q updates /lib/modules/{k}/modules.dep)
        dkms status hello/1.0 -k {k} | grep -q ': installed$'
        dkms install hello/1.0 -k {k}; grep -q updates /lib/modules/{k}/modules.dep; [ -z \"$(ls /var/lib/dkms/.dkms/owed/depmod)\" ]
        echo 'sh -c \"dkms add other/1.0 --rpm_safe_upgrade; true\"; sh -c \"dkms remove other/1.0 --all --rpm_safe_upgrade; true\"' >/root/rpm
        bash -e /root/rpm; dkms status other/1.0 | grep -q added
        sh -c 'dkms remove other/1.0 --all --rpm_safe_upgrade; true'; [ -z \"$(dkms status other)\" ]";
    bed.ok(&fill(bed.base(), script))?;
    Ok(())
}

/// A case and its name.
type Named = (&'static str, fn() -> Case);

fn main() -> ExitCode {
    let cases: [Named; 11] = [
        ("every_verb", every_verb),
        ("from_a_directory", from_a_directory),
        ("several_modules", several_modules),
        ("two_kernels_two_versions", two_kernels_two_versions),
        ("takes_the_place_of_a_stock_module", takes_the_place_of_a_stock_module),
        ("failures", failures),
        ("a_post_build_like_that_of_zfs", a_post_build_like_that_of_zfs),
        ("configuration", configuration),
        ("command_line", command_line),
        ("nested", nested),
        ("tells_modprobe_and_apport", tells_modprobe_and_apport),
    ];
    cases
        .into_iter()
        .fold(Suite::new(&[Need::Bed, Need::Subject]), |suite, (name, case)| suite.case(name, move || case().run()))
        .case_needing(&[Need::Ours], "owed_and_safe", owed_and_safe)
        .long(&["two_kernels_two_versions", "nested"])
        .main()
}
