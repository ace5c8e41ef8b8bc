//! Our own package's scriptlets. They never fail.

use dkms_core::error::Error;
use dkms_core::event;

use crate::say;

/// `%post`.
pub fn installed() -> u8 {
    never_fails(event::surroundings(false).and_then(|ctx| event::own::here(&ctx)).map(|()| Vec::new()))
}

/// `%preun`, when the package goes for good.
pub fn going() -> u8 {
    never_fails(event::surroundings(false).and_then(|ctx| event::own::going(&ctx)))
}

/// `%preun`, when another version is in our place already; `now` is what its `dkms --version` says. A classic one knows nothing
/// of our files beside the modules, which stay, also in images.
pub fn replaced(now: &str) -> u8 {
    let version = now.trim_start_matches("dkms").trim_start_matches(['-', ':', ' ']);
    if !event::own::is_classic(version) {
        return 0;
    }
    never_fails(event::surroundings(true).and_then(|ctx| {
        event::own::leave_images(&ctx)?;
        event::own::forget_notes(&ctx);
        Ok(Vec::new())
    }))
}

fn never_fails(said: Result<Vec<String>, Error>) -> u8 {
    for line in said.unwrap_or_else(|error| error.lines()) {
        say(&format!("dkms: {line}"));
    }
    0
}
