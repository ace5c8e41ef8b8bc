//! Keys of every kind, and byte equality with the kernel's own `sign-file`: the expected files in
//! `tests/data/sign` were made by it (`tests/scripts/sign-fixtures.sh`).

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HASHES: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

/// A file of the fixtures.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sign").join(name)
}

/// A time at which the fixtures' certificates are valid: 2027-01-15.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn module() -> Vec<u8> {
    fs_err::read(data("module.ko")).unwrap()
}

fn load(key: &str, cert: &str) -> Result<Signer, SignError> {
    Signer::load(&data(key), &data(cert), Hash::Sha512, now())
}

#[test]
fn signed_as_by_sign_file() {
    for bits in [2048, 3072, 4096] {
        for hash in HASHES {
            let signer =
                Signer::load(&data(&format!("rsa{bits}.key")), &data(&format!("rsa{bits}.pem")), hash, now()).unwrap();
            let expected = fs_err::read(data(&format!("rsa{bits}.{}.signed", hash.name())));
            let done = signer.sign(&module()).unwrap();
            assert!(done == expected.unwrap(), "rsa{bits} {hash:?}");
            let message = verify(&done, signer.certificate()).unwrap();
            assert_eq!(message.hash, hash.name());
            assert_eq!(message.signer_name().unwrap(), format!("dkms test rsa{bits}"));
            assert_eq!(message.key_id(), signer.certificate().serial_text());
            assert_eq!(strip_signature(&done), module());
            assert!(signer.sign(&done).unwrap() == done, "never signed twice");
        }
    }
}

#[test]
fn every_form_of_the_same_key_signs_the_same() {
    let expected = fs_err::read(data("rsa2048.sha512.signed")).unwrap();
    for key in ["rsa2048.key", "rsa2048.key.der", "rsa2048.pkcs1.key", "rsa2048.pkcs1.key.der", "rsa2048.both.pem"] {
        for cert in ["rsa2048.pem", "rsa2048.der", "rsa2048.both.pem"] {
            let signer = load(key, cert).unwrap();
            assert!(signer.sign(&module()).unwrap() == expected, "{key} {cert}");
        }
    }
}

#[test]
fn openssl_agrees() {
    let tmp = tempfile::tempdir().unwrap();
    let signed = load("rsa3072.key", "rsa3072.pem").unwrap().sign(&module());
    let signed = signed.unwrap();
    let Split::Signed { pkcs7, .. } = split(&signed) else { panic!("not signed") };
    fs_err::write(tmp.path().join("p7s"), pkcs7).unwrap();
    let mut check = crate::process::command("openssl");
    check.args(["cms", "-verify", "-binary", "-inform", "DER", "-noverify"]);
    check.arg("-in").arg(tmp.path().join("p7s"));
    check.arg("-certfile").arg(data("rsa3072.pem"));
    check.args(["-out", "/dev/null", "-content"]);
    let good = check.arg(data("module.ko")).output().unwrap();
    assert!(good.status.success(), "{good:?}");
}

#[test]
fn keys_for_the_program_are_told_from_broken_ones() {
    for (key, cert) in [
        ("ec.key", "ec.pem"),
        ("rsa1024.key", "rsa1024.pem"),
        ("rsa2048.encrypted.key", "rsa2048.pem"),
        ("rsa2048.encrypted.pkcs1.key", "rsa2048.pem"),
    ] {
        let error = load(key, cert).unwrap_err();
        assert!(error.program_may_help(), "{key}: {error}");
    }
    let token = Signer::load(Path::new("pkcs11:token=x"), &data("ec.pem"), Hash::Sha256, now());
    assert!(token.unwrap_err().program_may_help());

    let error = |key, cert| load(key, cert).unwrap_err();
    assert!(matches!(error("nowhere", "ec.pem"), SignError::Read { .. }));
    assert!(matches!(error(".", "ec.pem"), SignError::NotAFile { .. }));
    assert!(matches!(error("module.ko", "ec.pem"), SignError::NotAKey { .. }));
    assert!(matches!(error("rsa2048.der", "ec.pem"), SignError::NotAKey { .. }));
    assert!(matches!(error("rsa2048.key", "module.ko"), SignError::NotACertificate { .. }));
    assert!(matches!(error("rsa2048.key", "rsa3072.pem"), SignError::Mismatch { .. }));
    assert!(matches!(error("rsa2048.key", "expired.pem"), SignError::Expired { .. }));
}

#[test]
fn a_damaged_key_is_an_error_and_never_a_bad_signature() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("key");
    let cert = data("rsa2048.der");
    let whole = fs_err::read(data("rsa2048.key.der")).unwrap();
    let expected = fs_err::read(data("rsa2048.sha512.signed")).unwrap();
    let mut refused = 0;
    // Through modulus, exponents (the private one is not used: primes are), primes, remainders.
    for at in (40..whole.len()).step_by(50) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x54;
        fs_err::write(&path, &bytes).unwrap();
        let done = Signer::load(&path, &cert, Hash::Sha512, now()).and_then(|signer| signer.sign(&module()));
        match done {
            Ok(bytes) => assert!(bytes == expected, "{at}"),
            Err(error) => {
                assert!(!error.program_may_help(), "{at}: {error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 12, "{refused}");
    fs_err::write(&path, &whole[..600]).unwrap();
    assert!(Signer::load(&path, &cert, Hash::Sha512, now()).is_err());
}

#[test]
fn notes_name_loose_modes_and_early_certificates_and_nothing_secret_is_shown() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("key");
    fs_err::copy(data("rsa2048.key"), &path).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let signer = Signer::load(&path, &data("rsa2048.pem"), Hash::Sha256, UNIX_EPOCH).unwrap();
    assert_eq!(signer.notes().len(), 2, "{:?}", signer.notes());
    let shown = format!("{signer:?}");
    assert!(shown.contains("dkms test rsa2048") && shown.len() < 300, "{shown}");
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let signer = Signer::load(&path, &data("rsa2048.pem"), Hash::Sha256, now()).unwrap();
    assert!(signer.notes().is_empty());
}

#[test]
fn bad_signatures_are_told_apart() {
    let cert = Certificate::load(&data("rsa2048.der")).unwrap();
    let other = Certificate::load(&data("rsa3072.pem")).unwrap();
    let signed = fs_err::read(data("rsa2048.sha256.signed")).unwrap();
    assert_eq!(verify(&module(), &cert), Err(Untrusted::Unsigned));
    assert!(matches!(verify(&signed, &other), Err(Untrusted::OtherKey(_))));
    let mut changed = signed.clone();
    changed[100] ^= 1;
    assert_eq!(verify(&changed, &cert), Err(Untrusted::Tampered));
    let mut broken = signed.clone();
    broken[module().len()] = 0;
    assert_eq!(verify(&broken, &cert), Err(Untrusted::Broken));
    let sha1 = fs_err::read(data("rsa2048.sha1.signed")).unwrap();
    assert_eq!(verify(&sha1, &cert), Err(Untrusted::Unsupported("sha1".to_owned())));
    assert_eq!(facts(&sha1).unwrap().hash, "sha1");
}

#[test]
fn a_program_signs_a_copy_or_leaves_the_module_alone() {
    let tmp = tempfile::tempdir().unwrap();
    let target = tmp.path().join("module.ko");
    let program = tmp.path().join("sign");
    let run = |script: &str| {
        fs_err::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs_err::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        fs_err::copy(data("module.ko"), &target).unwrap();
        let cert = data("rsa2048.pem");
        let result = program::sign_file(&program, "sha1", Path::new("pkcs11:x"), &cert, &target);
        let left = fs_err::read_dir(tmp.path()).unwrap().count();
        assert_eq!(left, 2, "no scratch is left");
        (result, fs_err::read(&target).unwrap())
    };
    let expected = data("rsa2048.sha1.signed");
    let (result, bytes) = run(&format!("[ \"$1 $2 $#\" = 'sha1 pkcs11:x 4' ] && cp '{}' \"$4\"", expected.display()));
    result.unwrap();
    assert!(bytes == fs_err::read(expected).unwrap());
    let (result, bytes) = run("echo half > \"$4\"; echo no token >&2; exit 3");
    let words = result.unwrap_err().to_string();
    assert!(words.contains("no token") && bytes == module(), "{words}");
    let (result, bytes) = run("exit 0");
    assert!(matches!(result, Err(SignError::NothingSigned { .. })) && bytes == module());
}
