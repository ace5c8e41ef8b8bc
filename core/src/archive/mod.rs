//! Archives of DKMS packages: read strictly, understood, verified, written reproducibly.
//!
//! Nothing here knows a verb: `dkms ldtarball` unpacks with [`reader`], understands with [`layout`]
//! and then puts things in place under the journal; `dkms mktarball` plans and calls [`writer`].

pub mod codec;
mod entry;
mod extended;
mod fault;
pub mod layout;
mod limits;
pub mod links;
pub mod module;
mod place;
pub mod reader;
pub mod secret;
mod source;
pub mod writer;

#[cfg(test)]
mod hostile;
