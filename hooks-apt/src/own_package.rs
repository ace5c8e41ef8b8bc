//! Our own package's maintainer scripts.

use crate::{end_of_run, pending, streams};
use dkms_core::context::Context;
use dkms_core::event;
use dkms_core::report::{Event, Reporter};

/// `configure`, `triggered`, `abort-…`: we are in working order, and do what was left. Never fails.
pub fn postinst(words: &[String]) -> u8 {
    with_context(|ctx| {
        let action = words.first().map_or("", String::as_str);
        if action != "triggered" {
            pending::set_ready(&ctx.trees, true);
            if let Err(error) = event::own::here(ctx) {
                log::warn!("{error}");
            }
        }
        if matches!(action, "configure" | "triggered") {
            end_of_run::run(ctx);
        }
    })
}

/// We are taken out of use. On removal, and before an older program takes over, our files beside the modules go: that
/// program neither knows nor removes them, and they would keep the directories of removed kernels. Our modules stay, also in
/// images, which our hook puts them into no more.
pub fn prerm(words: &[String]) -> u8 {
    with_context(|ctx| {
        pending::set_ready(&ctx.trees, false);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = match words[..] {
            ["remove", ..] => event::own::going(ctx),
            ["upgrade", version, ..] if event::own::is_classic(version) => {
                event::own::leave_images(ctx).map(|_| Vec::new())
            }
            _ => return,
        };
        match said {
            Ok(lines) => {
                for line in lines {
                    streams::say(format!("dkms: {line}"));
                }
            }
            Err(error) => streams::reporter().report(Event::Error(error.lines())),
        }
        event::own::forget_notes(ctx);
    })
}

fn with_context(work: impl FnOnce(&Context)) -> u8 {
    match event::surroundings(true) {
        Ok(ctx) => work(&ctx),
        Err(error) => streams::reporter().report(Event::Error(error.lines())),
    }
    0
}
