//! BUILD_DEPENDS and BUILD_DEPENDS_REBUILD.

use anyhow::{Result, ensure};
use dkms_tests::hello::{Package, module, package};

use super::scene::{Scene, says};

fn exporter(version: &str) -> Package {
    package("base")
        .version(version)
        .module(module("base").code("int base_value(void) { return 1; }\nEXPORT_SYMBOL_GPL(base_value);\n"))
}

fn importer(name: &str, needs: &str) -> Package {
    package(name)
        .module(
            module(name).code(&format!("int base_value(void);\nint {name}_value(void) {{ return base_value(); }}\n")),
        )
        .depends_on(needs)
        .conf_line("BUILD_DEPENDS_REBUILD=yes")
}

pub fn symbols() -> Result<()> {
    let scene = Scene::new(&[exporter("1.0"), importer("user", "base")])?;
    // Honoured by every verb that builds.
    says(&scene.exits(13, "dkms install user/1.0 -k {k}")?, &["missing BUILD_DEPENDS: base"])?;
    scene.exits(0, "dkms install base/1.0 -k {k}")?;
    // modpost knows the symbol only from the dependency's Module.symvers.
    let log = scene.exits(0, "dkms install user/1.0 -k {k} && cat /var/lib/dkms/user/1.0/{k}/{a}/log/make.log")?;
    ensure!(!log.contains("undefined!"), "modpost did not get the dependency's symbols\n{log}");
    scene.ok("modinfo -k {k} -F depends user | grep -qx base; cat /var/lib/dkms/user/1.0/{k}/{a}/.dep_base")?;
    Ok(())
}

pub fn follow() -> Result<()> {
    let scene = Scene::new(&[
        exporter("1.0"),
        exporter("2.0"),
        exporter("3.0"),
        importer("user", "base"),
        package("further").depends_on("user").conf_line("BUILD_DEPENDS_REBUILD=yes"),
        package("loose").depends_on("base"),
    ])?;
    scene.exits(0, "for p in base user further loose; do dkms install $p/1.0 -k {k} || exit; done")?;
    let made = "cd /lib/modules/{k}/updates/dkms; stat -c '%n %i' user* further* loose*";
    let before = scene.ok(made)?;
    scene.calls("depmod")?;
    let said = scene.exits(0, "dkms install base/2.0 -k {k}")?;
    says(&said, &["Rebuilding module user/1.0 due to updated dependencies", "Rebuilding module further/1.0"])?;
    ensure!(!said.contains("loose"), "loose does not ask to be rebuilt\n{said}");
    ensure!(said.find("module user/1.0") < said.find("module further/1.0"), "in the wrong order\n{said}");
    ensure!(scene.calls("depmod")?.len() == 1, "more than one depmod");
    let after = scene.ok(made)?;
    let kept = |name: &str| before.lines().find(|l| l.starts_with(name)) == after.lines().find(|l| l.starts_with(name));
    ensure!(kept("loose") && !kept("user") && !kept("further"), "before:\n{before}after:\n{after}");
    let installed =
        ["user/1.0", "further/1.0", "loose/1.0", "base/2.0"].map(|id| format!("{id}, {{k}}, {{a}}: installed"));
    let mut lines: Vec<&str> = installed.iter().map(String::as_str).collect();
    lines.push("base/1.0, {k}, {a}: built");
    scene.status_is(&lines)?;
    scene.ok("grep -qx 2.0 /var/lib/dkms/user/1.0/{k}/{a}/.dep_base")?;
    // Nothing changed: nothing is built anew.
    let said = scene.exits(0, "dkms unbuild loose/1.0 -k {k} && dkms install loose/1.0 -k {k}")?;
    ensure!(!said.contains("Rebuilding"), "{said}");

    // A dependant that fails: the installation stands, its old module stays, the code is the failure's.
    scene.ok("echo broken >>/usr/src/user-1.0/user.c")?;
    let before = scene.ok(made)?;
    let said = scene.exits(10, "dkms install base/3.0 -k {k}")?;
    says(&said, &["user/1.0 could not be rebuilt", "its present modules stay"])?;
    let after = scene.ok(made)?;
    ensure!(before == after, "a failed rebuild changed what was there");
    says(&scene.status()?, &["base/3.0, ", "user/1.0, "])?;
    // The rest is made up for when somebody looks.
    scene.ok("sed -i /broken/d /usr/src/user-1.0/user.c")?;
    says(&scene.exits(0, "dkms reconcile -k {k} --dry-run")?, &["it depends on base, which has changed"])?;
    scene.exits(0, "dkms reconcile -k {k}")?;
    let last = scene.ok(made)?;
    let renewed =
        |name: &str| after.lines().find(|l| l.starts_with(name)) != last.lines().find(|l| l.starts_with(name));
    ensure!(renewed("user") && renewed("further"), "before:\n{after}after:\n{last}");
    Ok(())
}

pub fn cycles() -> Result<()> {
    let scene = Scene::new(&[
        package("a").depends_on("c"),
        package("b").depends_on("a"),
        package("c").depends_on("b"),
        package("selfish").depends_on("selfish"),
        package("fine"),
    ])?;
    scene.add(&["a/1.0", "b/1.0", "c/1.0", "selfish/1.0", "fine/1.0"])?;
    let said = scene.exits(11, "dkms autoinstall -k {k}")?;
    says(
        &said,
        &["it needs itself: a -> c -> b -> a", "it needs itself: selfish -> selfish", "succeeded for module(s) fine."],
    )?;
    let said = scene.exits(0, "dkms reconcile -k {k}")?;
    says(&said, &["a -> c -> b -> a"])?;
    says(&scene.exits(13, "dkms install selfish/1.0 -k {k}")?, &["missing BUILD_DEPENDS: selfish"])
}
