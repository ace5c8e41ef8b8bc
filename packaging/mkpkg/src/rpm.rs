//! `.rpm` packages, by the rpm crate: format 4, zstd payload.

use ::rpm::{BuildConfig, CompressionWithLevel, Dependency, FileOptions, PackageBuilder};

use crate::payload;
use crate::plan::{Node, PackageError, Plan};

/// The package's file name and bytes.
pub fn write(plan: &Plan) -> Result<(String, Vec<u8>), PackageError> {
    let arch = plan.arch.as_deref().unwrap_or("noarch");
    let time = u32::try_from(plan.mtime.max(0)).unwrap_or(u32::MAX);
    let mut builder = PackageBuilder::new(&plan.name, &plan.version, &plan.licence, arch, &capital(&plan.summary));
    builder
        .using_config(BuildConfig::v4().source_date(time).compression(CompressionWithLevel::Zstd(19)))
        .release(&plan.release)
        .description(plan.description.lines().flat_map(payload::wrapped).collect::<Vec<_>>().join("\n"))
        .packager(&plan.maintainer)
        .group("System Environment/Kernel")
        .build_host("localhost");
    for text in &plan.depends {
        builder.requires(dependency(text)?);
    }
    for text in &plan.provides {
        builder.provides(dependency(text)?);
    }
    for text in &plan.conflicts {
        builder.conflicts(dependency(text)?);
    }
    for (path, file) in &plan.files {
        let permissions = u16::try_from(file.mode & 0o777).unwrap_or(0o644);
        match &file.node {
            Node::Regular(content) => {
                builder.with_file_contents(content.clone(), FileOptions::new(path).permissions(permissions))?
            }
            Node::Link(target) => builder.with_symlink(FileOptions::symlink(path, target))?,
            Node::Directory => builder.with_dir_entry(FileOptions::dir(path).permissions(permissions))?,
        };
    }
    let scripts = &plan.scripts;
    if !scripts.post_install.is_empty() {
        builder.post_install_script(scripts.post_install.as_str());
    }
    if !scripts.post_transaction.is_empty() {
        builder.post_trans_script(scripts.post_transaction.as_str());
    }
    if !scripts.pre_remove.is_empty() {
        builder.pre_uninstall_script(scripts.pre_remove.as_str());
    }
    if !scripts.post_remove.is_empty() {
        builder.post_uninstall_script(scripts.post_remove.as_str());
    }
    let changes: Vec<_> = plan.changelog.iter().map(|line| format!("- {line}")).collect();
    if !changes.is_empty() {
        let name = format!("{} - {}-{}", plan.maintainer, plan.version, plan.release);
        builder.add_changelog_entry(name, changes.join("\n"), time);
    }
    let mut bytes = Vec::new();
    builder.build()?.write(&mut bytes)?;
    Ok((format!("{}-{}-{}.{arch}.rpm", plan.name, plan.version, plan.release), bytes))
}

/// As rpm's users have their summaries.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Reads `NAME`, `NAME OP VERSION` or a rich dependency in parentheses.
fn dependency(text: &str) -> Result<Dependency, PackageError> {
    let words: Vec<_> = text.split_whitespace().collect();
    Ok(match words[..] {
        [first, ..] if first.starts_with('(') => Dependency::any(text),
        [name] => Dependency::any(name),
        [name, "=", version] => Dependency::eq(name, version),
        [name, ">=", version] => Dependency::greater_eq(name, version),
        [name, "<=", version] => Dependency::less_eq(name, version),
        [name, ">", version] => Dependency::greater(name, version),
        [name, "<", version] => Dependency::less(name, version),
        _ => {
            let why = "write NAME or NAME OPERATOR VERSION";
            return Err(PackageError::Word { what: "dependency", text: text.to_owned(), why });
        }
    })
}
