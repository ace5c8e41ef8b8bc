//! What goes wrong: what is remembered of it, what it means for the exit code, and that it stops nobody else.

use anyhow::{Result, ensure};
use dkms_tests::hello::{module, package};

use super::scene::{Scene, says};

/// The running kernel, as far as the boot unit asks: it has the headers of a Debian kernel.
const RUNNING: &str = "d=/lib/modules/$(uname -r); mkdir -p $d/kernel; touch $d/modules.order $d/modules.builtin
    ln -s /usr/src/linux-headers-{k} $d/build";

pub fn remembered() -> Result<()> {
    let tried = |name: &str| package(name).script("PRE_BUILD", &format!("echo {name} >>/srv/told/tried"));
    let scene = Scene::new(&[
        tried("bad").that_fails(),
        tried("killed").make("kill -9 \\$\\$"),
        tried("full").make("echo 'x.c:1:2: error: x: No space left on device'; exit 1"),
        tried("good"),
    ])?;
    scene.ok("touch /srv/told/tried; chmod 0666 /srv/told/tried")?;
    scene.ok(RUNNING)?;
    scene.add(&["bad/1.0", "killed/1.0", "full/1.0", "good/1.0"])?;
    // Runs a command that ends with `code` and tries these packages; gives what it says.
    let tries = |command: &str, code: i32, names: &str| -> Result<String> {
        let said = scene.exits(code, command)?;
        let tried = scene.ok("sort /srv/told/tried | tr '\\n' ' '; : >/srv/told/tried")?;
        ensure!(tried.trim() == names, "`{command}` tried {tried}instead of {names}\n{said}");
        Ok(said)
    };
    let boot = "dkms reconcile --event boot --initramfs=never";
    // Nobody waits for it: that something is missing is to be seen, whatever the policy.
    tries(boot, 11, "bad full good killed")?;
    // What a compiler refused is not tried again, and is told; everything else may be better now.
    let said = tries(boot, 11, "full killed")?;
    says(&said, &["not tried again: nothing has changed", "no_such_thing"])?;
    says(&scene.exits(0, "dkms status --long")?, &["no_such_thing"])?;
    // Only the boot unit is spared.
    tries("dkms autoinstall -k $(uname -r) --initramfs=never", 11, "bad full killed")?;
    tries("dkms reconcile -k $(uname -r) --initramfs=never", 0, "bad full killed")?;
    tries("dkms install bad/1.0 -k $(uname -r)", 10, "bad")?;
    tries(&format!("{boot} --strict"), 11, "full killed")?;
    // Another input, another try.
    scene.ok("sed -i 's/no_such_thing/0/' /usr/src/bad-1.0/bad.c")?;
    tries(boot, 11, "bad full killed")?;
    scene.ok("for name in bad full killed; do echo DKMS_POLICY=optional >/etc/dkms/$name.conf; done")?;
    tries(boot, 0, "bad full killed")?;
    // No kernel of this name here: not our boot.
    scene.ok("rm -r /lib/modules/$(uname -r)")?;
    tries(boot, 0, "")?;
    Ok(())
}

/// Another version of what a package is built against is another input.
pub fn remembered_until_a_dependency_changes() -> Result<()> {
    let user = package("user")
        .module(module("user").code("#include \"dep.h\"\n#ifndef DEP2\n#error it needs dep 2\n#endif\n"))
        .depends_on("dep")
        .script(
            "PRE_BUILD",
            "echo tried >>/srv/told/tried; : >dep.h
            case $(readlink /var/lib/dkms/dep/kernel-$kernelver-$arch) in 2.0/*) echo '#define DEP2' >dep.h;; esac",
        );
    let scene = Scene::new(&[package("dep"), package("dep").version("2.0"), user])?;
    scene.ok("touch /srv/told/tried; chmod 0666 /srv/told/tried")?;
    scene.ok(RUNNING)?;
    scene.add(&["dep/1.0", "user/1.0"])?;
    let boot = "dkms reconcile --event boot --initramfs=never";
    says(&scene.exits(11, boot)?, &["it needs dep 2"])?;
    says(&scene.exits(11, boot)?, &["not tried again: nothing has changed"])?;
    scene.ok(
        "[ $(wc -l </srv/told/tried) = 1 ]; dkms add dep/2.0 >/dev/null; dkms install dep/2.0 -k $(uname -r) >&2",
    )?;
    scene.exits(0, boot)?;
    scene.ok("[ $(wc -l </srv/told/tried) = 2 ]; dkms status user/1.0 -k $(uname -r) | grep installed")?;
    Ok(())
}

/// Every row of the policy table, by real runs.
pub fn policies() -> Result<()> {
    let scene = Scene::new(&[package("bad").script("PRE_BUILD", "exit 1"), package("waits").depends_on("nobody")])?;
    let mut expected = Vec::new();
    for (wish, policy, strict) in [
        ("optional", "warn", ""),
        ("optional", "fail", "--strict"),
        ("wanted", "warn", ""),
        ("wanted", "warn", "--strict"),
        ("wanted", "fail", ""),
        ("required", "warn", ""),
        ("required", "fail", "--strict"),
    ] {
        let code = match (wish, policy, strict) {
            ("optional", ..) | ("wanted", "warn", "") => 0,
            _ => 11,
        };
        expected.push((wish, policy, strict, code));
    }
    for id in ["bad", "waits"] {
        scene.add(&[&format!("{id}/1.0")])?;
        let runs: String = expected
            .iter()
            .map(|(wish, policy, strict, _)| {
                format!(
                    "echo DKMS_POLICY={wish} >/etc/dkms/{id}.conf; echo policy={policy} >/etc/dkms/framework.conf.d/p.conf
                     dkms reconcile -k {{k}} {strict} >/dev/null 2>&1; echo $?\n"
                )
            })
            .collect();
        let codes = scene.ok(&format!("set +e\n{runs}"))?;
        for ((wish, policy, strict, code), found) in expected.iter().zip(codes.lines()) {
            ensure!(*found == code.to_string(), "{id}: {wish} {policy} {strict}: {found} instead of {code}");
        }
        // The classic verbs keep the classic's codes.
        let code = if id == "bad" { 11 } else { 0 };
        scene.exits(code, "dkms autoinstall -k {k}")?;
        scene.ok(&format!("dkms remove {id}/1.0 --all >/dev/null; rm /etc/dkms/{id}.conf"))?;
    }
    Ok(())
}

pub fn broken() -> Result<()> {
    let scene = Scene::new(&[package("gone"), package("exits"), package("good")])?;
    scene.add(&["gone/1.0", "exits/1.0", "good/1.0"])?;
    scene.ok("rm -r /usr/src/gone-1.0; touch /var/lib/dkms/stray; mkdir -p /var/lib/dkms/odd/1.0; ln -s loop /var/lib/dkms/odd/1.0/source; ln -s source /var/lib/dkms/odd/1.0/loop")?;
    // Broken ones are told of and passed over.
    let said = scene.exits(0, "dkms autoinstall -k {k}")?;
    says(&said, &["gone/1.0 is broken", "succeeded for module(s)", "good"])?;
    scene.ok("echo 'exit 3' >/usr/src/exits-1.0/dkms.conf; dkms unbuild good/1.0 --all >/dev/null; dkms unbuild exits/1.0 --all >/dev/null")?;
    let said = scene.exits(11, "dkms autoinstall -k {k}")?;
    says(&said, &["exits/1.0/source/dkms.conf", "failed for module(s) exits(8)", "succeeded for module(s) good"])?;
    scene.ok("dkms unbuild good/1.0 --all >/dev/null")?;
    let said = scene.exits(0, "dkms reconcile")?;
    says(&said, &["gone/1.0 is broken", "exits/1.0: its dkms.conf can't be used", "installed good/1.0"])?;
    says(&scene.status()?, &["good/1.0, "])?;
    // A source that vanished after its module was installed is no reason to take the module away.
    scene.ok("rm -r /usr/src/good-1.0")?;
    scene.exits(0, "dkms reconcile")?;
    scene.ok("ls /lib/modules/{k}/updates/dkms/good.ko.xz >/dev/null")?;
    Ok(())
}
