//! What kind of thing a file called `*.ko` is: is it a module, for which machine and kernel?

use std::io::{self, Read};
use std::path::Path;

use object::elf;
use object::read::elf::{ElfFile32, ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSection};

use super::codec::{self, Format};

/// No module is larger than this uncompressed (nvidia.ko, the largest known: 100 MB with symbols).
const MAX_MODULE: u64 = 512 << 20;

/// What a module says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFacts {
    /// `e_machine` of its ELF header.
    pub machine: u16,
    /// The `vermagic` of its `.modinfo`; empty without one.
    pub vermagic: String,
}

/// Reads `path`, a module with or without `.gz`, `.xz` or `.zst`. The error says what it is instead.
pub fn inspect(path: &Path) -> Result<ModuleFacts, String> {
    let bytes = read(path).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_MODULE {
        return Err(format!("is larger than {MAX_MODULE} bytes"));
    }
    let facts = match bytes.get(..5) {
        Some([0x7f, b'E', b'L', b'F', 1]) => ElfFile32::<Endianness>::parse(&*bytes)
            .ok()
            .map(|f| (f.elf_header().e_type(f.endian()), f.elf_header().e_machine(f.endian()), modinfo(&f))),
        Some([0x7f, b'E', b'L', b'F', 2]) => ElfFile64::<Endianness>::parse(&*bytes)
            .ok()
            .map(|f| (f.elf_header().e_type(f.endian()), f.elf_header().e_machine(f.endian()), modinfo(&f))),
        _ => return Err("is not an ELF file".into()),
    };
    match facts {
        None => Err("is a damaged ELF file".into()),
        Some((elf::ET_REL, machine, Some(vermagic))) => Ok(ModuleFacts { machine: machine.0, vermagic }),
        Some((elf::ET_REL, _, None)) => Err("is an object file, but no kernel module: it has no .modinfo".into()),
        Some(_) => Err("is an ELF file, but not a relocatable one as modules are".into()),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut input = io::BufReader::new(crate::durable::open_regular(path)?);
    let format = Format::of_magic(io::BufRead::fill_buf(&mut input)?);
    let mut bytes = Vec::new();
    codec::decoder(format, input)?.take(MAX_MODULE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn modinfo<'a>(file: &impl Object<'a>) -> Option<String> {
    let data = file.section_by_name(".modinfo")?.data().ok()?;
    let field = data.split(|b| *b == 0).find_map(|f| f.strip_prefix(b"vermagic="));
    Some(field.map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default())
}

/// The machine (`e_machine`, elf(5)) that modules of kernels labelled `arch` are for; `None` for a label
/// that is not known, which then can't be checked. Labels are those of `uname -m` and of distributions.
pub fn machine_of(arch: &str) -> Option<u16> {
    let machine = match arch {
        "x86_64" | "amd64" => elf::EM_X86_64,
        "i386" | "i486" | "i586" | "i686" | "x86" => elf::EM_386,
        "aarch64" | "arm64" => elf::EM_AARCH64,
        "riscv64" | "riscv32" => elf::EM_RISCV,
        "loongarch64" | "loong64" => elf::EM_LOONGARCH,
        "ppc64le" | "ppc64el" | "ppc64" => elf::EM_PPC64,
        "ppc" | "powerpc" => elf::EM_PPC,
        "s390x" | "s390" => elf::EM_S390,
        "sparc64" => elf::EM_SPARCV9,
        "alpha" => elf::EM_ALPHA,
        "m68k" => elf::EM_68K,
        "ia64" => elf::EM_IA_64,
        "parisc" | "parisc64" | "hppa" => elf::EM_PARISC,
        _ if arch.starts_with("mips") => elf::EM_MIPS,
        _ if arch.starts_with("arm") => elf::EM_ARM,
        _ => return None,
    };
    Some(machine.0)
}
