//! What packages hold besides programs, made of what the project knows already.
//!
//! - `dkms-gen documents SOURCE DESTINATION`: the man pages and completions. SOURCE is this project's `packaging` directory,
//!   with the hand-written parts; DESTINATION gets `man/` and `completions/`. What the command line understands comes from
//!   the table that the program itself parses with ([`dkms_core::cli::table`]), so that neither can lag behind.
//! - `dkms-gen schema FILE`: the schema of what `--format json` prints (with the feature `schema`).
//! - `dkms-gen prune VENDOR`: takes out of the directory that `cargo vendor` made what no Linux build reads.
//! - `dkms-gen copyright LICENCES`: Debian's copyright file; LICENCES is the directory with what it is made of.
//! - `dkms-gen bundled MEMBER...`: the crates linked into these members of the workspace, as `Provides` of an rpm package.
//! - `dkms-gen license-tag LICENCES MEMBER...`: what these crates and all that they bring are under, as its `License`.
//!
//! The last four read what `cargo metadata` says from standard input.

mod completions;
mod copyright;
mod crates;
mod examples;
mod license_tag;
mod man;
mod prune;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dkms_core::cli::parser;
use fs_err as fs;

const USAGE: &str = "usage: dkms-gen documents SOURCE DESTINATION | schema FILE | prune VENDOR | copyright LICENCES | bundled MEMBER... | license-tag LICENCES MEMBER...";

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    let what = words.next().context(USAGE)?;
    let words: Vec<PathBuf> = words.map(PathBuf::from).collect();
    match (what.to_str(), words.as_slice()) {
        (Some("documents"), [source, destination]) => documents(source, destination),
        #[cfg(feature = "schema")]
        (Some("schema"), [file]) => Ok(fs::write(file, schema()?)?),
        (Some("prune"), [vendor]) => prune::prune(vendor, &crates::Metadata::read(std::io::stdin())?),
        (Some("copyright"), [licences]) => say(&copyright::text(licences, &crates::Metadata::read(std::io::stdin())?)?),
        (Some("bundled"), members @ [_, ..]) => {
            say(&crates::bundled(&names(members), &crates::Metadata::read(std::io::stdin())?)?)
        }
        (Some("license-tag"), [licences, members @ ..]) if !members.is_empty() => {
            say(&license_tag::line(licences, &names(members), &crates::Metadata::read(std::io::stdin())?)?)
        }
        _ => bail!(USAGE),
    }
}

fn names(members: &[PathBuf]) -> Vec<String> {
    members.iter().map(|member| member.to_string_lossy().into_owned()).collect()
}

fn say(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn documents(source: &Path, destination: &Path) -> Result<()> {
    write(&destination.join("man"), man::pages(&source.join("man"), &parser::documentation())?)?;
    write(&destination.join("completions"), completions::scripts(&source.join("completions"), parser::documentation())?)
}

/// The schema of what `--format json` prints.
#[cfg(any(test, feature = "schema"))]
fn schema() -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&dkms_core::command::schema::schema())?))
}

/// Writes files, by name, into `directory`.
fn write(directory: &Path, files: Vec<(String, String)>) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (name, text) in files {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    /// The file that packages install shows each change of the interface in its history.
    #[test]
    fn the_schema_is_of_the_types() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../hook-files/common/usr/share/dkms/json-1.schema.json");
        let there = fs_err::read_to_string(&file).unwrap();
        assert!(
            there == super::schema().unwrap(),
            "the types that are printed have changed. Only additions? Then: cargo run -p dkms-gen --features schema -- schema {}",
            file.display()
        );
    }
}
