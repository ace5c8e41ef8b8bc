//! One job budget for all makes of a run, and several builds of one package at once.

use anyhow::{Result, ensure};
use dkms_tests::bed::Base;
use dkms_tests::hello::{Package, module, package};

use super::scene::{Scene, says};

/// The compiler proper counts how many of it run, and notes the highest count.
const GAUGE: &str = r#"set -e
cc1=$(gcc-{v} -print-prog-name=cc1)
mv "$cc1" "$cc1.real"
cat >"$cc1" <<EOF
#!/bin/sh
count() {
	exec 9>>/srv/told/gauge.lock
	flock 9
	read -r now peak </srv/told/gauge
	now=\$((now + \$1))
	[ \$now -le \$peak ] || peak=\$now
	echo "\$now \$peak" >/srv/told/gauge
	exec 9>&-
}
count 1
"$cc1.real" "\$@"
code=\$?
count -1
exit \$code
EOF
chmod +x "$cc1"
"#;

fn packages() -> Vec<Package> {
    let with = |name: &str, modules: u32| {
        (0..modules).fold(package(name), |package, n| package.module(module(&format!("{name}{n}"))))
    };
    let make = |jobs: &str| {
        format!(
            "make {jobs} -C ${{kernel_source_dir}} M=${{dkms_tree}}/${{PACKAGE_NAME}}/${{PACKAGE_VERSION}}/build modules"
        )
    };
    let mut all: Vec<Package> = ["a", "b", "c", "d", "e", "f"].iter().map(|name| with(name, 1)).collect();
    all.push(with("pins", 4).make(&make("-j8")));
    all.push(with("asks", 3).make(&make("-j${parallel_jobs}")));
    all
}

const IDS: &[&str] = &["a/1.0", "b/1.0", "c/1.0", "d/1.0", "e/1.0", "f/1.0", "pins/1.0", "asks/1.0"];

/// The highest number of compilers of one run with `-j jobs` is `jobs`: the budget is kept, and used.
fn keeps(scene: &Scene, jobs: u32) -> Result<()> {
    scene.ok("cd /srv/told; echo 0 0 >gauge; touch gauge.lock; chmod 0666 gauge gauge.lock")?;
    scene.exits(0, &format!("dkms reconcile -j {jobs} --initramfs=never"))?;
    let kernels = scene.bed.base().kernels.len();
    let status = scene.status()?;
    ensure!(status.matches(": installed").count() == 8 * kernels, "status is\n{status}");
    let gauge = scene.ok("cat /srv/told/gauge")?;
    ensure!(gauge.trim() == format!("0 {jobs}"), "compilers now and at most: {gauge}");
    let log =
        scene.ok("cat /var/lib/dkms/asks/1.0/{k}/{a}/log/make.log /var/lib/dkms/pins/1.0/{k}/{a}/log/make.log")?;
    ensure!(log.matches(&format!("-j{jobs} -C")).count() == 2, "own -j is not lowered to the budget\n{log}");
    Ok(())
}

pub fn trixie() -> Result<()> {
    let scene = Scene::new(&packages())?;
    scene.add(IDS)?;
    scene.ok(&GAUGE.replace("{v}", "14"))?;
    keeps(&scene, 2)?;
    // What was built before is to be built again.
    scene.ok(
        "for p in a b c d e f pins asks; do dkms unbuild $p/1.0 --all >/dev/null; done; rm -rf /var/cache/dkms/results",
    )?;
    keeps(&scene, 3)
}

/// Debian 12 has the last make that knows no named pipe.
pub fn bookworm() -> Result<()> {
    let scene = Scene::on(&Base::bookworm()?, &packages())?;
    says(&scene.ok("make --version")?, &["GNU Make 4.3"])?;
    scene.add(IDS)?;
    scene.ok(&GAUGE.replace("{v}", "12"))?;
    keeps(&scene, 2)
}

const THREE: &str = "dkms build hello/1.0 -k {k} -k {k2} -k {k3} -j 3";

fn each_has_its_own(scene: &Scene) -> Result<()> {
    let magic = scene.ok(
        "for k in {k} {k2} {k3}; do set -- $(modinfo -F vermagic /var/lib/dkms/hello/1.0/$k/{a}/module/hello.ko.xz)
           [ $1 = $k ] && echo right; done",
    )?;
    ensure!(magic == "right\nright\nright\n", "a module is for another kernel: {magic}");
    scene.ok("[ ! -e /var/lib/dkms/hello/1.0/build ] && [ -z \"$(ls -A /var/lib/dkms/.dkms/work)\" ]")?;
    Ok(())
}

/// dkms.conf names `<tree>/<m>/<v>/build`, and each of three builds finds its own there.
pub fn several_kernels() -> Result<()> {
    let scene = Scene::new(&[package("hello")
        .script(
            "PRE_BUILD",
            "echo $kernelver >mine; touch /srv/told/$kernelver
             for i in $(seq 900); do [ $(ls /srv/told | wc -l) != 3 ] || exit 0; sleep 0.1; done; exit 1",
        )
        .script("POST_BUILD", "[ $(cat /var/lib/dkms/hello/1.0/build/mine) = $kernelver ]")])?;
    scene.exits(0, THREE)?;
    each_has_its_own(&scene)
}

/// Where no private mounts are allowed, one comes after the other.
pub fn without_namespaces() -> Result<()> {
    let scene = Scene::new(&[package("hello")
        .script("PRE_BUILD", "mkdir /srv/told/alone")
        .script("POST_BUILD", "rmdir /srv/told/alone")])?;
    scene.exits(0, &format!("setpriv --bounding-set=-sys_admin {THREE}"))?;
    each_has_its_own(&scene)
}
