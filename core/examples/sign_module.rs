//! Signs one module in this process, for `tests/scripts/sign-equality.sh`:
//! `sign_module HASH KEY CERTIFICATE IN OUT`, arguments as the kernel's `sign-file` takes them.

use std::path::Path;

use dkms_core::sign::{Hash, Signer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [hash, key, cert, from, to] = &words[..] else {
        return Err("usage: sign_module HASH KEY CERTIFICATE IN OUT".into());
    };
    let hash = Hash::from_name(hash).ok_or("a hash that is not done in process")?;
    #[allow(clippy::disallowed_methods)] // a command line of its own
    let now = std::time::SystemTime::now();
    let signer = Signer::load(Path::new(key), Path::new(cert), hash, now)?;
    fs_err::write(to, signer.sign(&fs_err::read(from)?)?)?;
    Ok(())
}
