//! Archives and packages by hand, for test beds:
//! `package FAMILY NAME VERSION SOURCE OUT [KERNEL ARCH KERNEL-PACKAGE|- MODULE...]`, `package load ARCHIVE DIR`,
//! `package save NAME VERSION SOURCE|CONF TARGET [KERNEL ARCH ARTEFACT]...`.

use std::path::{Path, PathBuf};

use dkms_core::archive::{layout, reader, writer};
use dkms_core::names::{Kernel, Package};
use dkms_mkpkg::{Family, binary, source};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["load", archive, beside] => {
            let unpacked = reader::unpack(Path::new(archive), Path::new(beside), &reader::Limits::default())?;
            let layout = layout::understand(unpacked.path())?;
            std::fs::write(Path::new(beside).join("layout"), format!("{layout:#?}\n"))?;
        }
        ["save", name, version, from, target, ref rest @ ..] => {
            let from = Path::new(from);
            let mut artefacts = Vec::new();
            for part in rest.chunks_exact(3) {
                artefacts.push((Kernel::new(part[0], part[1])?, PathBuf::from(part[2])));
            }
            let source = if from.is_dir() { writer::Source::Tree(from) } else { writer::Source::ConfOnly(from) };
            let package = &Package::new(name, version)?;
            writer::write(
                &writer::Plan { package, source, artefacts, mtime: Some(1_700_000_000), forbidden: &[] },
                Path::new(target),
            )?;
        }
        [family, name, version, tree, out, ref rest @ ..] => {
            let family = match family {
                "deb" => Family::Deb,
                "rpm" => Family::Rpm,
                _ => Family::Arch,
            };
            let about = source::About {
                release: "1".into(),
                summary: String::new(),
                description: String::new(),
                licence: "GPL-2.0-or-later".into(),
                maintainer: "A. Vendor <vendor@example.com>".into(),
                changelog: vec![],
                mtime: 1_700_000_000,
            };
            let package = Package::new(name, version)?;
            let plan = if let [kernel, arch, kernel_package, modules @ ..] = rest {
                let built = binary::Prebuilt {
                    kernel: Kernel::new(kernel, arch)?,
                    modules: modules.iter().map(PathBuf::from).collect(),
                    kernel_package: (*kernel_package != "-").then(|| kernel_package.to_owned()).map(str::to_owned),
                    in_place: false,
                };
                binary::plan(family, &package, &built, &about)?
            } else {
                source::plan(family, &package, Path::new(tree), &about)?
            };
            let (file, bytes) = dkms_mkpkg::write(family, &plan)?;
            std::fs::write(Path::new(out).join(file), bytes)?;
        }
        _ => return Err("see the top of this file".into()),
    }
    Ok(())
}
