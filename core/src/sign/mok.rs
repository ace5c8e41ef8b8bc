//! Making a machine owner key: an RSA key and a self-signed certificate that shim and the kernel
//! accept for modules.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::{Certificate, SignError, program};

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Nothing: key and certificate were there.
    Nothing,
    /// A certificate for the key that was there.
    Certificate,
    /// A new key and its certificate.
    Both,
}

/// The request, read by openssl from a file so that nothing is in an argument but file names.
///
/// CA:TRUE is what the classic's certificates have, and what kernels with
/// CONFIG_INTEGRITY_CA_MACHINE_KEYRING ask for. 1.3.6.1.4.1.2312.16.1.2 says "kernel modules only":
/// shim then refuses boot loaders and kernels signed with this key.
const CONFIG: &str = "\
[req]
prompt = no
string_mask = utf8only
distinguished_name = name
x509_extensions = extensions
[name]
CN = DKMS module signing key
[extensions]
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature,keyCertSign
extendedKeyUsage = codeSigning,1.3.6.1.4.1.2312.16.1.2
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
";

/// The classic's validity.
const DAYS: &str = "36500";

/// Makes what is missing of `key` (PEM PKCS#8, mode 0600, no passphrase) and `cert` (DER, mode
/// 0644), both outer paths, with the program `openssl`; missing directories are made.
///
/// Nothing is ever overwritten. A missing certificate is made anew from the key. A missing key
/// beside an existing certificate is an error ([`SignError::KeyLost`]): that certificate may be
/// enrolled. The key is born with mode 0600 in a directory of mode 0700 beside its destination,
/// and renamed from there.
pub fn generate(key: &Path, cert: &Path, openssl: &OsStr) -> Result<Made, SignError> {
    clear_dead(&[key, cert]);
    let made = match (key.exists(), cert.exists()) {
        (true, true) => return Ok(Made::Nothing),
        (false, true) => {
            return Err(SignError::KeyLost { key: key.to_owned(), cert: cert.to_owned() });
        }
        (true, false) => Made::Certificate,
        (false, false) => Made::Both,
    };
    let key_home = home(key)?;
    let cert_home = home(cert)?;
    let private = private_dir(key_home)?;
    let config = private.path().join("request.cnf");
    fs_err::write(&config, CONFIG).map_err(file("can't write the certificate request"))?;

    let new_key = private.path().join("key");
    let new_cert = private.path().join("certificate");
    let mut command = crate::process::command(openssl);
    command.args(["req", "-new", "-x509", "-sha256", "-batch", "-outform", "DER"]);
    command.args(["-days", DAYS, "-config"]).arg(&config);
    command.arg("-out").arg(&new_cert);
    if made == Made::Both {
        // openssl keeps the mode of a file that exists.
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new_key)
            .map_err(file("can't create the key file"))?;
        command.args(["-newkey", "rsa:2048", "-nodes", "-keyout"]);
        command.arg(&new_key);
    } else {
        command.arg("-key").arg(key);
    }
    let ended = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| SignError::Start { program: Path::new(openssl).to_owned(), source })?;
    if !ended.status.success() {
        return Err(program::failed(Path::new(openssl), &ended));
    }
    Certificate::load(&new_cert)?;

    if made == Made::Both {
        put(&new_key, key, 0o600)?;
    }
    // The certificate may live on another file system than the key: its last step starts beside it.
    let beside = private_dir(cert_home)?;
    let ready = beside.path().join("certificate");
    fs_err::copy(&new_cert, &ready).map_err(file("can't copy the certificate"))?;
    put(&ready, cert, 0o644)?;
    Ok(made)
}

fn file(doing: &'static str) -> impl Fn(io::Error) -> SignError {
    move |source| SignError::File { doing, source }
}

/// The directory that `path` is in, made if missing.
fn home(path: &Path) -> Result<&Path, SignError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs_err::create_dir_all(parent).map_err(file("can't make the key directory"))?;
    Ok(parent)
}

/// What begins the name of a private directory.
const PRIVATE: &str = ".dkms-mok-";

/// A directory that only root can look into. As long as it is open, it is locked: [`clear_dead`] leaves it alone.
struct Private {
    dir: tempfile::TempDir,
    _alive: std::fs::File,
}

impl Private {
    fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn private_dir(parent: &Path) -> Result<Private, SignError> {
    let failed = file("can't make a private directory for the new key");
    loop {
        let dir = tempfile::Builder::new()
            .prefix(PRIVATE)
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(&failed)?;
        let alive = fs_err::File::open(dir.path()).map_err(&failed)?.into_parts().0;
        flock(&alive, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        // Taken for dead in the moment before it was locked?
        if dir.path().exists() {
            return Ok(Private { dir, _alive: alive });
        }
    }
}

/// Deletes the private directories that killed runs have left beside these files: a key may be in one.
pub fn clear_dead(files: &[&Path]) {
    let parents = files.iter().filter_map(|file| file.parent());
    for entry in parents.flat_map(|parent| std::fs::read_dir(parent).into_iter().flatten().flatten()) {
        if !entry.file_name().to_string_lossy().starts_with(PRIVATE) {
            continue;
        }
        let is_dead = std::fs::File::open(entry.path())
            .is_ok_and(|dir| flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok());
        if is_dead {
            if let Err(error) = std::fs::remove_dir_all(entry.path()) {
                log::warn!("{}: {error}", entry.path().display());
            }
        }
    }
}

/// Renames `from` to `to` durably, with this mode, unless `to` exists.
fn put(from: &Path, to: &Path, mode: u32) -> Result<(), SignError> {
    let failed = file("can't put the new key or certificate in place");
    fs_err::set_permissions(from, std::fs::Permissions::from_mode(mode)).map_err(&failed)?;
    let opened = fs_err::File::open(from).map_err(&failed)?;
    opened.sync_all().map_err(&failed)?;
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without that flag: a hard link never replaces either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => std::fs::hard_link(from, to),
        other => other.map_err(io::Error::from),
    };
    match renamed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(SignError::Exists { path: to.to_owned() });
        }
        other => other.map_err(&failed)?,
    }
    let parent = to.parent().unwrap_or(Path::new("."));
    fs_err::File::open(parent).and_then(|dir| dir.sync_all()).map_err(&failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{Hash, Signer, verify};
    use std::time::{Duration, UNIX_EPOCH};

    fn mode(path: &Path) -> u32 {
        fs_err::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// A killed run leaves its directory, with a key perhaps, which the next one deletes; not one that is in use.
    #[test]
    fn what_a_killed_run_left_goes() {
        let tmp = tempfile::tempdir().unwrap();
        let dead = tmp.path().join(".dkms-mok-killed");
        fs_err::create_dir(&dead).unwrap();
        fs_err::write(dead.join("key"), "secret").unwrap();
        let alive = private_dir(tmp.path()).unwrap();
        let (key, cert) = (tmp.path().join("mok.key"), tmp.path().join("mok.pub"));
        for path in [&key, &cert] {
            fs_err::write(path, "").unwrap();
        }
        assert_eq!(generate(&key, &cert, OsStr::new("openssl")).unwrap(), Made::Nothing);
        assert!(!dead.exists());
        assert!(alive.path().exists());
    }

    #[test]
    fn a_new_pair_signs_and_is_never_overwritten() {
        let tmp = tempfile::tempdir().unwrap();
        let key = tmp.path().join("keys/mok.key");
        let cert = tmp.path().join("certs/mok.pub");
        let openssl = OsStr::new("openssl");
        assert_eq!(generate(&key, &cert, openssl).unwrap(), Made::Both);
        assert_eq!((mode(&key), mode(&cert)), (0o600, 0o644));
        let text = fs_err::read_to_string(&key).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(fs_err::read_dir(key.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(fs_err::read_dir(cert.parent().unwrap()).unwrap().count(), 1);

        let parsed = Certificate::load(&cert).unwrap();
        assert_eq!(parsed.subject_name().unwrap(), "DKMS module signing key");
        assert_eq!(parsed.der, fs_err::read(&cert).unwrap(), "DER");
        assert_eq!(parsed.not_after - parsed.not_before, 36_500 * 86_400);
        let shown = crate::process::command("openssl")
            .args(["x509", "-noout", "-text", "-inform", "DER", "-in"])
            .arg(&cert)
            .output()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        for expected in ["CA:TRUE", "Code Signing, 1.3.6.1.4.1.2312.16.1.2", "Version: 3"] {
            assert!(shown.contains(expected), "{expected}: {shown}");
        }

        let now = UNIX_EPOCH + Duration::from_secs(u64::try_from(parsed.not_before).unwrap());
        let signer = Signer::load(&key, &cert, Hash::Sha512, now).unwrap();
        assert!(signer.notes().is_empty());
        verify(&signer.sign(b"module").unwrap(), &parsed).unwrap();

        assert_eq!(generate(&key, &cert, openssl).unwrap(), Made::Nothing);
        fs_err::remove_file(&cert).unwrap();
        assert_eq!(generate(&key, &cert, openssl).unwrap(), Made::Certificate);
        assert_eq!(fs_err::read_to_string(&key).unwrap(), text, "same key");
        Signer::load(&key, &cert, Hash::Sha256, now + Duration::from_secs(3600)).unwrap();

        fs_err::remove_file(&key).unwrap();
        let error = generate(&key, &cert, openssl).unwrap_err();
        assert!(matches!(error, SignError::KeyLost { .. }));
        let words = error.to_string();
        assert!(words.contains("mok.key") && words.contains("mok.pub"), "{words}");
        assert!(cert.exists() && !key.exists());
    }

    #[test]
    fn a_failing_or_missing_openssl_leaves_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let (key, cert) = (tmp.path().join("k"), tmp.path().join("c"));
        let error = generate(&key, &cert, OsStr::new("false")).unwrap_err();
        assert!(matches!(error, SignError::Failed { .. }));
        let error = generate(&key, &cert, OsStr::new("/nowhere/openssl")).unwrap_err();
        assert!(matches!(error, SignError::Start { .. }));
        assert_eq!(fs_err::read_dir(tmp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_race_does_not_overwrite() {
        let tmp = tempfile::tempdir().unwrap();
        let (from, to) = (tmp.path().join("a"), tmp.path().join("b"));
        fs_err::write(&from, "new").unwrap();
        fs_err::write(&to, "old").unwrap();
        assert!(matches!(put(&from, &to, 0o600), Err(SignError::Exists { .. })));
        assert_eq!(fs_err::read(&to).unwrap(), b"old");
    }
}
