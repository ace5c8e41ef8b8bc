use super::*;

/// A real module many times over: about 1.4 MB, more than the xz dictionary.
fn large() -> Vec<u8> {
    let module = fs_err::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign/module.ko")).unwrap();
    let mut out = Vec::new();
    for i in 0_u32..280 {
        out.extend_from_slice(&module);
        out.extend_from_slice(&i.wrapping_mul(2_654_435_761).to_le_bytes());
    }
    out
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// What a real program makes of `bytes` on its standard output.
fn real(program: &str, options: &str, bytes: &[u8]) -> Vec<u8> {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("m.ko");
    fs_err::write(&file, bytes).unwrap();
    let ended = crate::process::command(program).args(words(options)).arg("-c").arg(&file).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    ended.stdout
}

#[test]
fn xz_is_byte_identical_to_the_program() {
    let tmp = tempfile::tempdir().unwrap();
    for bytes in [Vec::new(), b"short".to_vec(), large()] {
        for options in ["--check=crc32 --lzma2=dict=1MiB", "--check=crc32 -9", "-2", ""] {
            let ours = Options { xz: words(options), ..Options::default() };
            let ours = compress(&bytes, Compression::Xz, &ours, tmp.path()).unwrap();
            assert_eq!(ours.fell_back, None);
            assert!(
                ours.bytes == real("xz", &format!("-T1 {options}"), &bytes),
                "{options:?} on {} bytes",
                bytes.len()
            );
        }
    }
}

#[test]
fn every_format_comes_back_and_the_programs_can_read_it() {
    let tmp = tempfile::tempdir().unwrap();
    for bytes in [Vec::new(), large()] {
        for kind in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
            let out = compress(&bytes, kind, &Options::default(), tmp.path()).unwrap();
            assert!(decompress(&out.bytes, kind).unwrap() == bytes, "{kind}");
            let path = tmp.path().join(format!("m.ko{}", kind.suffix()));
            fs_err::write(&path, &out.bytes).unwrap();
            assert!(read_module(&path).unwrap() == bytes, "{kind}");
            if let Some(program) = kind.program() {
                let ended = crate::process::command(program).arg("-dc").arg(&path).output().unwrap();
                assert!(ended.status.success() && ended.stdout == bytes, "{kind}");
                let theirs = real(program, "-q", &bytes);
                assert!(decompress(&theirs, kind).unwrap() == bytes, "{kind}");
            }
        }
    }
    assert_eq!(fs_err::read_dir(tmp.path()).unwrap().count(), 4);
}

#[test]
fn gzip_has_no_name_or_time_and_zstd_a_known_size_and_checksum() {
    let tmp = tempfile::tempdir().unwrap();
    let all = Options::default();
    let gz = compress(b"x", Compression::Gzip, &all, tmp.path()).unwrap();
    assert_eq!(gz.bytes[3..8], [0; 5], "flags and time");
    let zst = compress(&large(), Compression::Zstd, &all, tmp.path()).unwrap();
    // RFC 8878 3.1.1.1.1: content size field present (bits 7-6), checksum (bit 2).
    assert!(zst.bytes[4] & 0xc0 != 0 && zst.bytes[4] & 4 != 0);
}

#[test]
fn odd_options_go_to_the_program_and_failures_fall_back() {
    let tmp = tempfile::tempdir().unwrap();
    let bytes = large();
    let options = Options {
        gzip: words("--rsyncable"),
        xz: words("--check=crc32 --x86 --lzma2=dict=2MiB"),
        zstd: words("-q --rm --no-such-option"),
    };
    let xz = compress(&bytes, Compression::Xz, &options, tmp.path()).unwrap();
    assert!(xz.fell_back.is_none());
    assert!(xz.bytes == real("xz", "--check=crc32 --x86 --lzma2=dict=2MiB", &bytes));
    let gz = compress(&bytes, Compression::Gzip, &options, tmp.path()).unwrap();
    assert!(gz.fell_back.is_none());
    let zst = compress(&bytes, Compression::Zstd, &options, tmp.path()).unwrap();
    let why = zst.fell_back.unwrap();
    assert!(why.contains("--no-such-option"), "{why}");
    assert!(decompress(&zst.bytes, Compression::Zstd).unwrap() == bytes);
    assert_eq!(fs_err::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn names_and_levels() {
    assert_eq!(Compression::of_file(Path::new("/a/b.ko.xz")), Some(Compression::Xz));
    assert_eq!(Compression::of_file(Path::new("b.ko")), Some(Compression::None));
    assert_eq!(Compression::of_file(Path::new("b.xz")), None);
    assert_eq!(gzip_builtin(&words("-9")), Some(Builtin::Gzip(9)));
    assert_eq!(zstd_builtin(&words("-q --rm -T0 -19")), Some(Builtin::Zstd(19)));
    assert_eq!(zstd_builtin(&words("--ultra -22")), None);
    assert_eq!(zstd_builtin(&words("-22")), None);
    assert_eq!(xz_builtin(&words("-9e")), None);
}

#[test]
fn garbage_cut_data_and_bombs_are_errors() {
    let tmp = tempfile::tempdir().unwrap();
    for kind in [Compression::Gzip, Compression::Xz, Compression::Zstd] {
        assert!(decompress(b"garbage, not data", kind).is_err());
        let out = compress(&large(), kind, &Options::default(), tmp.path()).unwrap();
        assert!(decompress(&out.bytes[..out.bytes.len() / 2], kind).is_err(), "{kind}");
    }
    let error = bounded(&mut io::repeat(0), Compression::Xz, 1000).unwrap_err();
    assert!(matches!(error, CompressError::TooLarge { .. }));
}
