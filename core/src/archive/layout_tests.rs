use super::*;

/// A small ELF file with a `.modinfo`: what a module looks like to a verifier.
pub(crate) fn fake_module(machine: u16, kind: u16, vermagic: &str) -> Vec<u8> {
    let modinfo = format!("license=GPL\0vermagic={vermagic} SMP preempt mod_unload \0");
    let names = b"\0.modinfo\0.shstrtab\0";
    let (info_at, names_at) = (64, 64 + modinfo.len());
    let sections_at = (names_at + names.len()).div_ceil(8) * 8;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    elf.extend(kind.to_le_bytes());
    elf.extend(machine.to_le_bytes());
    elf.extend(1u32.to_le_bytes());
    elf.extend([0; 16]);
    elf.extend((sections_at as u64).to_le_bytes());
    elf.extend([0; 4]);
    for field in [64u16, 0, 0, 64, 3, 2] {
        elf.extend(field.to_le_bytes());
    }
    elf.extend(modinfo.as_bytes());
    elf.extend(names);
    elf.resize(sections_at + 64, 0);
    for (name, at, size) in [(1u32, info_at, modinfo.len()), (10, names_at, names.len())] {
        elf.extend(name.to_le_bytes());
        elf.extend((if name == 1 { 1u32 } else { 3 }).to_le_bytes());
        elf.extend(0u64.to_le_bytes());
        elf.extend(0u64.to_le_bytes());
        elf.extend((at as u64).to_le_bytes());
        elf.extend((size as u64).to_le_bytes());
        elf.extend([0; 24]);
    }
    elf
}

const K: &str = "6.1.0-test";

struct Bed(tempfile::TempDir);

impl Bed {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn put(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }
    fn link(self, path: &str, target: &str) -> Self {
        std::os::unix::fs::symlink(target, self.0.path().join(path)).unwrap();
        self
    }
    fn module(self) -> Self {
        self.put(&format!("{MAIN_TREE}/{K}/x86_64/module/hello.ko"), fake_module(62, 1, K))
    }
    fn only(self) -> Self {
        self.put("dkms_binaries_only/dkms.conf", "")
            .put("dkms_binaries_only/PACKAGE_NAME", "hello\n")
            .put("dkms_binaries_only/PACKAGE_VERSION", "1.0\n")
    }
    fn source(self) -> Self {
        self.put("dkms_source_tree/dkms.conf", "")
    }
    fn read(&self) -> Result<Layout, LayoutError> {
        understand(self.0.path())
    }
    fn refused(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

#[test]
fn the_kinds_are_told_apart() {
    let bed = Bed::new().put("b/c/dkms.conf", "").put("z/dkms.conf", "");
    assert_eq!(bed.read().unwrap().kind, Kind::SourceOnly { source: bed.0.path().join("z") });
    let bed = Bed::new().source();
    std::fs::create_dir(bed.0.path().join(MAIN_TREE)).unwrap();
    assert_eq!(bed.read().unwrap().kind, Kind::SourceOnly { source: bed.0.path().join(SOURCE_TREE) });
    let layout = Bed::new().source().module().read().unwrap();
    assert!(matches!(layout.kind, Kind::SourceAndBinaries { .. }));
    assert_eq!(layout.binaries[0].kernel, Kernel::new(K, "x86_64").unwrap());
    let layout = Bed::new().only().module().put(&format!("{MAIN_TREE}/dkms_dbversion"), "2.0.0\n").read().unwrap();
    assert_eq!(layout.kind, Kind::BinariesOnly { package: Package::new("hello", "1.0").unwrap() });
    assert_eq!(layout.binaries.len(), 1);
}

#[test]
fn compressed_modules_and_several_kernels_pass() {
    use super::super::codec::{Format, encode};
    let mut bed = Bed::new().source();
    for (n, (suffix, format)) in
        [("xz", Format::Xz), ("gz", Format::Gzip), ("zst", Format::Zstd)].into_iter().enumerate()
    {
        let release = format!("6.{n}.0");
        let packed = encode(format, Vec::new(), |w| w.write_all(&fake_module(183, 1, &release))).unwrap();
        bed = bed.put(&format!("{MAIN_TREE}/{release}/aarch64/module/a.ko.{suffix}"), packed);
    }
    assert_eq!(bed.read().unwrap().binaries.len(), 3);
}

#[test]
fn what_is_no_archive_of_ours_is_refused() {
    let main = |path: &str| format!("{MAIN_TREE}/{K}/x86_64/{path}");
    let cases = [
        (Bed::new().put("README", ""), "No dkms.conf found"),
        (Bed::new().module(), "No valid dkms.conf"),
        (Bed::new().module().put("dkms_binaries_only/dkms.conf", ""), "no usable PACKAGE_NAME"),
        (Bed::new().module().only().put("dkms_binaries_only/PACKAGE_NAME", "../x"), "slash"),
        (Bed::new().only().put(&format!("{MAIN_TREE}/dkms_dbversion"), "2.0.0"), "has none"),
        (Bed::new().source().module().put(&format!("{MAIN_TREE}/dkms_dbversion"), "3.0"), "only 2.0.0"),
        (Bed::new().source().put(&format!("{MAIN_TREE}/README"), ""), "not a kernel"),
        (Bed::new().source().put(&format!("{MAIN_TREE}/source/x86_64/module/a.ko"), ""), "another meaning"),
        (Bed::new().source().put(&format!("{MAIN_TREE}/a b/x86_64/module/a.ko"), ""), "white space"),
        (Bed::new().source().put(&format!("{MAIN_TREE}/{K}/.x/module/a.ko"), ""), "begins with a dot"),
        (Bed::new().source().put(&main("log/make.log"), ""), "no directory \"module\""),
        (Bed::new().source().put(&main("module/README"), ""), "no modules"),
        (Bed::new().source().put(&main("module/a.ko"), "text"), "not an ELF file"),
        (Bed::new().source().put(&main("module/a.ko"), b"\x7fELF\x02\x01\x01"), "damaged ELF"),
        (Bed::new().source().put(&main("module/a.ko.xz"), b"\xfd7zXZ\0broken"), "cannot be read"),
        (Bed::new().source().put(&main("module/a.ko"), fake_module(62, 2, K)), "not a relocatable"),
        (Bed::new().source().put(&main("module/a.ko"), fake_module(183, 1, K)), "another architecture"),
        (Bed::new().source().put(&main("module/a.ko"), fake_module(62, 1, "5.0")), "built for the kernel \"5.0\""),
        (Bed::new().source().module().put(&main("module/hello.ko.xz"), "x"), "there twice"),
        (Bed::new().source().module().link(&main("module/b.ko"), "hello.ko"), "no links"),
        (Bed::new().source().module().link("dkms_source_tree/l", "../dkms_main_tree"), "leads out"),
        (Bed::new().put("p/dkms.conf", "").link("p/l", "../other"), "leads out"),
    ];
    for (bed, expected) in cases {
        let text = bed.refused();
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn manifests_are_believed_only_when_true() {
    let module = fake_module(62, 1, "5.0");
    let manifest = |kernel: &str, file: &str, digest: &Digest| {
        format!(
            r#"{{"format":1,"package":{{"name":"hello","version":"1.0"}},"kernel":{{"release":"{kernel}","arch":"x86_64"}},"modules":[{{"file":"{file}","digest":"{digest}"}}]}}"#
        )
    };
    let bed = |text: String| {
        Bed::new()
            .source()
            .put(&format!("{MAIN_TREE}/{K}/x86_64/module/a.ko"), &module)
            .put(&format!("{MAIN_TREE}/{K}/x86_64/{MANIFEST}"), text)
    };
    let good = Digest::of(&module);
    assert_eq!(
        bed(manifest(K, "a.ko", &good)).read().unwrap().binaries[0].manifest_package,
        Some(Package::new("hello", "1.0").unwrap())
    );
    for (text, expected) in [
        (manifest("5.0", "a.ko", &good), "about the kernel"),
        (manifest(K, "b.ko", &good), "names a module"),
        (manifest(K, "../module/a.ko", &good), "names a module"),
        (manifest(K, "a.ko", &Digest::of(b"")), "another digest"),
        (manifest(K, "a.ko", &good).replace(r#"{"file":"a.ko""#, r#"{"file":"a.ko","digest":"x"},{"file":"a.ko""#), ""),
        (
            r#"{"package":{"name":"h","version":"1"},"kernel":{"release":"6.1.0-test","arch":"x86_64"},"modules":[]}"#
                .into(),
            "every module",
        ),
        ("not json".into(), "cannot be understood"),
    ] {
        let refusal = bed(text).refused();
        assert!(refusal.contains(expected), "{refusal}");
    }
}
