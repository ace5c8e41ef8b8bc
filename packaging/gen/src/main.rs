//! `dkms-gen SOURCE DESTINATION`: writes the man pages and completions that packages install.
//!
//! SOURCE is this project's `packaging` directory, with the hand-written parts. DESTINATION gets `man/` and
//! `completions/`. What the command line understands comes from the table that the program itself parses with
//! ([`dkms_core::cli::table`]), so that neither can lag behind.

mod completions;
mod examples;
mod man;

use std::path::Path;

use anyhow::{Context, Result};
use dkms_core::cli::parser;
use fs_err as fs;

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    let source = words.next().context("usage: dkms-gen SOURCE DESTINATION")?;
    let destination = words.next().context("usage: dkms-gen SOURCE DESTINATION")?;
    let (source, destination) = (Path::new(&source), Path::new(&destination));
    write(&destination.join("man"), man::pages(&source.join("man"), &parser::documentation())?)?;
    write(&destination.join("completions"), completions::scripts(&source.join("completions"), parser::documentation())?)
}

/// Writes files, by name, into `directory`.
fn write(directory: &Path, files: Vec<(String, String)>) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (name, text) in files {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}
