//! `.deb` packages (deb(5), deb-control(5), Debian Policy chapters 3, 4, 6 and 12).

use std::fmt::Write as _;

use dkms_core::archive::codec::{Format, encode};
use dkms_core::clock;

use crate::payload;
use crate::plan::{File, Node, PackageError, Plan};

/// The package's file name and bytes.
pub fn write(plan: &Plan) -> Result<(String, Vec<u8>), PackageError> {
    let plan = &with_documents(plan)?;
    let version = full_version(plan);
    let arch = plan.arch.as_deref().unwrap_or("all");
    let files = payload::with_directories(plan);
    let mut sums = String::new();
    for (path, file) in &files {
        if let Node::Regular(content) = &file.node {
            let _ = writeln!(sums, "{}  {path}", payload::md5(content));
        }
    }
    let data = archive(plan, files.iter().map(|(path, file)| (format!("./{path}"), file.clone())))?;
    let text = |text: String, mode| File { mode, node: Node::Regular(text.into_bytes()) };
    let mut control = vec![
        ("./control".to_owned(), text(control(plan, &version, arch), 0o644)),
        ("./md5sums".to_owned(), text(sums, 0o644)),
    ];
    let scripts = &plan.scripts;
    for (name, body) in
        [("postinst", &scripts.post_install), ("postrm", &scripts.post_remove), ("prerm", &scripts.pre_remove)]
    {
        if !body.is_empty() {
            control.push((format!("./{name}"), text(format!("#!/bin/sh\nset -e\n{body}"), 0o755)));
        }
    }
    let control = archive(plan, control.into_iter())?;
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", &control), ("data.tar.xz", &data)] {
        // ar(5): name, time, owner, group, mode, size; members begin at even offsets.
        bytes.extend(format!("{name:<16}{:<12}0     0     100644  {:<10}`\n", plan.time(), content.len()).bytes());
        bytes.extend(content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    // The epoch is not part of the name.
    let shown = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
    Ok((format!("{}_{shown}_{arch}.deb", plan.name), bytes))
}

fn full_version(plan: &Plan) -> String {
    format!("{}-{}", plan.version, plan.release)
}

fn archive(plan: &Plan, files: impl Iterator<Item = (String, File)>) -> Result<Vec<u8>, PackageError> {
    encode(Format::Xz, Vec::new(), |out| {
        let mut tar = tar::Builder::new(out);
        payload::append(&mut tar, "./", &File { mode: 0o755, node: Node::Directory }, plan.time())?;
        for (name, file) in files {
            payload::append(&mut tar, &name, &file, plan.time())?;
        }
        Ok(tar.finish()?)
    })
}

fn control(plan: &Plan, version: &str, arch: &str) -> String {
    let mut text = format!(
        "Package: {}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: {}\nInstalled-Size: {}\n",
        plan.name,
        plan.maintainer,
        plan.size().div_ceil(1024)
    );
    for (field, list) in [("Depends", &plan.depends), ("Conflicts", &plan.conflicts), ("Provides", &plan.provides)] {
        if !list.is_empty() {
            let _ = writeln!(text, "{field}: {}", list.join(", "));
        }
    }
    let _ = writeln!(text, "Section: kernel\nPriority: optional\nDescription: {}", plan.summary);
    for line in plan.description.lines().flat_map(payload::wrapped) {
        let _ = writeln!(text, " {}", if line.is_empty() { "." } else { &line });
    }
    text
}

/// Adds the two files that Policy 12.5 and 12.7 ask for, unless the plan has them.
fn with_documents(plan: &Plan) -> Result<Plan, PackageError> {
    let mut plan = plan.clone();
    let directory = format!("/usr/share/doc/{}", plan.name);
    let mut changes = String::new();
    for line in &plan.changelog {
        let _ = writeln!(changes, "  * {line}");
    }
    if changes.is_empty() {
        changes = "  * Packaged by dkms mkpkg.\n".into();
    }
    let changelog = format!(
        "{} ({}) unstable; urgency=medium\n\n{changes}\n -- {}  {}\n",
        plan.name,
        full_version(&plan),
        plan.maintainer,
        clock::rfc5322(plan.mtime)
    );
    let mut copyright = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: {} the authors named in the source files\nLicense: {}\n",
        clock::utc(plan.mtime).year(),
        plan.licence
    );
    let file =
        ["GPL-3", "GPL-2", "GPL-1", "LGPL-2.1", "Apache-2.0"].iter().find(|known| plan.licence.starts_with(**known));
    match file {
        Some(known) => {
            let _ = writeln!(
                copyright,
                " On Debian systems the full text of this licence is in\n /usr/share/common-licenses/{known}."
            );
        }
        None => copyright.push_str(" See the source files for its text.\n"),
    }
    if !plan.files.contains_key(&format!("{directory}/copyright")) {
        plan.file(format!("{directory}/copyright"), copyright, 0o644);
    }
    plan.file(format!("{directory}/changelog.Debian.gz"), payload::gzip(changelog.as_bytes())?, 0o644);
    Ok(plan)
}
