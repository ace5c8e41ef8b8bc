//! Signing with the kernel's `sign-file` program, or one that is called like it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use super::SignError;
use super::append::{self, Split};

/// Runs `<program> <hash> <key> <cert> <copy of module>` and, if the copy then carries a
/// signature, renames it over `module` (uncompressed, not signed). On any error `module` is
/// untouched. `key` may be a `pkcs11:` URI. `hash` is the kernel's word. The environment is passed
/// on: `sign-file` takes a passphrase from KBUILD_SIGN_PIN.
pub fn sign_file(program: &Path, hash: &str, key: &Path, cert: &Path, module: &Path) -> Result<(), SignError> {
    let file = |doing| move |source| SignError::File { doing, source };
    let parent = module.parent().unwrap_or(Path::new("."));
    let name = module.file_name().unwrap_or(module.as_os_str());
    let scratch = tempfile::Builder::new()
        .prefix(".dkms-sign-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(file("can't make a directory to sign in"))?;
    let copy = scratch.path().join(name);
    fs_err::copy(module, &copy).map_err(file("can't copy the module to sign it"))?;
    let ended = crate::process::command(program)
        .arg(hash)
        .arg(key)
        .arg(cert)
        .arg(&copy)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| SignError::Start { program: program.to_owned(), source })?;
    if !ended.status.success() {
        return Err(failed(program, &ended));
    }
    let signed = fs_err::read(&copy).map_err(file("can't read the signed module"))?;
    if !matches!(append::split(&signed), Split::Signed { .. }) {
        return Err(SignError::NothingSigned { program: program.to_owned(), file: module.to_owned() });
    }
    fs_err::rename(&copy, module).map_err(file("can't put the signed module in place"))
}

/// The error for a program that ended badly.
pub(super) fn failed(program: &Path, ended: &std::process::Output) -> SignError {
    let mut output = String::from_utf8_lossy(&ended.stdout).into_owned();
    output.push_str(&String::from_utf8_lossy(&ended.stderr));
    SignError::Failed {
        program: program.to_owned(),
        status: ended.status.to_string(),
        output: output.trim().to_owned(),
    }
}
