//! `.pkg.tar.zst` packages for pacman (PKGBUILD(5), BUILDINFO(5), mtree(5), alpm-hooks; alpm-pkginfo(5)).

use std::fmt::Write as _;

use dkms_core::archive::codec::{Format, encode};
use dkms_core::digest::Digest;

use crate::payload;
use crate::plan::{File, Node, PackageError, Plan};

/// The package's file name and bytes.
pub fn write(plan: &Plan) -> Result<(String, Vec<u8>), PackageError> {
    let arch = plan.arch.as_deref().unwrap_or("any");
    let version = format!("{}-{}", plan.version, plan.release);
    let text = |text: String| File { mode: 0o644, node: Node::Regular(text.into_bytes()) };
    let mut first = vec![(".BUILDINFO".to_owned(), text(build_info(plan, &version, arch)))];
    let mut after = vec![(".PKGINFO".to_owned(), text(package_info(plan, &version, arch)))];
    let install = install_script(plan);
    if !install.is_empty() {
        after.insert(0, (".INSTALL".to_owned(), text(install)));
    }
    let files = payload::with_directories(plan);
    let listed = first.iter().chain(&after).map(|(n, f)| (n, f)).chain(&files);
    let mtree = mtree(plan, listed);
    first.push((".MTREE".to_owned(), File { mode: 0o644, node: Node::Regular(payload::gzip(mtree.as_bytes())?) }));
    let bytes = encode(Format::Zstd, Vec::new(), |out| {
        let mut tar = tar::Builder::new(out);
        for (name, file) in first.iter().chain(&after).map(|(n, f)| (n, f)).chain(&files) {
            payload::append(&mut tar, name, file, plan.time())?;
        }
        tar.finish().map_err(PackageError::from)
    })?;
    Ok((format!("{}-{version}-{arch}.pkg.tar.zst", plan.name), bytes))
}

fn package_info(plan: &Plan, version: &str, arch: &str) -> String {
    let mut text = format!(
        "pkgname = {name}\npkgbase = {name}\nxdata = pkgtype=pkg\npkgver = {version}\npkgdesc = {}\nbuilddate = {}\npackager = {}\nsize = {}\narch = {arch}\nlicense = {}\n",
        plan.summary,
        plan.time(),
        plan.maintainer,
        plan.size(),
        plan.licence,
        name = plan.name,
    );
    for (key, list) in [("conflict", &plan.conflicts), ("provides", &plan.provides), ("depend", &plan.depends)] {
        for item in list {
            let _ = writeln!(text, "{key} = {item}");
        }
    }
    text
}

fn build_info(plan: &Plan, version: &str, arch: &str) -> String {
    let nothing = Digest::of(b"");
    format!(
        "format = 2\npkgname = {name}\npkgbase = {name}\npkgver = {version}\npkgarch = {arch}\npkgbuild_sha256sum = {nothing}\npackager = {}\nbuilddate = {}\nbuilddir = /build\nstartdir = /startdir\nbuildtool = dkms\nbuildtoolver = {}\n",
        plan.maintainer,
        plan.time(),
        env!("CARGO_PKG_VERSION"),
        name = plan.name,
    )
}

fn install_script(plan: &Plan) -> String {
    let scripts = &plan.scripts;
    let mut text = String::new();
    let functions = [
        ("post_install", &scripts.post_install),
        ("post_upgrade", &scripts.post_install),
        ("pre_remove", &scripts.pre_remove),
        ("post_remove", &scripts.post_remove),
    ];
    for (name, body) in functions {
        if !body.is_empty() {
            let _ = write!(text, "{name}() {{\n{body}}}\n");
        }
    }
    text
}

fn mtree<'a>(plan: &Plan, files: impl Iterator<Item = (&'a String, &'a File)>) -> String {
    let mut text = String::from("#mtree\n/set type=file uid=0 gid=0 mode=644\n");
    for (path, file) in files {
        let _ = write!(text, "./{} time={}.0", escaped(path), plan.time());
        let _ = match &file.node {
            Node::Directory => writeln!(text, " mode={:o} type=dir", file.mode),
            Node::Link(target) => writeln!(text, " mode=777 type=link link={}", escaped(target)),
            Node::Regular(content) => {
                if file.mode != 0o644 {
                    let _ = write!(text, " mode={:o}", file.mode);
                }
                writeln!(
                    text,
                    " size={} md5digest={} sha256digest={}",
                    content.len(),
                    payload::md5(content),
                    Digest::of(content)
                )
            }
        };
    }
    text
}

/// Octal escapes as in vis(3) for what would end a word.
fn escaped(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !b"\\#=*?[".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:03o}");
        }
    }
    text
}
