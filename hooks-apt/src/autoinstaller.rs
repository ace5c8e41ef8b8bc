//! `/usr/lib/dkms/dkms_autoinstaller start [RELEASE]`: once an init script, still called by vendors' hooks.

use dkms_core::names::Release;

use crate::core;

/// `start` installs what a kernel lacks; the other words of an init script do nothing.
pub fn run(words: &[String]) -> u8 {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["start"] => start(None),
        ["start", release, ..] => start(Some(release)),
        ["stop" | "restart" | "force-reload" | "status" | "reload", ..] => 0,
        _ => {
            core::say("Usage: dkms_autoinstaller {start [KERNEL]|stop|restart|force-reload|status}");
            2
        }
    }
}

fn start(release: Option<&str>) -> u8 {
    let Ok((ctx, _)) = core::context(&["status"]) else { return 1 };
    let release = release.and_then(|release| Release::new(release).ok()).or(ctx.machine.running.clone());
    let Some(release) = release else { return 0 };
    let build = ctx.trees.install.inside.join(&release).join("build/include");
    if !ctx.trees.outer(build).is_dir() {
        core::say(format!("dkms: nothing is built for kernel {release}: its headers do not seem to be installed."));
        return 0;
    }
    u8::from(core::dkms(&["autoinstall", "--kernelver", release.as_str()]) != 0)
}
