//! The system's log: what is left of what was said when nobody watches (PackageKit, unattended upgrades, the boot).

use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// How much a line matters (syslog(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something is missing.
    Error = 3,
    /// Something may be wrong.
    Warning = 4,
    /// Something was done.
    Notice = 5,
}

/// The facility "daemon", as it counts in a line's number (syslog(3): `<facility * 8 + severity>`).
const DAEMON: u8 = 3 << 3;

/// Sends lines to the log at `socket`, if there is one that listens. Says whether all were taken.
pub fn send<'a>(socket: &Path, lines: impl IntoIterator<Item = (Severity, &'a str)>) -> bool {
    let Ok(sender) = UnixDatagram::unbound() else { return false };
    // Never wait for a log that nobody empties.
    let _ = sender.set_nonblocking(true);
    let mut all = true;
    for (severity, line) in lines {
        let number = DAEMON | severity as u8;
        all &= sender.send_to(format!("<{number}>dkms: {line}").as_bytes(), socket).is_ok();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_severity() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("log");
        assert!(!send(&path, [(Severity::Error, "nobody listens")]));
        let log = UnixDatagram::bind(&path).unwrap();
        assert!(send(&path, [(Severity::Error, "a"), (Severity::Notice, "b")]));
        let mut bytes = [0; 99];
        for expected in ["<27>dkms: a", "<29>dkms: b"] {
            let length = log.recv(&mut bytes).unwrap();
            assert_eq!(std::str::from_utf8(&bytes[..length]).unwrap(), expected);
        }
    }
}
