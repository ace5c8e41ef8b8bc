//! Kernel modules of a few hundred bytes: what depmod looks at, and nothing else.

/// What a module says.
#[derive(Debug, Default)]
pub struct Ko {
    /// `key=value`.
    pub modinfo: Vec<String>,
    /// Symbols that it exports.
    pub exports: Vec<String>,
    /// Whether these have checksums.
    pub has_checksums: bool,
    /// Symbols that it needs.
    pub needs: Vec<String>,
    /// Symbols that it can do without.
    pub weak: Vec<String>,
    /// Symbols in `__versions`.
    pub versions: Vec<String>,
}

impl Ko {
    /// A relocatable ELF file for x86-64 (System V ABI, figures 4-3, 4-8, 4-16).
    pub fn bytes(&self) -> Vec<u8> {
        let texts =
            |texts: &[String]| texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect::<Vec<u8>>();
        let mut modinfo = texts(&self.modinfo);
        modinfo.extend(b"license=GPL\0name=x\0");
        let mut versions = Vec::new();
        for name in &self.versions {
            let mut entry = [&1_u64.to_le_bytes()[..], name.as_bytes()].concat();
            entry.resize(64, 0);
            versions.extend(entry);
        }
        // The first symbol is nobody.
        let (mut symbols, mut names) = (vec![0_u8; 24], vec![0_u8]);
        let mut symbol = |name: &str, binding: u8, section: u16| {
            symbols.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
            symbols.extend([binding << 4, 0]);
            symbols.extend(section.to_le_bytes());
            symbols.extend([0; 16]);
            names.extend([name.as_bytes(), b"\0"].concat());
        };
        const ABSOLUTE: u16 = 0xfff1;
        for name in self.exports.iter().filter(|_| self.has_checksums) {
            symbol(&format!("__crc_{name}"), 1, ABSOLUTE);
        }
        for (index, name) in self.needs.iter().enumerate() {
            // A linker names each once.
            if !self.needs[..index].contains(name) {
                symbol(name, 1, 0);
            }
        }
        for name in self.weak.iter().filter(|name| !self.needs.contains(name)) {
            symbol(name, 2, 0);
        }
        // Name, type, content, link, size of an entry.
        let sections: [(&str, u32, Vec<u8>, u32, u64); 6] = [
            (".modinfo", 1, modinfo, 0, 0),
            ("__ksymtab_strings", 1, texts(&self.exports), 0, 0),
            ("__versions", 1, versions, 0, 0),
            (".symtab", 2, symbols, 5, 24),
            (".strtab", 3, names, 0, 0),
            (".shstrtab", 3, Vec::new(), 0, 0),
        ];
        let mut section_names = vec![0_u8];
        let places: Vec<u32> = sections
            .iter()
            .map(|section| {
                let at = u32::try_from(section_names.len()).unwrap();
                section_names.extend([section.0.as_bytes(), b"\0"].concat());
                at
            })
            .collect();
        let mut bytes = vec![0_u8; 64];
        let mut headers = vec![0_u8; 64];
        for (section, name) in sections.iter().zip(places) {
            let content = if section.0 == ".shstrtab" { &section_names } else { &section.2 };
            bytes.resize(bytes.len().div_ceil(8) * 8, 0);
            headers.extend(name.to_le_bytes());
            headers.extend(section.1.to_le_bytes());
            headers.extend([0; 16]);
            headers.extend((bytes.len() as u64).to_le_bytes());
            headers.extend((content.len() as u64).to_le_bytes());
            headers.extend(section.3.to_le_bytes());
            // All symbols but the first are global.
            headers.extend(1_u32.to_le_bytes());
            headers.extend(8_u64.to_le_bytes());
            headers.extend(section.4.to_le_bytes());
            bytes.extend(content);
        }
        bytes.resize(bytes.len().div_ceil(8) * 8, 0);
        let at = bytes.len() as u64;
        bytes.extend(headers);
        bytes[..20].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 62, 0]);
        bytes[20] = 1;
        bytes[40..48].copy_from_slice(&at.to_le_bytes());
        bytes[52..54].copy_from_slice(&64_u16.to_le_bytes());
        bytes[58..60].copy_from_slice(&64_u16.to_le_bytes());
        bytes[60..62].copy_from_slice(&7_u16.to_le_bytes());
        bytes[62..64].copy_from_slice(&6_u16.to_le_bytes());
        bytes
    }
}
