//! The hooks that kernel packages run (Debian Kernel Handbook, chapter 8): they say what happened to a kernel.
//!
//! Arguments are the release and, not always, the image; `DEB_MAINT_PARAMS` holds the words of the kernel package's own
//! script. Hooks may run twice, in any order, or from a trigger: the core looks at what is there.

use dkms_core::command::reconcile::perform;
use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::names::Release;
use dkms_core::reconcile::superseded;
use dkms_core::reconcile::{How, Initramfs, Scope};
use dkms_core::report::{Event, Reporter};
use dkms_core::tree::record::{Outcome, Record};

use crate::{core, pending, summary};

/// The kernel's package is about to be unpacked, perhaps over an older one of the same release.
pub fn preinst(words: &[String]) -> u8 {
    begin(words, |ctx, release| {
        if ctx.trees.modules_dir(release).is_dir() {
            // The classic's exit code never reached anybody either: unpacking goes on.
            core::dkms(&["kernel_preinst", "-k", release.as_str()]);
        }
        Ok(0)
    })
}

/// The kernel is there; the hook that makes its initramfs comes after us.
pub fn postinst(words: &[String]) -> u8 {
    begin(words, |ctx, release| look(ctx, release, Initramfs::Later))
}

/// Its headers are there. If they came later than the kernel, nobody makes the initramfs after us.
pub fn header_postinst(words: &[String]) -> u8 {
    begin(words, |ctx, release| look(ctx, release, Initramfs::Auto))
}

/// The kernel is about to be removed. Nothing that fails here may keep it.
pub fn prerm(words: &[String]) -> u8 {
    if matches!(maintainer_action().as_deref(), Some("upgrade" | "failed-upgrade" | "deconfigure")) {
        return 0;
    }
    begin(words, |ctx, release| {
        pending::forget(&ctx.trees, release);
        core::dkms(&["kernel_prerm", "-k", release.as_str()]);
        Ok(0)
    });
    0
}

/// The kernel's files are gone; what was noted about it goes, too.
pub fn postrm(words: &[String]) -> u8 {
    if !matches!(maintainer_action().as_deref(), None | Some("remove" | "purge")) {
        return 0;
    }
    begin(words, |ctx, release| {
        pending::forget(&ctx.trees, release);
        // A prerm that never ran (a killed dpkg, a kernel without that hook) left our modules: they keep the directory.
        let dir = ctx.trees.modules_dir(release);
        let is_gone = !dir.join("kernel").exists() || !dir.join("modules.builtin").exists();
        if dir.is_dir() && is_gone && !dir.join("build/include").is_dir() {
            core::dkms(&["kernel_prerm", "-k", release.as_str()]);
        }
        if !dir.exists() {
            for record in Record::list(&ctx.trees, Some(release)).unwrap_or_default() {
                Record::remove(&ctx.trees, &record.package, &record.kernel)?;
            }
        }
        Ok(0)
    });
    0
}

/// kernel-install(8): `add RELEASE …` or `remove RELEASE …`. Its code 77 would stop all later plugins.
pub fn kernel_install(words: &[String]) -> u8 {
    let code = match words.split_first() {
        Some((verb, rest)) if verb == "add" => postinst(rest),
        Some((verb, rest)) if verb == "remove" => prerm(rest),
        _ => 0,
    };
    u8::from(code != 0)
}

fn look(ctx: &Context, release: &Release, initramfs: Initramfs) -> Result<u8, Error> {
    if ctx.autoinstall_is_off() {
        core::say("dkms: automatic installation of modules has been disabled.");
        return Ok(0);
    }
    // Before it begins: a killed run is taken up at the next opportunity.
    pending::note(&ctx.trees, release);
    let scope = Scope::Kernels(vec![core::kernel(ctx, release)?]);
    let how = How { initramfs, ..How::default() };
    let done = perform(ctx, &scope, how, true, &core::reporter());
    let settled = done.is_ok() && is_settled(ctx, release);
    if settled {
        pending::forget(&ctx.trees, release);
    }
    // What was built may be the successor that another version waited for.
    let all_told = done.as_ref().is_ok_and(|done| done.summary.lines().is_empty());
    if !settled || !all_told || !superseded::list(&ctx.trees).is_empty() {
        core::ask_for_drain(ctx);
    }
    let done = done?;
    summary::keep(ctx, done.summary);
    if done.code != 0 {
        core::say(format!("dkms: kernel {release} lacks a module that it must have: its package is not configured."));
        core::say("    Once that is mended: dpkg --configure -a");
    }
    Ok(done.code)
}

/// Whether nothing waits or failed for this kernel.
pub fn is_settled(ctx: &Context, release: &Release) -> bool {
    Record::list(&ctx.trees, Some(release)).is_ok_and(|records| {
        !records.iter().any(|record| matches!(record.outcome, Outcome::Waiting { .. } | Outcome::Failed { .. }))
    })
}

/// Runs `hook` for the kernel that the words name, if our package is in working order; otherwise notes the kernel.
fn begin(words: &[String], hook: impl FnOnce(&Context, &Release) -> Result<u8, Error>) -> u8 {
    let done = (|| {
        let Some(release) = words.first().or(variable_release().as_ref()).cloned() else { return Ok(0) };
        let release = Release::new(release)?;
        let (ctx, _) = core::context(&["reconcile"])?;
        if !ctx.machine.root || ctx.autoinstall_is_off() && !ctx.trees.modules_dir(&release).is_dir() {
            return Ok(0);
        }
        if !pending::is_ready(&ctx.trees) {
            pending::note(&ctx.trees, &release);
            return Ok(0);
        }
        hook(&ctx, &release)
    })();
    done.unwrap_or_else(|error: Error| {
        core::reporter().report(Event::Error(error.lines()));
        // What can't even be looked at is no reason to leave a kernel half-configured.
        0
    })
}

/// What kernel-install plugins and some kernels' own scripts have instead of an argument.
fn variable_release() -> Option<String> {
    core::variable("KERNEL_VERSION")
}

/// The first word that the kernel package's own script was called with. `DEB_MAINT_PARAMS` is a list of shell words,
/// perhaps quoted: `'configure' '6.1.4-1'`.
fn maintainer_action() -> Option<String> {
    core::variable("DEB_MAINT_PARAMS").and_then(|text| first_word(&text))
}

fn first_word(text: &str) -> Option<String> {
    text.split_whitespace().next().map(|word| word.trim_matches(['\'', '"']).to_owned()).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_kernel_package() {
        for (text, word) in [
            ("configure 6.1.4-1", Some("configure")),
            ("'remove'", Some("remove")),
            ("'upgrade' '6.1'", Some("upgrade")),
            ("configure ", Some("configure")),
            (" ", None),
            ("''", None),
        ] {
            assert_eq!(first_word(text).as_deref(), word, "{text:?}");
        }
    }
}
