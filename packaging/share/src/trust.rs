//! Whom this machine believes: public keys of builders, and the private one that signs here.
//!
//! Keys and signatures are those of minisign (signify's successor): a file of two lines, which an administrator can read, make
//! and check with a program of every distribution; no chain, no server, no clock but for our own expiry date. A key is one file `NAME.pub` in
//! the directory; `expires=YYYY-MM-DD` in its comment ends it; a line of `revoked` with the identity of a key, or the key of an artefact,
//! ends that.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64ct::{Base64, Encoding};
use dkms_core::clock;
use dkms_core::digest::Digest;
use dkms_core::durable;
use minisign::{KeyPair, PublicKeyBox, SecretKey, SecretKeyBox};
use minisign_verify::{PublicKey, Signature};

use crate::error::Error;

const LONGEST: u64 = 64 << 10;
const EXPIRES: &str = "expires=";

/// What is trusted.
#[derive(Debug)]
pub struct Trust {
    keys: Vec<Trusted>,
    /// Identities of keys, in capitals, and keys of artefacts.
    revoked: BTreeSet<String>,
    /// Files of keys that are of no use, and why.
    unfit: Vec<String>,
    /// `YYYY-MM-DD`.
    today: String,
}

#[derive(Debug)]
struct Trusted {
    name: String,
    identity: String,
    key: PublicKey,
    expires: Option<String>,
}

impl Trust {
    /// Reads the keys in `dir`. `now`: in seconds since 1970.
    ///
    /// # Errors
    /// If others could have put keys there, or the list of what is revoked can't be read.
    pub fn read(dir: &Path, now: u64) -> Result<Self, Error> {
        let mut trust = Self { keys: Vec::new(), revoked: BTreeSet::new(), unfit: Vec::new(), today: day(now) };
        if !dir.is_dir() {
            return Ok(trust);
        }
        check_owner(dir)?;
        trust.revoked = revoked(&dir.join("revoked"))?;
        let mut paths: Vec<_> =
            std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|suffix| suffix == "pub"));
        paths.sort();
        for path in paths {
            match Trusted::read(&path) {
                Ok(key) => trust.keys.push(key),
                Err(error) => trust.unfit.push(error.to_string()),
            }
        }
        Ok(trust)
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What is wrong with files of keys.
    pub fn unfit(&self) -> &[String] {
        &self.unfit
    }

    /// Checks the signature of `bytes`; gives the name of the key's file.
    pub fn check(&self, bytes: &[u8], signature: &str) -> Result<String, Error> {
        let refused = |why: String| Error::Refused(why);
        let bad = |why: &dyn std::fmt::Display| refused(format!("the signature of the artefact can't be read: {why}"));
        if signature.len() as u64 > LONGEST {
            return Err(bad(&"it is too long"));
        }
        let decoded = Signature::decode(signature).map_err(|error| bad(&error))?;
        let identity = signature.lines().nth(1).and_then(identity).ok_or_else(|| bad(&"it names no key"))?;
        if self.revoked.contains(&identity) {
            return Err(refused(format!("the artefact is signed with key {identity}, which is revoked")));
        }
        let unfit: String = self.unfit.iter().map(|why| format!("; {why}")).collect();
        let mut why = format!("the artefact is signed with key {identity}, which is not trusted here{unfit}");
        // An identity is not secret: several keys may have it.
        for trusted in self.keys.iter().filter(|trusted| trusted.identity == identity) {
            if trusted.key.verify(bytes, &decoded, false).is_err() {
                why = format!("the artefact was changed after it was signed with key {identity} ({})", trusted.name);
            } else if trusted.expires.as_ref().is_some_and(|last| *last < self.today) {
                why = format!("the artefact is signed with key {identity} ({}), which has expired", trusted.name);
            } else {
                return Ok(trusted.name.clone());
            }
        }
        Err(refused(why))
    }

    /// Whether the artefact of this key may be used.
    pub fn check_key(&self, key: &Digest) -> Result<(), Error> {
        if self.revoked.contains(&key.to_string()) {
            return Err(Error::Refused("the artefact is revoked".to_owned()));
        }
        Ok(())
    }
}

impl Trusted {
    fn read(path: &Path) -> Result<Self, Error> {
        let unfit = |why: String| Error::Unfit { path: path.to_owned(), why };
        check_owner(path)?;
        let text = text(path)?;
        let key = PublicKey::decode(&text).map_err(|error| unfit(format!("it is no key of minisign: {error}")))?;
        let mut lines = text.lines();
        let comment = lines.next().unwrap_or_default();
        let expires = comment.split_whitespace().find_map(|word| word.strip_prefix(EXPIRES));
        if let Some(date) = expires.filter(|date| !is_date(date)) {
            return Err(unfit(format!("{EXPIRES}{date} is no date (YYYY-MM-DD)")));
        }
        let identity = lines.next().and_then(identity).ok_or_else(|| unfit("it has no key".to_owned()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, identity, key, expires: expires.map(str::to_owned) })
    }
}

/// The identity of the key in a line of base64: of a key, or of a signature. As minisign(1) prints it.
fn identity(line: &str) -> Option<String> {
    let bytes = Base64::decode_vec(line.trim()).ok()?;
    let number: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(number)))
}

/// The day of a time, in UTC.
fn day(now: u64) -> String {
    clock::utc(i64::try_from(now).unwrap_or(i64::MAX)).date().to_string()
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let is_number = |text: &str, length, most| {
        text.len() == length
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse().is_ok_and(|number: u32| (1..=most).contains(&number))
    };
    is_number(year, 4, 9999) && is_number(month, 2, 12) && is_number(day, 2, 31)
}

fn revoked(path: &Path) -> Result<BTreeSet<String>, Error> {
    // One that can't be reached must not pass for an empty one.
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(Error::Unfit { path: path.to_owned(), why: error.to_string() }),
        Ok(_) => check_owner(path)?,
    }
    let mut revoked = BTreeSet::new();
    for line in text(path)?.lines() {
        let word = line.split('#').next().unwrap_or_default().trim();
        let is_hexadecimal = word.bytes().all(|byte| byte.is_ascii_hexdigit());
        match word.len() {
            0 => {}
            16 if is_hexadecimal => drop(revoked.insert(word.to_ascii_uppercase())),
            64 if is_hexadecimal => drop(revoked.insert(word.to_ascii_lowercase())),
            _ => {
                let why = format!("{word:?} is neither a key's identity (16 digits) nor an artefact's key (64)");
                return Err(Error::Unfit { path: path.to_owned(), why });
            }
        }
    }
    Ok(revoked)
}

/// Whether nobody else could have written this.
fn check_owner(path: &Path) -> Result<(), Error> {
    let unfit = |why: String| Error::Unfit { path: path.to_owned(), why };
    let meta = fs_err::metadata(path).map_err(|error| unfit(error.to_string()))?;
    let own = rustix::process::geteuid().as_raw();
    if (meta.uid() != own && meta.uid() != 0) || meta.mode() & 0o022 != 0 {
        return Err(unfit("others may write to it: chown root, chmod go-w".to_owned()));
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, Error> {
    let unfit = |why: String| Error::Unfit { path: path.to_owned(), why };
    let bytes = durable::read_at_most(path, LONGEST).map_err(|error| unfit(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| unfit("it is no text".to_owned()))
}

/// The private key of a builder.
pub struct Signer(SecretKey);

impl Signer {
    /// Reads the key. It has no password: nobody is there to type one.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let unfit = |why: String| Error::Unfit { path: path.to_owned(), why };
        let meta = fs_err::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                unfit("there is no key to sign with. Make one: dkms share keygen".to_owned())
            }
            _ => unfit(error.to_string()),
        })?;
        if meta.mode() & 0o077 != 0 {
            return Err(unfit("others may read this private key: chmod 600".to_owned()));
        }
        let text = text(path)?;
        let key = SecretKeyBox::from_string(&text).and_then(SecretKeyBox::into_unencrypted_secret_key);
        key.map(Self)
            .map_err(|error| unfit(format!("it is no key of minisign without a password (minisign -G -W): {error}")))
    }

    /// The signature of `bytes`; `about` is signed, too.
    pub fn sign(&self, bytes: &[u8], about: &str) -> Result<String, Error> {
        let signed = minisign::sign(None, &self.0, bytes, Some(about), Some("signature of a build of dkms"));
        signed
            .map(minisign::SignatureBox::into_string)
            .map_err(|error| Error::Refused(format!("it can't be signed: {error}")))
    }
}

/// Makes a pair of keys: `secret`, and `public`, whose comment has the date.
pub fn generate(secret: &Path, public: &Path, expires: Option<&str>) -> Result<(), Error> {
    if let Some(date) = expires.filter(|date| !is_date(date)) {
        return Err(Error::Usage(format!("{date:?} is no date (YYYY-MM-DD)")));
    }
    if let Some(path) = [secret, public].into_iter().find(|path| path.exists()) {
        return Err(Error::Usage(format!("{} is there already; it is not replaced", path.display())));
    }
    let failed = |error: minisign::PError| Error::Unfit { path: secret.to_owned(), why: error.to_string() };
    let pair = KeyPair::generate_unencrypted_keypair().map_err(failed)?;
    let hidden = pair.sk.to_box(Some("dkms share: private key, for builders only")).map_err(failed)?.into_string();
    let shown: PublicKeyBox = pair.pk.to_box().map_err(failed)?;
    let shown = shown.into_string();
    let key = shown.lines().nth(1).unwrap_or_default();
    let until = expires.map(|date| format!(" {EXPIRES}{date}")).unwrap_or_default();
    let name = identity(key).unwrap_or_default();
    let shown = format!("untrusted comment: minisign public key {name}{until}\n{key}\n");
    for dir in [secret, public].into_iter().filter_map(Path::parent) {
        durable::make_dirs(dir, 0o755)?;
    }
    durable::write_atomic(secret, hidden.as_bytes(), 0o600)?;
    Ok(durable::write_atomic(public, shown.as_bytes(), 0o644)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_796_040_000; // 2026-11-30

    fn keys(dir: &Path, name: &str, expires: Option<&str>) -> Signer {
        let secret = dir.join(format!("{name}.key"));
        generate(&secret, &dir.join(format!("share.d/{name}.pub")), expires).unwrap();
        Signer::read(&secret).unwrap()
    }

    fn why(trust: &Trust, bytes: &[u8], signature: &str) -> String {
        trust.check(bytes, signature).unwrap_err().to_string()
    }

    #[test]
    fn who_is_trusted() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("share.d");
        let read = || Trust::read(&dir, NOW).unwrap();
        assert!(read().is_empty());
        let (one, two) = (keys(tmp.path(), "one", None), keys(tmp.path(), "two", Some("2026-11-30")));
        let signature = one.sign(b"bytes", "about").unwrap();
        assert_eq!(read().check(b"bytes", &signature).unwrap(), "one");
        assert_eq!(read().check(b"bytes", &two.sign(b"bytes", "about").unwrap()).unwrap(), "two");
        assert!(why(&read(), b"byteS", &signature).contains("was changed after"));
        // What is said about it is signed, too.
        assert!(why(&read(), b"bytes", &signature.replace("about", "other")).contains("was changed after"));
        for bad in ["", "x", &signature[..60], &signature.replace('\n', " "), &signature.repeat(1000)] {
            assert!(why(&read(), b"bytes", bad).contains("can't be read"), "{bad}");
        }
        // A key that is not there any more, or is another.
        fs_err::remove_file(dir.join("one.pub")).unwrap();
        assert!(why(&read(), b"bytes", &signature).contains("not trusted"));
        fs_err::copy(dir.join("two.pub"), dir.join("one.pub")).unwrap();
        assert!(why(&read(), b"bytes", &signature).contains("not trusted"));
        // A day later.
        let later = Trust::read(&dir, NOW + 24 * 3600).unwrap();
        assert!(why(&later, b"bytes", &two.sign(b"bytes", "about").unwrap()).contains("expired"));
    }

    #[test]
    fn what_is_revoked() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("share.d");
        let signer = keys(tmp.path(), "one", None);
        let signature = signer.sign(b"bytes", "about").unwrap();
        let identity = identity(signature.lines().nth(1).unwrap()).unwrap();
        let key = Digest::of(b"key");
        let list = |text: &str| {
            fs_err::write(dir.join("revoked"), text).unwrap();
            Trust::read(&dir, NOW)
        };
        let trust = list(&format!("# nothing\n\n{}\n", Digest::of(b"other"))).unwrap();
        trust.check(b"bytes", &signature).unwrap();
        trust.check_key(&key).unwrap();
        let trust = list(&format!("{} # lost\n{key}", identity.to_lowercase())).unwrap();
        assert!(why(&trust, b"bytes", &signature).contains("revoked"));
        trust.check_key(&key).unwrap_err();
        // A slip in this list must not pass for an empty one.
        list("0123").unwrap_err();
        list(&format!("{key}0")).unwrap_err();
        // Nor one that is not there, or that others may write to.
        list("").unwrap();
        let path = dir.join("revoked");
        fs_err::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        Trust::read(&dir, NOW).unwrap_err();
        fs_err::remove_file(&path).unwrap();
        Trust::read(&dir, NOW).unwrap();
        fs_err::os::unix::fs::symlink("nowhere", &path).unwrap();
        Trust::read(&dir, NOW).unwrap_err();
    }

    #[test]
    fn what_others_may_write_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt;
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("share.d");
        keys(tmp.path(), "one", None);
        let mode = |path: &Path, mode| fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(&dir.join("one.pub"), 0o666);
        let trust = Trust::read(&dir, NOW).unwrap();
        assert!(trust.is_empty() && trust.unfit().len() == 1);
        mode(&dir.join("one.pub"), 0o644);
        mode(&dir, 0o777);
        Trust::read(&dir, NOW).unwrap_err();
        mode(&dir, 0o755);
        fs_err::write(dir.join("two.pub"), "untrusted comment: x expires=2026-13-01\nRWQ\n").unwrap();
        assert_eq!(Trust::read(&dir, NOW).unwrap().unfit().len(), 1);
        // Private keys are private, and not replaced.
        mode(&tmp.path().join("one.key"), 0o644);
        assert!(Signer::read(&tmp.path().join("one.key")).is_err());
        assert!(generate(&tmp.path().join("one.key"), &dir.join("three.pub"), None).is_err());
        assert!(generate(&tmp.path().join("new.key"), &dir.join("three.pub"), Some("tomorrow")).is_err());
    }
}
