//! `/usr/lib/dkms/dkms_autoinstaller start [RELEASE]`: once an init script, still called by vendors' hooks.

use dkms_core::names::Release;
use dkms_core::{command, event};

use crate::streams;

/// `start` installs what a kernel lacks; the other words of an init script do nothing.
pub fn run(words: &[String]) -> u8 {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["start"] => start(None),
        ["start", release, ..] => start(Some(release)),
        ["stop" | "restart" | "force-reload" | "status" | "reload", ..] => 0,
        _ => {
            streams::say("Usage: dkms_autoinstaller {start [KERNEL]|stop|restart|force-reload|status}");
            2
        }
    }
}

fn start(release: Option<&str>) -> u8 {
    let Ok(ctx) = event::surroundings(true) else { return 1 };
    let release = release.and_then(|release| Release::new(release).ok()).or(ctx.machine.running.clone());
    let Some(release) = release else { return 0 };
    let build = ctx.trees.install.inside.join(&release).join("build/include");
    if !ctx.trees.outer(build).is_dir() {
        streams::say(format!("dkms: nothing is built for kernel {release}: its headers do not seem to be installed."));
        return 0;
    }
    // The classic verb, with its lines and codes (docs/contract.md 9.1).
    let Ok(kernel) = ctx.kernel(&release) else { return 1 };
    u8::from(command::autoinstall(&ctx, &kernel, &streams::reporter()) != 0)
}
