//! The store, and what a key is.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::entry::{Read, Wanted};
use super::key::{Module, Needed};
use super::*;
use crate::names::{Kernel, Package};
use crate::root::Root;

struct Store {
    tmp: tempfile::TempDir,
    trees: Trees,
}

fn key(version: &str) -> Key {
    Key {
        format: key::FORMAT,
        package: Package::new("hello", version).unwrap(),
        source: Digest::of(b"source"),
        patches_of_administrator: None,
        kernel: Kernel::new("6.1", "x86_64").unwrap(),
        kernel_build: Some("#1 SMP".to_owned()),
        headers: Digest::of(b"headers"),
        config: None,
        machine: "x86_64".to_owned(),
        compilers: Digest::of(b"gcc"),
        programs: [("strip".to_owned(), Digest::of(b"strip"))].into(),
        distribution: Digest::of(b"os"),
        patches: vec!["a.patch".to_owned()],
        make: "make KERNELRELEASE=6.1 M={build}".to_owned(),
        modules: vec![Module { file: "hello.ko".to_owned(), strip: true }],
        environment: [("ARCH".to_owned(), Digest::of(b"x86"))].into(),
        dependencies: vec![Needed { name: "base".to_owned(), version: Some("1".to_owned()), symbols: None }],
    }
}

fn entry(version: &str) -> Entry {
    Entry {
        key: key(version),
        built_at: 5,
        place: PathBuf::from("/t/hello/1/build"),
        read: Vec::new(),
        modules: vec![b"\x7fELF module\n".to_vec()],
        symvers: Some(b"0x1\ta\n".to_vec()),
        log: b"DKMS make.log\n".to_vec(),
    }
}

impl Store {
    fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let trees = Trees::new(Root::at(tmp.path()).unwrap());
        Self { tmp, trees }
    }

    fn at(&self, now: u64, limit: u64) -> Results<'_> {
        Results { trees: &self.trees, limit, now }
    }

    fn results(&self) -> Results<'_> {
        self.at(10, 1 << 20)
    }

    fn take(&self, version: &str) -> Option<Entry> {
        let wanted = Wanted { place: Path::new("/t/hello/1/build"), outer: &|path| self.trees.outer(path) };
        self.results().take(&key(version).digest().unwrap(), &wanted)
    }

    fn path(&self, version: &str) -> PathBuf {
        self.trees.cache(PLACE).join(key(version).digest().unwrap().to_string())
    }
}

#[test]
fn what_is_kept_comes_back() {
    let store = Store::new();
    assert_eq!(store.take("1"), None);
    assert!(!store.trees.cache("").exists(), "a look makes nothing");
    assert_eq!(store.results().keep(&entry("1")).unwrap(), Kept::Yes);
    assert_eq!(store.take("1"), Some(entry("1")));
    assert_eq!(store.take("2"), None);
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&store.trees.cache(PLACE)), mode(&store.path("1"))), (0o700, 0o600));
    assert_eq!(mode(&store.trees.cache("")), 0o755);
    let second = Entry { symvers: None, log: Vec::new(), ..entry("1") };
    assert_eq!(store.results().keep(&second).unwrap(), Kept::Yes);
    assert_eq!(store.take("1"), Some(second));
    store.results().drop(&key("1").digest().unwrap());
    assert_eq!(store.take("1"), None);
    store.results().drop(&key("1").digest().unwrap());
}

/// Any byte, any length, another's name: never a wrong result, and it is gone.
#[test]
fn a_damaged_entry_is_deleted() {
    let store = Store::new();
    store.results().keep(&entry("1")).unwrap();
    let good = fs_err::read(store.path("1")).unwrap();
    let mut bad: Vec<Vec<u8>> = (0..good.len())
        .map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        })
        .collect();
    bad.extend((0..good.len()).step_by(7).map(|length| good[..length].to_vec()));
    bad.push([good.as_slice(), b"x"].concat());
    bad.push(entry("2").to_bytes().unwrap().1);
    let newer = String::from_utf8_lossy(&good[65..]).replacen("\"format\":1", "\"format\":9", 1);
    bad.push(format!("{}\n{newer}", Digest::of(newer.as_bytes())).into_bytes());
    let fewer = Entry { modules: Vec::new(), ..entry("1") };
    bad.push(fewer.to_bytes().unwrap().1);
    for bytes in bad {
        fs_err::write(store.path("1"), &bytes).unwrap();
        assert_eq!(store.take("1"), None, "{}", String::from_utf8_lossy(&bytes));
        assert!(!store.path("1").exists());
    }
    fs_err::write(store.path("1"), good).unwrap();
    assert!(store.take("1").is_some());
}

#[test]
fn a_store_that_others_may_write_to_is_not_used() {
    let store = Store::new();
    store.results().keep(&entry("1")).unwrap();
    let dir = store.trees.cache(PLACE);
    fs_err::set_permissions(&dir, std::fs::Permissions::from_mode(0o720)).unwrap();
    assert_eq!(store.take("1"), None);
    store.results().keep(&entry("2")).unwrap_err();
    fs_err::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(store.take("1").is_some() && store.take("2").is_none());
}

#[test]
fn what_was_used_last_stays() {
    let store = Store::new();
    let size = entry("1").to_bytes().unwrap().1.len() as u64;
    for (now, version) in [(1, "1"), (2, "2"), (3, "3")] {
        assert_eq!(store.at(now, 3 * size).keep(&entry(version)).unwrap(), Kept::Yes);
    }
    // At 10: it is now the youngest.
    assert!(store.take("1").is_some());
    assert_eq!(store.at(11, 3 * size).keep(&entry("4")).unwrap(), Kept::Yes);
    let there = || ["1", "2", "3", "4"].map(|version| store.path(version).exists());
    assert_eq!(there(), [true, false, true, true]);
    // In the place of itself it needs no room.
    assert_eq!(store.at(12, 3 * size).keep(&entry("3")).unwrap(), Kept::Yes);
    assert_eq!(there(), [true, false, true, true]);
    assert_eq!(store.at(13, size).keep(&entry("2")).unwrap(), Kept::Yes);
    assert_eq!(there(), [false, true, false, false]);
    assert!(matches!(store.at(14, size - 1).keep(&entry("1")).unwrap(), Kept::No(_)));
    assert_eq!(there(), [false, true, false, false]);
    assert_eq!(fs_err::read_dir(store.trees.cache(PLACE)).unwrap().count(), 1);
}

/// What a killed run left goes with the next that is kept.
#[test]
fn what_a_killed_run_left_is_swept_away() {
    let store = Store::new();
    store.results().keep(&entry("1")).unwrap();
    // No process has such a number (proc_sys_kernel(5), pid_max).
    let left = store.trees.cache(PLACE).join(format!("{}99999999-0", durable::NEW));
    fs_err::write(&left, "half").unwrap();
    assert!(store.take("1").is_some());
    store.results().keep(&entry("2")).unwrap();
    assert!(!left.exists() && store.take("1").is_some());
}

#[test]
fn a_result_that_names_its_directory_serves_there_alone() {
    let serves = |entry: &Entry, place: &str| {
        entry.serves(&Wanted { place: Path::new(place), outer: &|path| path.to_owned() }).is_ok()
    };
    let plain = entry("1");
    assert!(serves(&plain, "/t/hello/1/build") && serves(&plain, "/u/hello/1/build"));
    let named = Entry { modules: vec![b"x/t/t/hello/1/build/hello.c".to_vec()], ..entry("1") };
    assert!(serves(&named, "/t/hello/1/build") && !serves(&named, "/u/hello/1/build"));
}

#[test]
fn the_compilers_headers_must_be_what_they_were() {
    let store = Store::new();
    let header = store.tmp.path().join("stddef.h");
    fs_err::write(&header, "1").unwrap();
    let read = vec![Read { path: PathBuf::from("/stddef.h"), digest: Digest::of(b"1") }];
    store.results().keep(&Entry { read, ..entry("1") }).unwrap();
    assert!(store.take("1").is_some());
    fs_err::write(&header, "2").unwrap();
    assert_eq!(store.take("1"), None);
    fs_err::remove_file(&header).unwrap();
    assert_eq!(store.take("1"), None);
    fs_err::write(&header, "1").unwrap();
    assert!(store.take("1").is_some());
}

/// The digest is that of the JSON text: other programs can make it.
#[test]
fn a_key_has_one_text() {
    let text = serde_json::to_string(&key("1")).unwrap();
    assert!(text.starts_with(r#"{"format":1,"package":{"name":"hello","version":"1"},"source":""#), "{text}");
    assert_eq!(key("1").digest().unwrap(), Digest::of(text.as_bytes()));
    let read: Key = serde_json::from_str(&text).unwrap();
    assert_eq!(read, key("1"));
    let changes: [fn(&mut Key); 9] = [
        |key| key.source = Digest::of(b"other"),
        |key| key.headers = Digest::of(b"other"),
        |key| key.kernel_build = None,
        |key| key.compilers = Digest::of(b"other"),
        |key| key.programs.clear(),
        |key| key.make.push(' '),
        |key| key.modules[0].strip = false,
        |key| key.environment.clear(),
        |key| key.dependencies[0].symbols = Some(Digest::of(b"symbols")),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut other = key("1");
        change(&mut other);
        assert_ne!(other.digest().unwrap(), key("1").digest().unwrap(), "{index}");
    }
}

#[test]
fn what_of_an_environment_counts() {
    let all =
        ["ARCH", "CCACHE_DIR", "HOME", "IGNORE_CC_MISMATCH", "KBUILD_MODPOST_WARN", "LC_ALL", "LLVM", "PATH", "TERM"];
    let environment = all.iter().map(|name| ((*name).into(), "x".into())).collect();
    let found: Vec<String> = key::relevant(&environment).into_keys().collect();
    assert_eq!(found, ["ARCH", "IGNORE_CC_MISMATCH", "KBUILD_MODPOST_WARN", "LLVM"]);
    let make = key::without_place("make M=/t/hello/1/build all", Path::new("/t/hello/1/build"));
    assert_eq!(make, "make M={build} all");
}
