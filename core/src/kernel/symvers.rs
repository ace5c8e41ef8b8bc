//! `Module.symvers`: which symbols a kernel and its own modules export, and the checksums of their types
//! (Documentation/kbuild/modules.rst, "Module.symvers File").

use std::collections::HashMap;
use std::path::PathBuf;

use super::headers::Headers;
use crate::compress::{self, Compression};
use crate::durable;
use crate::names::Release;
use crate::tree::Trees;

/// What a kernel exports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Symvers(HashMap<String, Export>);

/// One exported symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The checksum of its type; `None` without CONFIG_MODVERSIONS.
    pub crc: Option<u32>,
    /// The module that exports it, as a path without suffix; `None`: the kernel itself.
    pub module: Option<String>,
    /// Only modules under a licence that is compatible with the GPL get it.
    pub gpl: bool,
    /// The namespace that a module has to import for it; empty: none.
    pub namespace: String,
}

impl Symvers {
    /// Those of `release`: its headers', if they are of this kernel, else those that its package has put beside its modules or
    /// into `/boot` (Fedora, openSUSE). `None` if nobody knows.
    pub fn of(trees: &Trees, release: &Release) -> Option<Self> {
        let headers = Headers::find(trees, release, None).ok();
        let fitting = headers.filter(|headers| {
            let generated = headers.generated();
            generated.release.is_none_or(|found| found == release.as_str())
        });
        let beside = trees.modules_dir(release);
        let kinds = [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd];
        let others = kinds.into_iter().flat_map(|kind| {
            let end = kind.suffix();
            [(beside.join(format!("symvers{end}")), kind), (trees.outer(format!("/boot/symvers-{release}{end}")), kind)]
        });
        let of_headers = fitting.map(|headers| (headers.dir.join("Module.symvers"), Compression::None));
        let candidates: Vec<(PathBuf, Compression)> = of_headers.into_iter().chain(others).collect();
        candidates.into_iter().find_map(|(path, kind)| {
            let bytes = durable::bytes(&path).ok()?;
            let text = compress::decompress(&bytes, kind).ok()?;
            Self::parse(&String::from_utf8_lossy(&text))
        })
    }

    /// From the text; `None` if it names nothing of the kernel itself: the symbols of a few modules are no answer.
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = HashMap::new();
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (Some(crc), Some(symbol), Some(module), Some(kind)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let crc = crc.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let export = Export {
                crc: crc.filter(|crc| *crc != 0),
                module: (module != "vmlinux").then(|| module.to_owned()),
                gpl: kind.contains("GPL"),
                namespace: fields.next().unwrap_or_default().trim().to_owned(),
            };
            all.insert(symbol.to_owned(), export);
        }
        all.values().any(|export| export.module.is_none()).then_some(Self(all))
    }

    /// What is known of `symbol`.
    pub fn get(&self, symbol: &str) -> Option<&Export> {
        self.0.get(symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    const TEXT: &str = "0x12345678\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n0x00000000\tusb_submit\tdrivers/usb/core/usbcore\tEXPORT_SYMBOL_GPL\tUSB\nnonsense\n";

    #[test]
    fn the_text() {
        let symvers = Symvers::parse(TEXT).unwrap();
        assert_eq!(
            symvers.get("_printk"),
            Some(&Export { crc: Some(0x1234_5678), module: None, gpl: false, namespace: String::new() })
        );
        let usb = Export {
            crc: None,
            module: Some("drivers/usb/core/usbcore".to_owned()),
            gpl: true,
            namespace: "USB".to_owned(),
        };
        assert_eq!(symvers.get("usb_submit"), Some(&usb));
        assert_eq!(symvers.get("nothing"), None);
        assert_eq!(Symvers::parse("0x1\ta\t/srv/other/a\tEXPORT_SYMBOL\t\n"), None);
        assert_eq!(Symvers::parse(""), None);
    }

    #[test]
    fn where_they_are() {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        let release = Release::new("6.1").unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = trees.outer(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, bytes).unwrap();
        };
        let owner = || {
            let symvers = Symvers::of(&trees, &release)?;
            ["a", "b", "c"].into_iter().find(|name| symvers.get(name).is_some())
        };
        let text = |name: &str| format!("0x1\t{name}\tvmlinux\tEXPORT_SYMBOL\t\n");
        assert_eq!(owner(), None);
        let gzip = |text: &str| {
            let options = compress::Options::default();
            compress::compress(text.as_bytes(), Compression::Gzip, &options, tmp.path()).unwrap().bytes
        };
        put("/boot/symvers-6.1.gz", &gzip(&text("c")));
        assert_eq!(owner(), Some("c"));
        put("/lib/modules/6.1/symvers.gz", &gzip(&text("b")));
        assert_eq!(owner(), Some("b"));
        put("/lib/modules/6.1/build/include/config/auto.conf", b"");
        put("/lib/modules/6.1/build/Module.symvers", text("a").as_bytes());
        assert_eq!(owner(), Some("a"));
        // Headers of another kernel tell nothing of this one.
        put("/lib/modules/6.1/build/include/generated/utsrelease.h", b"#define UTS_RELEASE \"6.2\"\n");
        assert_eq!(owner(), Some("b"));
    }
}
