//! Archives that must be refused, built byte by byte; and damaged ones by the thousand.

use std::path::Path;

use super::codec::{self, Format};
use super::layout;
use super::links;
use super::reader::{self, Limits};

/// One raw header, with a correct checksum.
pub(super) struct Raw {
    block: [u8; 512],
    body: Vec<u8>,
}

impl Raw {
    pub(super) fn new(kind: u8, name: &[u8]) -> Self {
        let mut raw = Self { block: [0; 512], body: Vec::new() };
        raw.put(0, name).put(100, b"0000644\0").put(108, b"0000000\0").put(116, b"0000000\0");
        raw.put(124, b"00000000000\0").put(136, b"14000000000\0").put(257, b"ustar\x0000");
        raw.block[156] = kind;
        raw
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn at(mut self, at: usize, bytes: &[u8]) -> Self {
        self.put(at, bytes);
        self
    }

    fn link(self, target: &[u8]) -> Self {
        self.at(157, target)
    }

    fn mode(self, mode: u32) -> Self {
        let text = format!("{mode:07o}\0");
        self.at(100, text.as_bytes())
    }

    pub(super) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        let text = format!("{:011o}\0", body.len());
        self.at(124, text.as_bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut block = self.block;
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = block.to_vec();
        bytes.extend(&self.body);
        bytes.resize(bytes.len().div_ceil(512) * 512, 0);
        bytes
    }
}

fn file(name: &str) -> Raw {
    Raw::new(b'0', name.as_bytes()).body(b"x")
}
fn dir(name: &str) -> Raw {
    Raw::new(b'5', name.as_bytes())
}
fn symlink(name: &str, target: &str) -> Raw {
    Raw::new(b'2', name.as_bytes()).link(target.as_bytes())
}
fn hard(name: &str, target: &str) -> Raw {
    Raw::new(b'1', name.as_bytes()).link(target.as_bytes())
}
fn pax(records: &[(&str, &str)]) -> Raw {
    pax_raw(&pax_body(records))
}
fn pax_raw(body: &[u8]) -> Raw {
    Raw::new(b'x', b"pax").body(body)
}
fn pax_body(records: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        body.extend(format!("{length}{rest}").bytes());
    }
    body
}
fn long(kind: u8, name: &str) -> Raw {
    Raw::new(kind, b"././@LongLink").body(format!("{name}\0").as_bytes())
}

pub(super) fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(Raw::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Everything in a directory, so that a stray file is noticed.
fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Unpacks `bytes` in a place with a canary; gives the error's text, and checks that nothing stayed.
fn refusal(bytes: &[u8], limits: &Limits) -> Option<String> {
    // Thousands of small directories: in memory where possible.
    let tmp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (archive, beside) = (tmp.path().join("a.tar"), tmp.path().join("place"));
    std::fs::create_dir(&beside).unwrap();
    std::fs::write(&archive, bytes).unwrap();
    std::fs::write(tmp.path().join("canary"), "alive").unwrap();
    let outcome = reader::unpack(&archive, &beside, limits);
    let text = match &outcome {
        Ok(unpacked) => {
            assert_eq!(links::first_stray(unpacked.path()).unwrap(), None);
            // Whatever it holds, looking at it ends.
            let _ = layout::understand(unpacked.path());
            None
        }
        Err(error) => {
            assert_eq!(listing(&beside), Vec::<String>::new());
            Some(error.to_string())
        }
    };
    drop(outcome);
    assert_eq!(listing(&beside), Vec::<String>::new());
    assert_eq!(listing(tmp.path()), ["a.tar", "canary", "place"]);
    assert_eq!(std::fs::read(tmp.path().join("canary")).unwrap(), b"alive");
    text
}

const LONG: &str =
    "l123456789/l123456789/l123456789/l123456789/l123456789/l123456789/l123456789/l123456789/l123456789/long.c";

#[test]
fn hostile_entries_are_refused() {
    let many: String = "d/".repeat(65) + "f";
    let wide = "w".repeat(300);
    let cases: Vec<(&str, Vec<Raw>, &str)> = vec![
        ("absolute", vec![file("/etc/passwd")], "absolute"),
        ("climbing", vec![file("../x")], "climbs"),
        ("climbing inside", vec![file("a/../../x")], "climbs"),
        ("climbing but inside", vec![file("a/../x")], "climbs"),
        ("climbing at the end", vec![dir("a/..")], "climbs"),
        ("dot inside", vec![file("a/./x")], "part \".\""),
        ("double slash", vec![file("a//x")], "empty part"),
        ("dot-slash absolute", vec![file(".//etc/passwd")], "empty part"),
        ("file with a slash", vec![file("a/")], "empty part"),
        ("empty name", vec![file("")], "is empty"),
        ("newline", vec![file("a\nb")], "control character"),
        ("escape", vec![file("a\x1b[2Jb")], "control character"),
        ("not UTF-8", vec![Raw::new(b'0', b"a\xffb")], "not UTF-8"),
        ("not UTF-8 link", vec![Raw::new(b'2', b"a").link(b"\xff")], "not UTF-8"),
        ("newline in a link", vec![symlink("a", "b\nc")], "control character"),
        ("char device", vec![Raw::new(b'3', b"null")], "a device"),
        ("block device", vec![Raw::new(b'4', b"sda")], "a device"),
        ("fifo", vec![Raw::new(b'6', b"pipe")], "named pipe"),
        ("contiguous", vec![Raw::new(b'7', b"f")], "contiguous"),
        ("sparse", vec![Raw::new(b'S', b"f")], "sparse"),
        ("dumpdir", vec![Raw::new(b'D', b"f")], "listing"),
        ("multi-volume", vec![Raw::new(b'M', b"f")], "multi-volume"),
        ("unknown kind", vec![Raw::new(b'Z', b"f")], "unknown kind"),
        ("setuid", vec![file("su").mode(0o4755)], "special permission bits 4000"),
        ("setgid", vec![file("su").mode(0o2755)], "special permission bits 2000"),
        ("setgid directory", vec![dir("su").mode(0o2755)], "special permission bits 2000"),
        ("sticky", vec![dir("tmp").mode(0o1777)], "special permission bits 1000"),
        ("huge mode", vec![file("f").at(100, b"77777777")], "special permission bits"),
        ("duplicate file", vec![file("a"), file("a")], "occurs twice"),
        ("duplicate by dot", vec![file("a"), file("./a")], "occurs twice"),
        ("duplicate directory", vec![dir("a"), dir("a/")], "occurs twice"),
        ("file over link", vec![symlink("a", "b"), file("a")], "occurs twice"),
        ("file over directory", vec![file("a/b"), file("a")], "occurs twice"),
        ("file below a file", vec![file("a"), file("a/b")], "link or a file"),
        ("file below a link", vec![dir("d"), symlink("a", "d"), file("a/b")], "link or a file"),
        ("file through a link out", vec![symlink("a", "../place"), file("a/b")], "link or a file"),
        ("absolute link", vec![symlink("a", "/etc/shadow")], "absolute"),
        ("link out", vec![symlink("a", "../../etc/shadow")], "leads out"),
        ("link out from below", vec![symlink("a/b/c", "../../../x")], "leads out"),
        ("link out through a link", vec![symlink("d/up", ".."), symlink("e", "d/up/../x")], "leads out"),
        ("link loop", vec![symlink("a", "b"), symlink("b", "a")], "loop"),
        ("link to nothing", vec![symlink("a", "")], "points nowhere"),
        ("hard link out", vec![hard("a", "../canary")], "climbs"),
        ("absolute hard link", vec![hard("a", "/etc/shadow")], "absolute"),
        ("hard link to nothing", vec![hard("a", "b")], "no earlier file"),
        ("hard link to later", vec![hard("a", "b"), file("b")], "no earlier file"),
        ("hard link to a symlink", vec![symlink("l", "x"), hard("a", "l")], "no earlier file"),
        ("hard link to a directory", vec![dir("d"), hard("a", "d")], "no earlier file"),
        ("hard link through a link", vec![file("d/f"), symlink("l", "d"), hard("a", "l/f")], "no earlier file"),
        ("hard link to itself", vec![hard("a", "a")], "no earlier file"),
        ("hard link with a body", vec![file("f"), hard("a", "f").body(b"evil")], "has content"),
        ("directory with a body", vec![dir("d").body(b"evil")], "has content"),
        ("symlink with a body", vec![symlink("l", "x").body(b"evil")], "has content"),
        ("file with a link name", vec![file("f").link(b"x")], "has content"),
        ("too deep", vec![long(b'L', &many), file("d")], "directories in its path"),
        ("wide part", vec![long(b'L', &wide), file("w")], "255 bytes"),
        ("short long name", vec![long(b'L', "../x"), file("a")], "short enough"),
        ("long name climbs", vec![long(b'L', &format!("../{LONG}")), file("a")], "climbs"),
        ("long absolute link", vec![long(b'K', &format!("/{LONG}")), symlink("a", "b")], "absolute"),
        ("long name twice", vec![long(b'L', LONG), long(b'L', LONG), file("a")], "twice"),
        ("long name for nothing", vec![long(b'L', LONG)], "no entry follows"),
        ("huge long name", vec![Raw::new(b'L', b"@").body(&vec![b'a'; 5000]), file("a")], "longer than any path"),
        ("zero in a long name", vec![long(b'L', &format!("{LONG}\0{LONG}")), file("a")], "zero byte"),
        ("pax path override", vec![pax(&[("path", "../x")]), file("a")], "without need"),
        ("pax long path climbs", vec![pax(&[("path", &format!("../{LONG}"))]), file("a")], "climbs"),
        ("pax link override", vec![pax(&[("linkpath", "/etc/shadow")]), symlink("a", "b")], "without need"),
        ("pax size override", vec![pax(&[("size", "99")]), file("a")], "\"size\""),
        ("pax sparse", vec![pax(&[("GNU.sparse.major", "1")]), file("a")], "GNU.sparse"),
        ("pax attribute", vec![pax(&[("SCHILY.xattr.security.capability", "x")]), file("a")], "SCHILY"),
        ("pax charset", vec![pax(&[("hdrcharset", "BINARY")]), file("a")], "hdrcharset"),
        ("pax key twice", vec![pax(&[("mtime", "1"), ("mtime", "2")]), file("a")], "twice"),
        ("pax twice", vec![pax(&[("mtime", "1")]), pax(&[("mtime", "1")]), file("a")], "second pax"),
        ("pax and long name", vec![long(b'L', LONG), pax(&[("path", LONG)]), file("a")], "given twice"),
        ("pax bad record", vec![Raw::new(b'x', b"p").body(b"99 path=a\n"), file("a")], "well-formed"),
        ("pax zero length", vec![Raw::new(b'x', b"p").body(b"0 a=b\n"), file("a")], "well-formed"),
        ("pax after an empty line", vec![pax_raw(b"11 mtime=1\n\n99 size=0\n"), file("a")], "well-formed"),
        ("pax signed length", vec![pax_raw(b"+11 mtime=1\n"), file("a")], "well-formed"),
        ("pax for nothing", vec![pax(&[("mtime", "1")])], "no entry follows"),
        ("pax bad time", vec![pax(&[("mtime", "soon")]), file("a")], "the time"),
        (
            "global pax path",
            vec![Raw::new(b'g', b"p").body(&pax_body(&[("path", LONG)])), file("a")],
            "for all entries",
        ),
        ("size not octal", vec![file("a").at(124, b"99999999999\0")], "not octal"),
        ("signed size", vec![file("a").at(124, b"+0000000001\0")], "not octal"),
        ("signed mode", vec![file("a").at(100, b"+000644\0")], "not octal"),
        ("binary mode", vec![file("a").at(100, b"\x80\0\0\0\0\0\x01\xa4")], "not octal"),
        ("binary size", vec![file("a").at(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x01")], "not octal"),
        ("size beyond the end", vec![file("a").at(124, b"00000077777\0")], "truncated"),
        ("huge size", vec![file("a").at(124, b"77777777777\0")], "bytes in one file"),
        ("no magic", vec![file("a").at(257, b"\0\0\0\0\0\0\0\0")], "magic"),
    ];
    assert!(cases.len() >= 40);
    for (what, entries, expected) in cases {
        let bytes = tar(&entries);
        let text = refusal(&bytes, &Limits::default()).unwrap_or_else(|| panic!("{what} was accepted"));
        assert!(text.contains(expected), "{what}: {text}");
        assert_eq!(text.lines().count(), 2, "{what}: {text}");
    }
}

#[test]
fn hostile_wholes_are_refused() {
    let good = tar(&[file("a")]);
    let limits = Limits {
        total_bytes: 100_000,
        file_bytes: 50_000,
        entries: 20,
        directories: 8,
        ratio: 20,
        ratio_after: 4096,
        ..Limits::default()
    };
    let pack =
        |format, bytes: &[u8]| codec::encode(format, Vec::new(), |w| std::io::Write::write_all(w, bytes)).unwrap();
    let many: Vec<_> = (0..30).map(|n| file(&format!("f{n}"))).collect();
    let zeros = tar(&[Raw::new(b'0', b"zeros").body(&vec![0; 40_000])]);
    let mut noise_tar = good.clone();
    noise_tar[0] ^= 1;
    let mut damaged = pack(Format::Gzip, &good);
    let end = damaged.len() - 6;
    damaged[end] ^= 1;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty file", vec![], "empty"),
        ("nothing inside", vec![0; 1024], "empty"),
        ("zero header first", [vec![0; 512], good.clone()].concat(), "empty header inside"),
        ("text", b"hello".repeat(1000), "magic"),
        ("short text", b"hello".to_vec(), "truncated"),
        ("checksum", noise_tar, "checksum"),
        ("trailing archive", [good.clone(), good.clone()].concat(), "data after the end"),
        ("gzip checksum", damaged, "decompressed"),
        ("gzip then garbage", [pack(Format::Gzip, &good), b"garbage".to_vec()].concat(), ""),
        ("large file", tar(&[Raw::new(b'0', b"f").body(&vec![7; 60_000])]), "bytes in one file"),
        (
            "large sum",
            tar(&[
                Raw::new(b'0', b"f").body(&vec![7; 45_000]),
                Raw::new(b'0', b"g").body(&vec![7; 45_000]),
                Raw::new(b'0', b"h").body(&vec![7; 45_000]),
            ]),
            "more than 100000 bytes",
        ),
        (
            "many directories",
            tar(&(0..9).map(|n| Raw::new(b'5', format!("d{n}/").as_bytes())).collect::<Vec<_>>()),
            "8 directories",
        ),
        ("many implied ones", tar(&[file("a/b/c/d/f"), file("e/f/g/h/i/f")]), "8 directories"),
        ("many entries", tar(&many), "20 entries"),
        ("gzip bomb", pack(Format::Gzip, &zeros), "compressed byte"),
        ("xz bomb", pack(Format::Xz, &zeros), "compressed byte"),
        ("zstd bomb", pack(Format::Zstd, &zeros), "compressed byte"),
        ("bzip2 bomb", pack(Format::Bzip2, &zeros), "compressed byte"),
        ("padding bomb", pack(Format::Gzip, &[good.clone(), vec![0; 90_000]].concat()), "compressed byte"),
    ];
    for (what, bytes, expected) in cases {
        let text = refusal(&bytes, &limits).unwrap_or_else(|| panic!("{what} was accepted"));
        assert!(text.contains(expected), "{what}: {text}");
    }
}

/// Few names can imply very many directories, each of which is made, synced and deleted again: they count like those that are members.
#[test]
fn implied_directories_are_bounded() {
    const EACH: usize = 46;
    let members = |count: usize| {
        let files: Vec<_> = (0..count).map(|n| file(&format!("{n:04}/{}f", "d/".repeat(EACH - 1)))).collect();
        tar(&files)
    };
    let few = Limits { directories: 10 * EACH, ..Limits::default() };
    assert_eq!(refusal(&members(10), &few), None, "as many as are allowed");
    // A member that is a directory counts once, whether its name was implied before it or not.
    let named: Vec<_> = (0..3).flat_map(|n| [file(&format!("{n}/f")), dir(&format!("{n}/"))]).collect();
    assert_eq!(refusal(&tar(&named), &Limits { directories: 3, ..Limits::default() }), None);
    for (count, limits, last) in [(11, few, 10), (1000, Limits::default(), Limits::default().directories / EACH)] {
        // Few members, and no more bytes than a small source has.
        let text = refusal(&members(count), &limits).expect("too many");
        assert!(text.contains(&format!("more than {} directories", limits.directories)), "{text}");
        // It ends at the member that is one too many: nothing after it was made.
        assert!(text.contains(&format!("{last:04}/d/")), "{text}");
    }
}

#[test]
fn a_missing_archive_a_directory_and_a_missing_place_are_errors() {
    let tmp = tempfile::tempdir().unwrap();
    let limits = Limits::default();
    assert!(reader::unpack(&tmp.path().join("none"), tmp.path(), &limits).is_err());
    assert!(reader::unpack(tmp.path(), tmp.path(), &limits).unwrap_err().to_string().contains("regular file"));
    let archive = tmp.path().join("a.tar");
    std::fs::write(&archive, tar(&[file("a")])).unwrap();
    assert!(reader::unpack(&archive, &tmp.path().join("none"), &limits).is_err());
    assert_eq!(listing(tmp.path()), ["a.tar"]);
}

fn sample() -> Vec<u8> {
    tar(&[
        dir("./"),
        dir("./d").mode(0o750),
        Raw::new(b'0', b"./d/dkms.conf").body(&[b'c'; 700]),
        Raw::new(b'0', b"./d/run").body(b"#!").mode(0o777),
        symlink("./d/l", "../d/run"),
        hard("./d/h", "./d/run"),
        long(b'L', LONG),
        file("l123"),
        pax(&[("mtime", "1600000000.25"), ("path", "d/\u{e9}")]),
        file("d/e"),
        file("implied/f"),
        dir("implied"),
    ])
}

#[test]
fn good_archives_unpack_with_modes_times_and_links() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let tmp = tempfile::tempdir().unwrap();
    for format in [Format::Plain, Format::Gzip, Format::Xz, Format::Zstd, Format::Bzip2] {
        let archive = tmp.path().join("a");
        let bytes = codec::encode(format, Vec::new(), |w| std::io::Write::write_all(w, &sample())).unwrap();
        std::fs::write(&archive, bytes).unwrap();
        let unpacked = reader::unpack(&archive, tmp.path(), &Limits::default()).unwrap();
        let top = unpacked.path();
        let mode = |name: &str| std::fs::metadata(top.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            (mode(""), mode("d"), mode("d/dkms.conf"), mode("d/run"), mode("implied")),
            (0o700, 0o750, 0o644, 0o755, 0o744)
        );
        assert_eq!(std::fs::read(top.join("d/dkms.conf")).unwrap(), [b'c'; 700]);
        assert_eq!(std::fs::read(top.join(LONG)).unwrap(), b"x");
        assert_eq!(std::fs::metadata(top.join("d/\u{e9}")).unwrap().mtime(), 1_600_000_000);
        assert_eq!(std::fs::metadata(top.join("d")).unwrap().mtime(), 0o14_000_000_000);
        assert_eq!(
            std::fs::metadata(top.join("d/h")).unwrap().ino(),
            std::fs::metadata(top.join("d/run")).unwrap().ino()
        );
        assert_eq!(std::fs::read_link(top.join("d/l")).unwrap(), Path::new("../d/run"));
        drop(unpacked);
        assert_eq!(listing(tmp.path()), ["a"]);
    }
}

#[test]
fn every_truncation_is_refused() {
    let whole = sample();
    for length in (0..whole.len()).step_by(512).chain([1, 511, 513, whole.len() - 1]) {
        assert!(refusal(&whole[..length], &Limits::default()).is_some(), "plain, {length} bytes");
    }
    for format in [Format::Gzip, Format::Xz, Format::Zstd, Format::Bzip2] {
        let bytes = codec::encode(format, Vec::new(), |w| std::io::Write::write_all(w, &whole)).unwrap();
        for length in 0..bytes.len() {
            assert!(refusal(&bytes[..length], &Limits::default()).is_some(), "{format:?}, {length} bytes");
        }
    }
}

/// Damages good archives in many ways and mends the checksums, so that the damage gets past the header check.
/// What is accepted must lie inside; what is refused must leave nothing ([`refusal`] asserts both).
#[test]
fn damaged_archives_never_escape() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    const SPICE: [&[u8]; 12] =
        [b"../", b"/", b"./", b"\0", b"\xff", b"d/l", b"7777777", b"..", b"\n", b"12 path=", b"1", b"L"];
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..3000 {
        let mut bytes = sample();
        for _ in 0..=random(3) {
            let block = random(bytes.len() / 512) * 512;
            match random(5) {
                0 => bytes[block + random(512)] = u8::try_from(random(256)).unwrap(),
                1 => {
                    let spice = SPICE[random(SPICE.len())];
                    let field = [0, 100, 124, 156, 157, 345][random(6)] + random(3);
                    bytes[block + field..block + field + spice.len()].copy_from_slice(spice);
                }
                2 => bytes[block + 156] = b"0125LKxgS346"[random(12)],
                3 => {
                    let other = random(bytes.len() / 512) * 512;
                    let copy = bytes[other..other + 512].to_vec();
                    bytes.splice(block..block, copy);
                }
                _ => drop(bytes.drain(block..block + 512)),
            }
        }
        for block in bytes.chunks_exact_mut(512) {
            if &block[257..262] == b"ustar" {
                block[148..156].copy_from_slice(b"        ");
                let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        match refusal(&bytes, &Limits::default()) {
            None => accepted += 1,
            Some(_) => refused += 1,
        }
    }
    assert!(
        accepted > 100 && refused > 1000,
        "{accepted} accepted, {refused} refused: the damage is not of the right size"
    );
}
