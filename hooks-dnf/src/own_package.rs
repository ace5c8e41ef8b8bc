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

fn never_fails(said: Result<Vec<String>, Error>) -> u8 {
    for line in said.unwrap_or_else(|error| error.lines()) {
        say(&format!("dkms: {line}"));
    }
    0
}
