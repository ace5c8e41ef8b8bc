//! The processes above one: its parent, that one's parent, and so on (proc_pid_stat(5)).

use std::path::Path;

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The process that started it, or that took it over; 0: none.
    pub parent: u32,
    /// When it began, in clock ticks since the system did: with its number, it names a process for good.
    pub began: u64,
}

impl Stat {
    /// Reads the facts of process `pid` below `proc` (`/proc`); `None` if there is no such process.
    pub fn of(proc: &Path, pid: u32) -> Option<Self> {
        let text = std::fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
        let text = String::from_utf8_lossy(&text);
        // The second field, in parentheses, is the command: it may hold anything, also parentheses and line ends.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        // The fields 4 and 22.
        Some(Self { parent: fields.nth(1)?.parse().ok()?, began: fields.nth(17)?.parse().ok()? })
    }
}

/// The processes above `pid`, nearest first; `proc` is `/proc`. A process that cannot be read is the last one.
pub fn above(proc: &Path, pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut here = pid;
    while let Some(Stat { parent, .. }) = Stat::of(proc, here) {
        // Processes may end, and numbers be used again, while we read.
        if parent == 0 || parent == pid || found.contains(&parent) {
            break;
        }
        found.push(parent);
        here = parent;
    }
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Writes the `stat` of a process that is called `command`, below a stand-in for `/proc`.
    pub(crate) fn stat(proc: &Path, pid: u32, command: &str, parent: u32) {
        let dir = proc.join(pid.to_string());
        fs_err::create_dir_all(&dir).unwrap();
        let began = u64::from(pid) * 100;
        let text = format!("{pid} ({command}) S {parent} 1 1 0 -1 4194560 5 6 7 8 9 10 11 12 20 0 1 0 {began} 1 2 3\n");
        fs_err::write(dir.join("stat"), text).unwrap();
    }

    #[test]
    fn a_command_may_be_called_anything() {
        let proc = tempfile::tempdir().unwrap();
        for command in ["sh", "a b", ") R 9 9", "((", "x)\ny", ""] {
            stat(proc.path(), 7, command, 3);
            assert_eq!(Stat::of(proc.path(), 7), Some(Stat { parent: 3, began: 700 }), "{command:?}");
        }
        fs_err::write(proc.path().join("7/stat"), b"7 (\xff) S 3 1 1 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 5 1").unwrap();
        assert_eq!(Stat::of(proc.path(), 7), Some(Stat { parent: 3, began: 5 }));
        for text in ["", "7", "7 (sh", "7 (sh)", "7 (sh) S", "7 (sh) S x", "7 (sh) S 3 1", "7 (sh) S -1 1 1"] {
            fs_err::write(proc.path().join("7/stat"), text).unwrap();
            assert_eq!(Stat::of(proc.path(), 7), None, "{text:?}");
        }
        assert_eq!(Stat::of(proc.path(), 8), None);
    }

    #[test]
    fn the_nearest_comes_first_and_a_circle_ends() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, parent) in [(1, 0), (5, 1), (7, 5), (9, 7)] {
            stat(proc.path(), pid, "sh", parent);
        }
        assert_eq!(above(proc.path(), 9), [7, 5, 1]);
        stat(proc.path(), 1, "sh", 5);
        assert_eq!(above(proc.path(), 9), [7, 5, 1]);
        stat(proc.path(), 1, "sh", 9);
        assert_eq!(above(proc.path(), 9), [7, 5, 1]);
        assert_eq!(above(proc.path(), 11), Vec::<u32>::new());
    }

    #[test]
    fn the_kernel_agrees() {
        let above = above(Path::new("/proc"), std::process::id());
        assert_eq!(
            above.first().copied(),
            rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok())
        );
    }
}
