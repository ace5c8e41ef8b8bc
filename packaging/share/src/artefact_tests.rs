//! Artefacts in a share that nobody else looks after.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write as _;

use dkms_core::names::{Kernel, Package};
use dkms_core::results::key::Module;

use super::*;
use crate::carried;
use crate::service::{has, push};
use crate::trust::generate;

const NOW: u64 = 1_796_040_000;
const MOST: u64 = 1 << 20;

/// A share in memory, which anybody may write to.
#[derive(Default)]
struct Memory {
    manifests: RefCell<BTreeMap<String, Vec<u8>>>,
    blobs: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl Road for Memory {
    fn manifest(&self, tag: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.manifests.borrow().get(tag).cloned())
    }

    fn blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, Error> {
        let found = self.blobs.borrow().get(&digest.to_string()).cloned().ok_or_else(|| incomplete(digest))?;
        assert!(found.len() as u64 <= size, "more was read than was signed");
        crate::share::checked(found, digest)
    }

    fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.blobs.borrow_mut().insert(digest.to_string(), bytes.to_vec());
        Ok(())
    }

    fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.blobs.borrow().contains_key(&digest.to_string()))
    }

    fn put_manifest(&self, tag: &str, bytes: &[u8]) -> Result<(), Error> {
        let missing: Vec<_> = Manifest::parse(bytes)?
            .blobs()
            .filter(|blob| !self.blobs.borrow().contains_key(&blob.to_string()))
            .collect();
        assert!(missing.is_empty(), "a manifest came before its blobs: {missing:?}");
        self.manifests.borrow_mut().insert(tag.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn tags(&self) -> Result<Vec<String>, Error> {
        Ok(self.manifests.borrow().keys().cloned().collect())
    }

    fn delete(&self, _: &[u8], _: &[String]) -> Result<(), Error> {
        Ok(())
    }
}

fn entry(version: &str) -> Entry {
    let module = |name: &str| Module { file: format!("{name}.ko"), strip: true };
    Entry {
        key: Key {
            format: FORMAT,
            package: Package::new("hello", version).unwrap(),
            source: Digest::of(b"source"),
            patches_of_administrator: None,
            kernel: Kernel::new("6.12.1+deb13~x", "x86_64").unwrap(),
            kernel_build: Some("#1 SMP".to_owned()),
            headers: Digest::of(b"headers"),
            config: None,
            machine: "x86_64".to_owned(),
            compilers: Digest::of(b"gcc"),
            programs: BTreeMap::new(),
            distribution: Digest::of(b"os"),
            patches: Vec::new(),
            make: "make".to_owned(),
            modules: vec![module("hello"), module("sub/world")],
            environment: BTreeMap::new(),
            dependencies: Vec::new(),
        },
        built_at: 1_796_000_000,
        place: PathBuf::from("/build"),
        read: vec![Read { path: PathBuf::from("/usr/lib/stddef.h"), digest: Digest::of(b"h") }],
        modules: vec![b"\x7fELF hello".repeat(100), Vec::new()],
        symvers: Some(b"0x1\tworld\n".to_vec()),
        log: format!("log of {version}\n").into_bytes(),
    }
}

struct Fleet {
    share: Memory,
    signer: Signer,
    stranger: Signer,
    trust: Trust,
    /// The keys' directory.
    dir: tempfile::TempDir,
}

impl Fleet {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        generate(&path("key"), &path("share.d/builder.pub"), None).unwrap();
        generate(&path("strange"), &path("elsewhere/stranger.pub"), None).unwrap();
        let signer = |name: &str| Signer::read(&path(name)).unwrap();
        let trust = Trust::read(&path("share.d"), NOW).unwrap();
        Self { share: Memory::default(), signer: signer("key"), stranger: signer("strange"), trust, dir }
    }

    fn push(&self, entry: &Entry, signer: &Signer) -> Digest {
        push(&self.share, &Packed::new(entry, signer).unwrap()).unwrap();
        entry.key.digest().unwrap()
    }

    fn fetch(&self, key: &Digest) -> Result<Option<Entry>, Error> {
        self.look_for(Sought::Key(key), &self.trust, MOST)
    }

    /// By way of the process that talks with the share.
    fn look_for(&self, sought: Sought<'_>, trust: &Trust, most: u64) -> Result<Option<Entry>, Error> {
        let mut bytes = Vec::new();
        carried::write(&mut bytes, fetch(&self.share, sought, trust, most)).unwrap();
        let entry = carried::read(&bytes)?.map(|carried| carried.entry(trust)).transpose()?;
        entry.iter().try_for_each(|entry| sought.check(&entry.key))?;
        Ok(entry)
    }

    fn why(&self, key: &Digest) -> String {
        match self.fetch(key) {
            Err(Error::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// Has the manifest of `key` changed.
    fn change(&self, key: &Digest, change: impl FnOnce(&mut serde_json::Value)) {
        let bytes = self.share.manifest(&key.to_string()).unwrap().unwrap();
        let mut manifest = serde_json::from_slice(&bytes).unwrap();
        change(&mut manifest);
        self.share.manifests.borrow_mut().insert(key.to_string(), serde_json::to_vec(&manifest).unwrap());
    }

    /// Puts another record in the place of that of `key`, signed by `signer` or with the old signature.
    fn change_record(&self, key: &Digest, signer: Option<&Signer>, change: impl FnOnce(&mut Record)) {
        let manifest = Manifest::parse(&self.share.manifest(&key.to_string()).unwrap().unwrap()).unwrap();
        let bytes = self.share.blob(&manifest.config.blob().unwrap(), MOST).unwrap();
        let mut record: Record = serde_json::from_slice(&bytes).unwrap();
        change(&mut record);
        let bytes = serde_json::to_vec(&record).unwrap();
        let digest = Digest::of(&bytes);
        self.share.put_blob(&digest, &bytes).unwrap();
        let signature = signer.map(|signer| signer.sign(&bytes, "x").unwrap());
        self.change(key, |manifest| {
            manifest["config"]["digest"] = format!("sha256:{digest}").into();
            manifest["config"]["size"] = bytes.len().into();
            if let Some(signature) = signature {
                manifest["annotations"][SIGNATURE] = signature.into();
            }
        });
    }
}

#[test]
fn what_is_pushed_comes_back() {
    let fleet = Fleet::new();
    let (one, two) = (entry("1.0"), entry("2.0"));
    let key = one.key.digest().unwrap();
    assert!(fleet.fetch(&key).unwrap().is_none() && !has(&fleet.share, &key, &fleet.trust).unwrap());
    fleet.push(&one, &fleet.signer);
    fleet.push(&Entry { symvers: None, log: Vec::new(), ..two.clone() }, &fleet.signer);
    assert_eq!(fleet.fetch(&key).unwrap(), Some(one.clone()));
    assert!(has(&fleet.share, &key, &fleet.trust).unwrap());
    let found = fleet.fetch(&two.key.digest().unwrap()).unwrap().unwrap();
    assert_eq!((found.symvers, found.log.len(), found.key), (None, 0, two.key));
    // Whoever looks into a registry's list of tags finds package and kernel.
    let tags = fleet.share.tags().unwrap();
    let name = tags.iter().find(|tag| tag.starts_with("hello_1.0_")).unwrap();
    assert_eq!(*name, format!("hello_1.0_6.12.1_deb13_x_x86_64.{}", &key.to_string()[..12]));
    assert!(tags.iter().all(|tag| crate::share::is_tag(tag)), "{tags:?}");
    // Too large for this machine.
    assert!(matches!(fleet.look_for(Sought::Key(&key), &fleet.trust, 1000), Err(Error::Refused(_))));
}

/// A machine without a compiler finds what was built for its kernel, whatever with; the latest.
#[test]
fn an_outline_finds_what_another_compiler_made() {
    let fleet = Fleet::new();
    let mut other = entry("1.0");
    (other.key.compilers, other.key.headers) = (Digest::of(b"clang"), Digest::of(b"others"));
    other.key.environment.insert("CC".to_owned(), Digest::of(b"clang"));
    let outline = |entry: &Entry| Outline::of_key(&entry.key).unwrap().digest().unwrap();
    let wanted = outline(&entry("1.0"));
    assert_eq!(outline(&other), wanted);
    let find = || fleet.look_for(Sought::Outline(&wanted), &fleet.trust, MOST);
    assert!(find().unwrap().is_none());
    for pushed in [entry("1.0"), other] {
        fleet.push(&pushed, &fleet.signer);
        assert_eq!(find().unwrap(), Some(pushed));
    }
    // What decides for this machine, too.
    type Change = fn(&mut Key);
    let changes: [Change; 8] = [
        |key| key.source = Digest::of(b"x"),
        |key| key.kernel_build = Some("#2 SMP".to_owned()),
        |key| key.kernel = Kernel::new("6.12.2", "x86_64").unwrap(),
        |key| key.make += " X=1",
        |key| key.patches_of_administrator = Some(Digest::of(b"x")),
        |key| drop(key.environment.insert("X".to_owned(), Digest::of(b"x"))),
        |key| drop(key.modules.pop()),
        |key| key.machine = "aarch64".to_owned(),
    ];
    for change in changes {
        let mut another = entry("1.0");
        change(&mut another.key);
        assert_ne!(outline(&another), wanted, "{:?}", another.key);
        // Under the wrong tag.
        fleet.push(&another, &fleet.signer);
        let manifest = fleet.share.manifest(&another.key.digest().unwrap().to_string()).unwrap().unwrap();
        fleet.share.manifests.borrow_mut().insert(format!("outline.{wanted}"), manifest);
        assert!(matches!(find(), Err(Error::Refused(why)) if why.contains("another artefact")));
    }
    fleet.push(&entry("1.0"), &fleet.stranger);
    assert!(matches!(find(), Err(Error::Refused(why)) if why.contains("not trusted")));
    let unknown: [Change; 2] = [|key| key.kernel_build = None, |key| key.config = Some(Digest::of(b"x"))];
    for change in unknown {
        let mut another = entry("1.0");
        change(&mut another.key);
        assert_eq!(Outline::of_key(&another.key), None);
        assert_eq!(Packed::new(&another, &fleet.signer).unwrap().tags.len(), 2);
    }
}

#[test]
fn tags_fit() {
    let mut key = entry("1.0").key;
    key.package = Package::new(&"n".repeat(200), "1.0").unwrap();
    let digest = key.digest().unwrap();
    for tag in
        [name_tag(&key, &digest), name_tag(&entry("1.0+~x").key, &digest), format!("{}x", name_beginning(".odd"))]
    {
        assert!(crate::share::is_tag(&tag), "{tag}");
    }
}

#[test]
fn who_has_not_signed_is_refused() {
    let fleet = Fleet::new();
    let key = fleet.push(&entry("1.0"), &fleet.stranger);
    assert!(fleet.why(&key).contains("not trusted"));
    // Who is trusted replaces it.
    assert!(!has(&fleet.share, &key, &fleet.trust).unwrap());
    fleet.push(&entry("1.0"), &fleet.signer);
    assert!(fleet.fetch(&key).unwrap().is_some());
    fleet.change(&key, |manifest| drop(manifest["annotations"].as_object_mut().unwrap().remove(SIGNATURE)));
    assert!(fleet.why(&key).contains("not signed"));
    fleet.change(&key, |manifest| manifest["annotations"][SIGNATURE] = "x".into());
    assert!(fleet.why(&key).contains("can't be read"));
    let other = fleet.push(&entry("1.0"), &fleet.signer);
    fs_err::write(fleet.dir.path().join("share.d/revoked"), format!("{other}\n")).unwrap();
    let trust = Trust::read(&fleet.dir.path().join("share.d"), NOW).unwrap();
    assert!(matches!(fleet.look_for(Sought::Key(&other), &trust, MOST), Err(Error::Refused(_))));
}

#[test]
fn another_artefact_under_the_key_is_refused() {
    let fleet = Fleet::new();
    let (one, two) = (fleet.push(&entry("1.0"), &fleet.signer), fleet.push(&entry("2.0"), &fleet.signer));
    let other = fleet.share.manifest(&one.to_string()).unwrap().unwrap();
    fleet.share.manifests.borrow_mut().insert(two.to_string(), other);
    assert!(fleet.why(&two).contains("another artefact"));
    // Also if it says otherwise.
    fleet.change(&two, |manifest| manifest["annotations"][KEY] = two.to_string().into());
    assert!(fleet.why(&two).contains("another artefact"));
    // A record that says so was changed.
    fleet.change_record(&two, None, |record| record.key = entry("2.0").key);
    assert!(fleet.why(&two).contains("was changed after"));
}

#[test]
fn who_says_something_else_than_was_signed_is_refused() {
    let fleet = Fleet::new();
    let key = fleet.push(&entry("1.0"), &fleet.signer);
    for (name, claim) in [(PACKAGE, "other"), (VERSION, "2.0"), (KERNEL, "6.13"), (ARCH, "aarch64"), (KEY, "x")] {
        fleet.change(&key, |manifest| manifest["annotations"][name] = claim.into());
        assert!(fleet.why(&key).contains("another artefact"), "{name}");
        fleet.push(&entry("1.0"), &fleet.signer);
    }
    assert!(fleet.fetch(&key).unwrap().is_some());
}

#[test]
fn what_lacks_a_part_is_pushed_again() {
    let fleet = Fleet::new();
    let key = fleet.push(&entry("1.0"), &fleet.signer);
    let all: Vec<String> = fleet.share.blobs.borrow().keys().cloned().collect();
    for blob in &all {
        let good = fleet.share.blobs.borrow_mut().remove(blob).unwrap();
        assert!(!has(&fleet.share, &key, &fleet.trust).unwrap(), "{blob}");
        fleet.share.blobs.borrow_mut().insert(blob.clone(), good);
    }
    let tags: Vec<String> = fleet.share.manifests.borrow().keys().cloned().collect();
    assert_eq!(tags.len(), 3, "{tags:?}");
    for tag in &tags {
        let good = fleet.share.manifests.borrow_mut().remove(tag).unwrap();
        assert!(!has(&fleet.share, &key, &fleet.trust).unwrap(), "{tag}");
        fleet.share.manifests.borrow_mut().insert(tag.clone(), good);
    }
    assert!(has(&fleet.share, &key, &fleet.trust).unwrap());
}

#[test]
fn what_is_damaged_or_endless_is_refused() {
    let fleet = Fleet::new();
    let key = fleet.push(&entry("1.0"), &fleet.signer);
    for text in [
        "",
        "{",
        "null",
        "[]",
        "\u{0}",
        r#"{"schemaVersion":2,"mediaType":"x","config":{"mediaType":"x","digest":"x","size":1},"layers":[]}"#,
    ] {
        let mut manifests = fleet.share.manifests.borrow_mut();
        let good = manifests.insert(key.to_string(), text.as_bytes().to_vec()).unwrap();
        drop(manifests);
        fleet.why(&key);
        fleet.share.manifests.borrow_mut().insert(key.to_string(), good);
    }
    // Each blob in turn: gone, and another.
    let all: Vec<String> = fleet.share.blobs.borrow().keys().cloned().collect();
    for blob in &all {
        let good = fleet.share.blobs.borrow_mut().remove(blob).unwrap();
        assert!(fleet.why(&key).contains("lacks"), "{blob}");
        let mut bad = good.clone();
        bad[0] ^= 1;
        fleet.share.blobs.borrow_mut().insert(blob.clone(), bad);
        assert!(fleet.why(&key).contains("something else"), "{blob}");
        fleet.share.blobs.borrow_mut().insert(blob.clone(), good);
    }
    // What nobody changes, a builder may get wrong: more than it says, less, other modules than the key's.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0_u8; 1 << 20];
    (0..256).for_each(|_| encoder.write_all(&zeros).unwrap());
    let bomb = encoder.finish().unwrap();
    fleet.share.put_blob(&Digest::of(&bomb), &bomb).unwrap();
    type Change<'a> = &'a dyn Fn(&mut Record);
    let changes: [(&str, Change<'_>); 6] = [
        ("not what was signed", &|record| {
            (record.log.blob, record.log.blob_size) = (Digest::of(&bomb), bomb.len() as u64);
        }),
        ("more than result_cache_size", &|record| record.log.size = MOST + 1),
        ("more than result_cache_size", &|record| record.log.blob_size = u64::MAX),
        ("not what was signed", &|record| record.modules[0].size -= 1),
        ("other modules", &|record| drop(record.modules.pop())),
        ("has format", &|record| record.format += 1),
    ];
    for (why, change) in changes {
        let key = fleet.push(&entry("1.0"), &fleet.signer);
        fleet.change_record(&key, Some(&fleet.signer), change);
        assert!(fleet.why(&key).contains(why), "{why}: {}", fleet.why(&key));
    }
}
