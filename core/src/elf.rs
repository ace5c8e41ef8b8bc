//! What a kernel module says about itself.

pub mod release;
pub mod symbols;

use std::path::Path;

use object::{Object, ObjectKind, ObjectSection};

use crate::compress::{self, CompressError};
use crate::sign::{self, Message, Untrusted};

/// Why a file's facts can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It does not begin like an ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// An ELF file, but not a relocatable object.
    #[error("an ELF file, but not a kernel module (not relocatable)")]
    NotRelocatable,
    /// An ELF file that is cut or malformed.
    #[error("a damaged or cut ELF file: {0}")]
    Damaged(
        /// What is wrong.
        String,
    ),
    /// The file can't be read or decompressed.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: CompressError,
    },
}

/// In bytes; amdgpu, which names the most firmware files and devices, has 60,000.
const LONGEST_MODINFO: usize = 1 << 20;

/// The signature appended to a module, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// None.
    None,
    /// The magic line is there, the signature is garbage.
    Broken,
    /// What it says.
    Signed(Message),
}

/// The facts of one module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The machine it runs on, in the words of `uname -m` ("x86_64", "aarch64", "ppc64le",
    /// "i686", "arm"); "unknown" if we have no word for it.
    pub machine: &'static str,
    /// All of `.modinfo` in order, `key` and `value`.
    pub modinfo: Vec<(String, String)>,
    /// Whether there are debug sections.
    pub has_debug: bool,
    /// Its appended signature.
    pub signature: Signature,
    /// kbuild has made a module of it: it has what a kernel registers, or says for which one it is. An object file has neither.
    pub is_linked: bool,
}

impl Module {
    /// Reads a module file, decompressed by its suffix.
    pub fn read(path: &Path) -> Result<Self, ElfError> {
        let bytes = compress::read_module(path).map_err(|source| ElfError::Read { path: path.to_owned(), source })?;
        Self::parse(&bytes)
    }

    /// Reads the facts from a module's bytes (not compressed).
    pub fn parse(bytes: &[u8]) -> Result<Self, ElfError> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let damaged = |error: object::Error| ElfError::Damaged(error.to_string());
        let file = object::File::parse(bytes).map_err(damaged)?;
        if file.kind() != ObjectKind::Relocatable {
            return Err(ElfError::NotRelocatable);
        }
        let mut modinfo = Vec::new();
        let mut has_debug = false;
        let mut is_linked = false;
        for section in file.sections() {
            let name = section.name_bytes().map_err(damaged)?;
            has_debug |= name.starts_with(b".debug_") || name.starts_with(b".zdebug_");
            is_linked |= name == b".gnu.linkonce.this_module";
            // The first one, as the kernel takes it.
            if name == b".modinfo" && modinfo.is_empty() {
                let data = section.data().map_err(damaged)?;
                if data.len() > LONGEST_MODINFO {
                    return Err(ElfError::Damaged(format!("its .modinfo has {} bytes", data.len())));
                }
                modinfo = fields(data);
            }
        }
        is_linked |= modinfo.iter().any(|(key, _)| key == "vermagic");
        Ok(Self {
            machine: machine(&file),
            modinfo,
            is_linked,
            has_debug,
            signature: match sign::facts(bytes) {
                Ok(message) => Signature::Signed(message),
                Err(Untrusted::Unsigned) => Signature::None,
                Err(_) => Signature::Broken,
            },
        })
    }

    /// The first value of a `.modinfo` field.
    pub fn field(&self, key: &str) -> Option<&str> {
        self.modinfo.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// All values of a `.modinfo` field (`alias`, `firmware`, …).
    pub fn fields<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.modinfo.iter().filter(move |(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// Modules this one depends on.
    pub fn depends(&self) -> Vec<&str> {
        self.field("depends").unwrap_or_default().split(',').filter(|name| !name.is_empty()).collect()
    }

    /// Whether this module can run on a machine that `uname -m` or a distribution calls `label`.
    /// Labels or machines we do not know are given the benefit of the doubt.
    pub fn runs_on(&self, label: &str) -> bool {
        self.machine == "unknown" || machine_of_label(label).is_none_or(|is| is == self.machine)
    }
}

/// Our word for a machine or architecture label ("amd64" and "x86_64" are one, as are the i?86);
/// `None` if we do not know it.
pub fn machine_of_label(label: &str) -> Option<&'static str> {
    Some(match label {
        "x86_64" | "amd64" => "x86_64",
        "i386" | "i486" | "i586" | "i686" | "x86" => "i686",
        "aarch64" | "arm64" => "aarch64",
        "ppc64le" | "ppc64el" => "ppc64le",
        "ppc64" => "ppc64",
        "ppc" | "powerpc" => "ppc",
        "riscv64" => "riscv64",
        "riscv32" => "riscv32",
        "s390x" => "s390x",
        "loongarch64" | "loong64" => "loongarch64",
        label if label.starts_with("arm") => "arm",
        _ => return None,
    })
}

fn machine(file: &object::File<'_>) -> &'static str {
    use object::Architecture as A;
    match (file.architecture(), file.is_little_endian()) {
        (A::X86_64, _) => "x86_64",
        (A::I386, _) => "i686",
        (A::Aarch64, _) => "aarch64",
        (A::Arm, _) => "arm",
        (A::PowerPc64, true) => "ppc64le",
        (A::PowerPc64, false) => "ppc64",
        (A::PowerPc, _) => "ppc",
        (A::Riscv64, _) => "riscv64",
        (A::Riscv32, _) => "riscv32",
        (A::S390x, _) => "s390x",
        (A::LoongArch64, _) => "loongarch64",
        _ => "unknown",
    }
}

/// `.modinfo` is `key=value` texts, each ended by one or more NULs.
fn fields(section: &[u8]) -> Vec<(String, String)> {
    section
        .split(|byte| *byte == 0)
        .filter(|text| !text.is_empty())
        .map(|text| {
            let text = String::from_utf8_lossy(text);
            let (key, value) = text.split_once('=').unwrap_or((&text, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::layout::tests::fake_module;
    use crate::compress::{Compression, Options};

    fn fixture(name: &str) -> Vec<u8> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign");
        fs_err::read(dir.join(name)).unwrap()
    }

    #[test]
    fn a_module_says_what_it_is() {
        let module = Module::parse(&fixture("module.ko")).unwrap();
        assert_eq!(module.machine, "x86_64");
        assert_eq!(module.field("version"), Some("1.2-test"));
        assert_eq!(module.field("srcversion"), Some("0123456789ABCDEF0123456"));
        assert_eq!(module.field("name"), Some("tiny"));
        assert_eq!(module.field("vermagic"), Some("6.12.117+deb13-amd64 SMP preempt mod_unload modversions "));
        assert_eq!(module.fields("alias").count(), 2);
        assert_eq!(module.depends(), ["usbcore", "videodev"]);
        assert_eq!(module.field("nothing"), None);
        assert!(module.has_debug);
        assert_eq!(module.signature, Signature::None);
        assert!(module.is_linked);
        assert!(module.runs_on("amd64") && module.runs_on("a-label-of-tomorrow"));
        assert!(!module.runs_on("i686") && !module.runs_on("arm64"));
    }

    #[test]
    fn a_signed_and_compressed_one_too() {
        let signed = fixture("rsa4096.sha384.signed");
        let tmp = tempfile::tempdir().unwrap();
        let xz = crate::compress::compress(&signed, Compression::Xz, &Options::default(), tmp.path()).unwrap();
        let path = tmp.path().join("m.ko.xz");
        fs_err::write(&path, &xz.bytes).unwrap();
        let module = Module::read(&path).unwrap();
        let Signature::Signed(message) = &module.signature else { panic!("{module:?}") };
        assert_eq!(message.hash, "sha384");
        assert_eq!(message.signer_name().unwrap(), "dkms test rsa4096");
        assert_eq!(module.field("name"), Some("tiny"));
    }

    /// An ELF file with these sections, each a kind of `sh_type` and its bytes; its section names are empty but for `.modinfo`.
    fn elf_with(sections: &[(&str, u32, Vec<u8>)]) -> Vec<u8> {
        let mut elf = fake_module(62, 1, "6.1");
        let at = usize::try_from(u64::from_le_bytes(elf[40..48].try_into().unwrap())).unwrap();
        let mut headers = elf.split_off(at);
        for (name, kind, bytes) in sections {
            let begin = elf.len() as u64;
            elf.extend(bytes);
            let mut header = vec![0_u8; 64];
            header[..4].copy_from_slice(&u32::from(*name == ".modinfo").to_le_bytes());
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[24..32].copy_from_slice(&begin.to_le_bytes());
            header[32..40].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
            // A table of symbols: its names are in the section after it, each entry has 24 bytes.
            header[40..44].copy_from_slice(&4_u32.to_le_bytes());
            header[56..64].copy_from_slice(&24_u64.to_le_bytes());
            headers.extend(header);
        }
        elf.resize(elf.len().div_ceil(8) * 8, 0);
        let begin = elf.len() as u64;
        elf[40..48].copy_from_slice(&begin.to_le_bytes());
        let count = u16::try_from(3 + sections.len()).unwrap();
        elf[60..62].copy_from_slice(&count.to_le_bytes());
        elf.extend(headers);
        elf
    }

    /// A file of a build's costs no more than its own size, whatever it refers to how often.
    #[test]
    fn what_a_module_names_is_bounded() {
        // 20,000 undefined symbols that share one name of 1 MB: 20 GB, if each is given it.
        let symbol = [1_u32.to_le_bytes().to_vec(), vec![0; 20]].concat();
        let names = [vec![0], vec![b'a'; 1 << 20], vec![0]].concat();
        let many = elf_with(&[("", 2, symbol.repeat(20_000)), ("", 3, names)]);
        assert_eq!(Module::parse(&many).unwrap().field("license"), Some("GPL"));
        assert!(object::File::parse(&*many).unwrap().symbols().count() > 10_000, "the symbols are in it");
        let fields = Module::parse(&elf_with(&[(".modinfo", 1, b"license=X\0".to_vec())])).unwrap();
        assert_eq!(fields.fields("license").collect::<Vec<_>>(), ["GPL"], "the first one counts");
        let long = fake_module(62, 1, &"a=\0".repeat(LONGEST_MODINFO / 3));
        let error = Module::parse(&long).unwrap_err();
        assert!(error.to_string().contains(".modinfo"), "{error}");
    }

    #[test]
    fn other_files_are_typed_errors() {
        assert!(matches!(Module::parse(b""), Err(ElfError::NotElf)));
        assert!(matches!(Module::parse(b"#!/bin/sh"), Err(ElfError::NotElf)));
        let own = fs_err::read("/proc/self/exe").unwrap();
        assert!(matches!(Module::parse(&own), Err(ElfError::NotRelocatable)));
        let whole = fixture("module.ko");
        for cut in [4, 63, 64, 1000, whole.len() / 2, whole.len() - 1] {
            let error = Module::parse(&whole[..cut]).unwrap_err();
            assert!(matches!(error, ElfError::Damaged(_)), "{cut}: {error}");
        }
        let error = Module::read(Path::new("/nowhere/x.ko")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/x.ko"));
    }
}
