//! Archives of DKMS packages: read strictly, understood, verified, written reproducibly.
//!
//! Nothing here knows a verb: `dkms ldtarball` unpacks with [`reader`], understands with [`layout`]
//! and then puts things in place under the journal; `dkms mktarball` plans and calls [`writer`].

pub mod codec;
pub mod extended;
pub mod layout;
pub mod links;
pub mod module;
pub mod reader;
pub mod secret;
pub mod writer;

#[cfg(test)]
mod hostile;
