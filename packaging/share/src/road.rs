//! The roads to a share. By each of them the same things are reached ([`crate::share`]).

mod directory;
mod http;
mod login;
mod registry;
mod resolver;
mod web;

use std::path::Path;

use crate::address::Address;
use crate::error::Error;
use crate::share::{Limits, Road};

/// The road to `address`. `trust` is the directory of what this machine trusts.
pub fn open(address: &Address, trust: &Path, limits: Limits) -> Result<Box<dyn Road>, Error> {
    Ok(match address {
        Address::Directory(dir) => Box::new(directory::Directory::new(dir, limits)),
        Address::Web(site) => Box::new(web::Web::new(site, http::Client::new(site, trust, limits)?)),
        Address::Registry(site) => Box::new(registry::Registry::new(site, http::Client::new(site, trust, limits)?)),
    })
}
