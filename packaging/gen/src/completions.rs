//! Shell completions: the words from the table, and hand-written functions for packages and kernels, which read
//! directories. They never call dkms: completing must be quick, and change nothing.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::{Command, ValueHint};
use clap_complete::Generator;
use clap_complete::aot::{Bash, Fish, Zsh, generate};
use fs_err as fs;

/// Every script's name and text. `source` holds the hand-written parts.
///
/// # Errors
/// If a part can't be read, or the generated text has changed so that the parts don't fit.
pub fn scripts(source: &Path, documentation: Command) -> Result<Vec<(String, String)>> {
    let mut documentation = hinted(documentation);
    documentation.build();
    let mut made = |generator: &dyn Fn(&mut Command, &mut Vec<u8>)| -> Result<String> {
        let mut text = Vec::new();
        generator(&mut documentation, &mut text);
        Ok(String::from_utf8(text)?)
    };
    let bash = made(&|command, text| by(Bash, command, text))?;
    let zsh = made(&|command, text| by(Zsh, command, text))?;
    let fish = made(&|command, text| by(Fish, command, text))?;
    ensure!(bash.starts_with("_dkms() {"), "clap_complete's function for bash has another name");
    let part = |name: &str| fs::read_to_string(source.join(name));
    Ok(vec![
        ("dkms.bash".to_owned(), format!("{bash}\n{}", part("places.bash")?)),
        ("_dkms".to_owned(), zsh_with_places(&zsh, &part("places.zsh")?)?),
        ("dkms.fish".to_owned(), format!("{fish}\n{}", part("places.fish")?)),
    ])
}

fn by(generator: impl Generator, command: &mut Command, text: &mut Vec<u8>) {
    generate(generator, command, "dkms", text);
}

/// The same commands, with what kind of path each value is.
fn hinted(command: Command) -> Command {
    let hint =
        |arg: clap::Arg| match arg.get_value_names().and_then(|names| names.first()).map(clap::builder::Str::as_str) {
            Some("DIR") => arg.value_hint(ValueHint::DirPath),
            Some("FILE") => arg.value_hint(ValueHint::FilePath),
            _ => arg,
        };
    command.mut_args(hint).mut_subcommands(|verb| verb.mut_args(hint))
}

/// In zsh's text an argument ends in `:NAME:ACTION`: names of ours get actions of ours.
fn zsh_with_places(text: &str, places: &str) -> Result<String> {
    let mut text = text.to_owned();
    for (name, action) in
        [("RELEASE[/ARCH]", "_dkms_kernels"), ("RELEASE", "_dkms_kernels"), ("NAME[/VERSION]", "_dkms_packages")]
    {
        let from = format!(":{name}:_default");
        ensure!(text.contains(&from), "clap_complete's text for zsh has no {from}");
        text = text.replace(&from, &format!(":{name}:{action}"));
    }
    // An operand's help stands between its name and its action.
    let lines = text.split('\n').map(|line| {
        if line.contains(":operand") { line.replace(":_default", ":_dkms_operand") } else { line.to_owned() }
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    ensure!(text.contains(":_dkms_operand"), "clap_complete's text for zsh has no operand");
    // The functions go behind the first line, `#compdef dkms`.
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(format!("{first}\n{places}\n{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<(String, String)> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../completions");
        scripts(&source, dkms_core::cli::parser::documentation()).unwrap()
    }

    #[test]
    fn every_shell_knows_the_verbs_and_where_packages_are() {
        for (name, text) in made() {
            assert!(text.contains("kernel_postinst") && text.contains("/usr/src"), "{name}");
        }
    }

    /// The words that options and operands take are in all three.
    #[test]
    fn every_shell_knows_the_words() {
        for (name, text) in made() {
            for word in ["sarif", "later", "kernel-gone", "ubuntu", "enroll", "iso", "keygen"] {
                assert!(text.contains(word), "{name}: {word}");
            }
        }
    }

    /// What a real bash offers for the last of `words`, in a root with two packages and two kernels.
    #[allow(clippy::disallowed_methods)] // the way through dkms-core is for the program, not for its tests
    fn offered(words: &[&str]) -> Vec<String> {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().join("root");
        for dir in
            ["var/lib/dkms/hello/1.0/source", "var/lib/dkms/.dkms/locks", "lib/modules/6.1.0", "lib/modules/6.12.1"]
        {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::create_dir_all(root.join("usr/src/two-parts-2.0")).unwrap();
        fs::write(root.join("usr/src/two-parts-2.0/dkms.conf"), "").unwrap();
        let script = tmp.path().join("dkms.bash");
        fs::write(&script, &made()[0].1).unwrap();
        let mut argv = vec!["dkms", "--root", root.to_str().unwrap()];
        argv.extend(words);
        let end = std::process::Command::new("bash")
            .args(["--norc", "-c"])
            .arg(
                "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                 _dkms_places dkms \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
                 printf '%s\\n' \"${COMPREPLY[@]}\"",
            )
            .arg(&script)
            .args(argv)
            .output()
            .unwrap();
        assert!(end.stderr.is_empty(), "{}", String::from_utf8_lossy(&end.stderr));
        String::from_utf8(end.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_completes() {
        assert_eq!(offered(&["unin"]), ["uninstall"]);
        assert_eq!(offered(&["remove", ""]), ["hello/1.0"]);
        assert_eq!(offered(&["install", ""]), ["hello/1.0", "two-parts/2.0"]);
        assert_eq!(offered(&["install", "two"]), ["two-parts/2.0"]);
        assert_eq!(offered(&["build", "hello/1.0", "-k", ""]), ["6.1.0", "6.12.1"]);
        assert_eq!(offered(&["build", "--kernelver", "=", "6.12"]), ["6.12.1"]);
        assert_eq!(offered(&["build", "-m", "he"]), ["hello/1.0"]);
        assert_eq!(offered(&["install", "--symlink"]), ["--symlink-modules"]);
        assert_eq!(offered(&["mkpkg", "he"]), ["hello/1.0"]);
        assert_eq!(offered(&["status", "--format", ""]), ["text", "json"]);
        assert_eq!(offered(&["lint", "--format", "s"]), ["sarif"]);
        assert_eq!(offered(&["reconcile", "--initramfs", "l"]), ["later"]);
        assert_eq!(offered(&["reconcile", "--event", "kernel-g"]), ["kernel-going", "kernel-gone"]);
        assert_eq!(offered(&["mkdriverdisk", "--distro", ""]), ["redhat", "suse", "debian", "ubuntu"]);
        assert_eq!(offered(&["mok", "e"]), ["enroll"]);
        assert_eq!(offered(&["remove", "--symlink"]), [""], "an option that means nothing to it");
    }
}
