//! The hooks that kernel packages run (Debian Kernel Handbook, chapter 8): they say what happened to a kernel.
//!
//! Arguments are the release and, not always, the image; `DEB_MAINT_PARAMS` holds the words of the kernel package's own
//! script. Hooks may run twice, in any order, or from a trigger: the core looks at what is there.

use dkms_core::context::Context;
use dkms_core::error::Error;
use dkms_core::event::{self, Event, EventOptions};
use dkms_core::initramfs::pending as images;
use dkms_core::names::Release;
use dkms_core::reconcile::Initramfs;
use dkms_core::report::{Event as Said, Reporter};
use dkms_core::superseded;

use crate::{pending, streams, summary};

/// The kernel's package is about to be unpacked, perhaps over an older one of the same release.
pub fn preinst(words: &[String]) -> u8 {
    begin(words, |ctx, release| {
        // The classic's exit code never reached anybody either: unpacking goes on.
        report(ctx, Event::KernelComing(release.clone())).map(|()| 0)
    })
}

/// The kernel is there; the hook that makes its initramfs comes after us.
pub fn postinst(words: &[String]) -> u8 {
    begin(words, |ctx, release| look(ctx, release, Event::KernelInstalled(release.clone()), Initramfs::Later))
}

/// Its headers are there. If they came later than the kernel, nobody makes the initramfs after us.
pub fn header_postinst(words: &[String]) -> u8 {
    begin(words, |ctx, release| look(ctx, release, Event::HeadersInstalled(release.clone()), pending::initramfs(ctx)))
}

/// The kernel is about to be removed. Nothing that fails here may keep it.
pub fn prerm(words: &[String]) -> u8 {
    if matches!(maintainer_action().as_deref(), Some("upgrade" | "failed-upgrade" | "deconfigure")) {
        return 0;
    }
    begin(words, |ctx, release| {
        pending::forget(&ctx.trees, release);
        report(ctx, Event::KernelGoing(release.clone())).map(|()| 0)
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
        report(ctx, Event::KernelGone(release.clone())).map(|()| 0)
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

/// Reports an event whose failure is nobody's.
fn report(ctx: &Context, event: Event) -> Result<(), Error> {
    event::handle(ctx, &[event], &EventOptions::default(), &streams::reporter()).map(|_| ())
}

fn look(ctx: &Context, release: &Release, event: Event, initramfs: Initramfs) -> Result<u8, Error> {
    if ctx.autoinstall_is_off() {
        streams::say("dkms: automatic installation of modules has been disabled.");
        return Ok(0);
    }
    // Before it begins: a killed run is taken up at the next opportunity.
    pending::note(&ctx.trees, release);
    // The kernel's hook and its headers' come in one run: what failed in the first fails in the second.
    let again = summary::has(&ctx.trees, release);
    let options = EventOptions { initramfs, again, over: true, ..EventOptions::default() };
    let done = event::handle(ctx, &[event], &options, &streams::reporter());
    let settled = done.as_ref().is_ok_and(|done| done.is_settled(release));
    if settled {
        pending::forget(&ctx.trees, release);
    }
    // What was built may be the successor that another version waited for.
    let all_told = done.as_ref().is_ok_and(|done| done.summary.lines(None).is_empty());
    let pending = initramfs == Initramfs::AtEnd && !images::all(&ctx.trees).is_empty();
    if !settled || !all_told || pending || !superseded::list(&ctx.trees).is_empty() {
        pending::ask_for_end_of_run(ctx);
    }
    let done = done?;
    summary::keep(ctx, done.summary);
    if done.code != 0 {
        streams::say(format!(
            "dkms: kernel {release} lacks a module that it must have: its package is not configured."
        ));
        streams::say("    Once that is fixed: dpkg --configure -a");
    }
    Ok(done.code)
}

/// Runs `hook` for the kernel that the words name, if our package is in working order; otherwise notes the kernel.
fn begin(words: &[String], hook: impl FnOnce(&Context, &Release) -> Result<u8, Error>) -> u8 {
    let done = (|| {
        let Some(release) = words.first().or(variable_release().as_ref()).cloned() else { return Ok(0) };
        let release = Release::new(release)?;
        let ctx = event::surroundings(true)?;
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
        streams::reporter().report(Said::Error(error.lines()));
        // What can't even be looked at is no reason to leave a kernel half-configured.
        0
    })
}

/// What kernel-install plugins and some kernels' own scripts have instead of an argument.
fn variable_release() -> Option<String> {
    streams::variable("KERNEL_VERSION")
}

/// The first word that the kernel package's own script was called with. `DEB_MAINT_PARAMS` is a list of shell words,
/// perhaps quoted: `'configure' '6.1.4-1'`.
fn maintainer_action() -> Option<String> {
    streams::variable("DEB_MAINT_PARAMS").and_then(|text| first_word(&text))
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
