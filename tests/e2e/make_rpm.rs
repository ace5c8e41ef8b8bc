//! What `make rpm` has made, read with the rpm crate: no rpm of this machine says what is in it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dkms_tests::needs::Need;
use dkms_tests::settings;
use dkms_tests::suite::Suite;
use rpm::{Dependency, DependencyFlags, PackageMetadata};

/// The package `name` of ours.
fn package(name: &str) -> Result<PackageMetadata> {
    let dir = settings::rpms();
    let start = format!("{name}-4");
    let ours = |path: &PathBuf| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&start));
    let path = fs_err::read_dir(&dir)?.flatten().map(|entry| entry.path()).find(ours);
    let path = path.with_context(|| format!("no {name} in {}", dir.display()))?;
    PackageMetadata::open(&path).with_context(|| path.display().to_string())
}

fn names(dependencies: &[Dependency]) -> Vec<&str> {
    dependencies.iter().map(|dependency| dependency.name.as_str()).collect()
}

fn files() -> Result<()> {
    let main = package("dkms")?;
    let entries = main.get_file_entries()?;
    for (path, mode) in [
        ("/usr/sbin/dkms", 0o755),
        ("/usr/lib/dkms/dkms-rpm", 0o755),
        ("/usr/lib/dkms/common.postinst", 0o755),
        ("/usr/lib/kernel/install.d/40-dkms.install", 0o755),
        ("/usr/lib/systemd/system/dkms.service", 0o644),
        ("/usr/lib/systemd/system-preset/90-dkms.preset", 0o644),
        ("/etc/dnf/libdnf5-plugins/actions.d/dkms.actions", 0o644),
        ("/etc/dkms/framework.conf", 0o644),
        ("/var/lib/dkms", 0o755),
    ] {
        let entry = entries.iter().find(|entry| entry.path().as_os_str() == path);
        let entry = entry.with_context(|| format!("{path} is missing"))?;
        ensure!(entry.permissions() == mode, "{path} has mode {:o}", entry.permissions());
        ensure!((entry.user(), entry.group()) == ("root", "root"), "{path} is {}'s", entry.user());
    }
    for entry in &entries {
        let path = entry.path();
        let places = ["/usr/sbin", "/usr/lib", "/usr/share", "/etc", "/var/lib/dkms"];
        ensure!(places.iter().any(|place| path.starts_with(place)), "{} in the package", path.display());
        ensure!(!path.to_string_lossy().contains("dnf-plugins/"), "{} is dkms-dnf4's", path.display());
    }
    let besides_licences = |name: &str| -> Result<Vec<PathBuf>> {
        let paths = package(name)?.get_file_paths()?;
        Ok(paths.into_iter().filter(|path| !path.starts_with("/usr/share/licenses")).collect())
    };
    let dnf4 = besides_licences("dkms-dnf4")?;
    ensure!(dnf4.len() == 1 && dnf4[0].ends_with("dnf-plugins/dkms.py"), "dkms-dnf4 has {dnf4:?}");
    let mkpkg = besides_licences("dkms-mkpkg")?;
    ensure!(mkpkg == [PathBuf::from("/usr/lib/dkms/dkms-mkpkg")], "dkms-mkpkg has {mkpkg:?}");
    // What is linked in, and under which licences.
    for (name, file) in [("dkms", "LICENSE"), ("dkms", "copyright"), ("dkms-mkpkg", "copyright")] {
        let paths = package(name)?.get_file_paths()?;
        let of = |path: &PathBuf| path.starts_with("/usr/share/licenses") && path.ends_with(file);
        ensure!(paths.iter().any(of), "{name} has no {file} among its licences");
        let provides = package(name)?.get_provides()?;
        ensure!(names(&provides).contains(&"bundled(crate(serde))"), "{name} does not say what is in it");
    }
    ensure!(
        entries.iter().any(|entry| entry.path().to_string_lossy().contains("/guide/start.")),
        "the guide is missing"
    );
    Ok(())
}

fn what_it_takes() -> Result<()> {
    let main = package("dkms")?;
    let requires = main.get_requires()?;
    for name in ["bash", "gcc", "make", "kmod", "patch", "/bin/sh"] {
        ensure!(names(&requires).contains(&name), "it does not require {name}");
    }
    // A package for every rpm from 4.18 on, whatever made it: nothing but what that one knows.
    let odd: Vec<_> = names(&requires)
        .into_iter()
        .filter(|name| name.starts_with("rpmlib(") && !name.contains("PayloadFilesHavePrefix"))
        .filter(|name| {
            !["CompressedFileNames", "FileDigests", "PayloadIsZstd", "PayloadIsXz", "RichDependencies"]
                .iter()
                .any(|known| name.contains(known))
        })
        .collect();
    ensure!(odd.is_empty(), "it requires {odd:?}");
    // It takes the place of the distribution's by its name and version; nothing is in the way but a plugin that ends every
    // dnf5 command at our file.
    let conflicts = main.get_conflicts()?;
    ensure!(
        main.get_obsoletes()?.is_empty() && names(&conflicts) == ["libdnf5-plugin-actions"],
        "it is in the way of {conflicts:?}"
    );
    let provides = main.get_provides()?;
    ensure!(names(&provides).contains(&"dkms"), "it provides {provides:?}");
    let recommends = main.get_recommends()?;
    for name in ["(kernel-devel-matched if kernel-core)", "(kernel-default-devel if kernel-default)"] {
        ensure!(names(&recommends).contains(&name), "it does not recommend {name}: {recommends:?}");
    }
    let same = package("dkms-dnf4")?.get_requires()?;
    let same = same.iter().find(|dependency| dependency.name == "dkms").context("dkms-dnf4 does not require dkms")?;
    ensure!(same.flags.contains(DependencyFlags::EQUAL), "dkms-dnf4 goes with any dkms: {same:?}");
    Ok(())
}

fn scripts() -> Result<()> {
    let main = package("dkms")?;
    let triggers = main.get_trans_file_triggers()?;
    ensure!(triggers.len() == 2, "transaction file triggers: {triggers:?}");
    for trigger in &triggers {
        let paths: Vec<_> = trigger.conditions.iter().map(|condition| condition.name.as_str()).collect();
        ensure!(paths == ["/lib/modules", "/usr/lib/modules", "/usr/src"], "a trigger on {paths:?}");
        ensure!(trigger.script.contains("dkms-rpm trigger"), "a trigger runs {}", trigger.script);
        ensure!(trigger.program == ["/bin/sh"], "a trigger runs with {:?}", trigger.program);
    }
    for (script, what) in [
        (main.get_post_install_script()?.script, "preset dkms.service"),
        (main.get_pre_uninstall_script()?.script, "disable --now dkms.service"),
    ] {
        // Only of the first installation and the last removal.
        ensure!(script.contains(what) && script.contains("$1"), "a scriptlet: {script}");
    }
    ensure!(main.get_triggers()?.is_empty() && main.get_file_triggers()?.is_empty(), "there are other triggers");
    ensure!(main.get_build_host()? == "localhost", "it names the machine that made it");
    Ok(())
}

fn main() -> ExitCode {
    Suite::new(&[Need::Rpms]).case("files", files).case("what it takes", what_it_takes).case("scripts", scripts).main()
}
