//! The metadata of an rpm repository: repomd.xml and the three lists it names, as dnf and Anaconda read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ::rpm::{Dependency, DependencyFlags, FileType, PackageMetadata};
use dkms_core::digest::Digest;

use crate::payload;
use crate::plan::PackageError;

/// The files below `repodata/` for `packages` (file name to bytes), by path relative to the repository.
pub fn files(packages: &BTreeMap<String, Vec<u8>>, mtime: i64) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    let (mut primary, mut filelists, mut other) = (String::new(), String::new(), String::new());
    for (name, bytes) in packages {
        one(name, bytes, mtime, [&mut primary, &mut filelists, &mut other])?;
    }
    const BASE: &str = "http://linux.duke.edu/metadata";
    let count = packages.len();
    let lists = [
        (
            "primary",
            format!(
                "<metadata xmlns=\"{BASE}/common\" xmlns:rpm=\"{BASE}/rpm\" packages=\"{count}\">\n{primary}</metadata>\n"
            ),
        ),
        (
            "filelists",
            format!("<filelists xmlns=\"{BASE}/filelists\" packages=\"{count}\">\n{filelists}</filelists>\n"),
        ),
        ("other", format!("<otherdata xmlns=\"{BASE}/other\" packages=\"{count}\">\n{other}</otherdata>\n")),
    ];
    const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let mut all = BTreeMap::new();
    let mut index =
        format!("{XML}<repomd xmlns=\"{BASE}/repo\" xmlns:rpm=\"{BASE}/rpm\">\n  <revision>{mtime}</revision>\n");
    for (kind, body) in lists {
        let open = format!("{XML}{body}");
        let packed = payload::gzip(open.as_bytes())?;
        let path = format!("repodata/{}-{kind}.xml.gz", Digest::of(&packed));
        let _ = write!(
            index,
            "  <data type=\"{kind}\">\n    <checksum type=\"sha256\">{}</checksum>\n    <open-checksum type=\"sha256\">{}</open-checksum>\n    <location href=\"{path}\"/>\n    <timestamp>{mtime}</timestamp>\n    <size>{}</size>\n    <open-size>{}</open-size>\n  </data>\n",
            Digest::of(&packed),
            Digest::of(open.as_bytes()),
            packed.len(),
            open.len()
        );
        all.insert(path, packed);
    }
    index.push_str("</repomd>\n");
    all.insert("repodata/repomd.xml".into(), index.into_bytes());
    Ok(all)
}

fn one(
    file: &str,
    bytes: &[u8],
    mtime: i64,
    [primary, filelists, other]: [&mut String; 3],
) -> Result<(), PackageError> {
    let meta = PackageMetadata::parse(&mut &*bytes)?;
    let digest = Digest::of(bytes);
    let (name, arch) = (escaped(meta.get_name()?), escaped(meta.get_arch()?));
    let (version, release) = (escaped(meta.get_version()?), escaped(meta.get_release()?));
    let version = format!("<version epoch=\"{}\" ver=\"{version}\" rel=\"{release}\"/>", meta.get_epoch().unwrap_or(0));
    let range = meta.get_package_segment_offsets();
    let _ = write!(
        primary,
        "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>{arch}</arch>\n  {version}\n  <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum>\n  <summary>{}</summary>\n  <description>{}</description>\n  <packager>{}</packager>\n  <url></url>\n  <time file=\"{mtime}\" build=\"{}\"/>\n  <size package=\"{}\" installed=\"{}\" archive=\"0\"/>\n  <location href=\"{}\"/>\n  <format>\n    <rpm:license>{}</rpm:license>\n    <rpm:group>{}</rpm:group>\n    <rpm:buildhost>localhost</rpm:buildhost>\n    <rpm:header-range start=\"{}\" end=\"{}\"/>\n",
        escaped(meta.get_summary()?),
        escaped(meta.get_description()?),
        escaped(meta.get_packager().unwrap_or_default()),
        meta.get_build_time().unwrap_or(0),
        bytes.len(),
        meta.get_installed_size().unwrap_or(0),
        escaped(file),
        escaped(meta.get_license()?),
        escaped(meta.get_group().unwrap_or("Unspecified")),
        range.header,
        range.payload,
    );
    relations(primary, "provides", &meta.get_provides()?);
    relations(primary, "requires", &meta.get_requires()?);
    relations(primary, "conflicts", &meta.get_conflicts()?);
    primary.push_str("  </format>\n</package>\n");
    let head = format!("<package pkgid=\"{digest}\" name=\"{name}\" arch=\"{arch}\">\n  {version}\n");
    filelists.push_str(&head);
    for entry in meta.get_file_entries()? {
        let kind = if entry.mode().file_type() == FileType::Dir { " type=\"dir\"" } else { "" };
        let _ = writeln!(filelists, "  <file{kind}>{}</file>", escaped(&entry.path().to_string_lossy()));
    }
    filelists.push_str("</package>\n");
    let _ = writeln!(other, "{head}</package>");
    Ok(())
}

fn relations(text: &mut String, kind: &str, list: &[Dependency]) {
    // What rpm itself must be able to do is no package.
    let list: Vec<_> = list.iter().filter(|d| !d.name.starts_with("rpmlib(")).collect();
    if list.is_empty() {
        return;
    }
    let _ = writeln!(text, "    <rpm:{kind}>");
    for dependency in list {
        let (less, greater, equal) = (
            dependency.flags.contains(DependencyFlags::LESS),
            dependency.flags.contains(DependencyFlags::GREATER),
            dependency.flags.contains(DependencyFlags::EQUAL),
        );
        let flags = match (less, greater, equal) {
            (true, _, true) => "LE",
            (true, _, false) => "LT",
            (_, true, true) => "GE",
            (_, true, false) => "GT",
            (_, _, true) => "EQ",
            _ => "",
        };
        let _ = write!(text, "      <rpm:entry name=\"{}\"", escaped(&dependency.name));
        if !flags.is_empty() {
            let (epoch, rest) = dependency.version.split_once(':').unwrap_or(("0", &dependency.version));
            let (version, release) = rest.split_once('-').map_or((rest, None), |(v, r)| (v, Some(r)));
            let _ = write!(text, " flags=\"{flags}\" epoch=\"{}\" ver=\"{}\"", escaped(epoch), escaped(version));
            if let Some(release) = release {
                let _ = write!(text, " rel=\"{}\"", escaped(release));
            }
        }
        text.push_str("/>\n");
    }
    let _ = writeln!(text, "    </rpm:{kind}>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
