//! All facts about one target kernel: release order, headers, configuration, compiler, identity.
//!
//! Loaders take outer paths, mostly through [`crate::tree::Trees`]; parsers take text. Nothing here
//! asks for the running kernel.

pub mod compiler;
pub mod compression;
pub mod config;
pub mod contents;
pub mod error;
pub mod find;
pub mod headers;
pub mod headers_contents;
pub mod headers_digest;
pub mod identity;
pub mod installed;
pub mod kbuild;
pub mod kernelvariables;
pub mod relocate;
pub mod symvers;
pub mod version;
pub mod wrapper;

pub use compiler::Toolchain;
pub use config::Config;
pub use error::Error;
pub use headers::Headers;
