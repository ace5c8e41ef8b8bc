//! The system calls that rustix does not have, or not as a safe function. All `unsafe` of the core is here.

use std::io;

use rustix::thread::UnshareFlags;

/// Keeps what the caller has open, but for standard input, output and error, from every program that we start: a package
/// manager has its own state open. (What a task is to have, a jobserver for one, is given to it by its number.)
#[allow(unsafe_code)]
pub(super) fn keep_descriptors() {
    const FIRST: u32 = 3;
    /// `CLOSE_RANGE_CLOEXEC` (linux/close_range.h), since Linux 5.11.
    const CLOEXEC: u32 = 4;
    // SAFETY: with this flag close_range(2) closes nothing, and it takes no memory of ours.
    let done = unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, CLOEXEC) };
    if done != 0 {
        log::debug!("the caller's descriptors are inherited: {}", io::Error::last_os_error());
    }
}

/// Exchanges the caller's session keyring, whose keys anybody who has it can read, for an empty one (keyrings(7),
/// keyctl_join_session_keyring(3)). Kernels without keyrings have none to leave.
#[allow(unsafe_code)]
pub(super) fn leave_session_keyring() {
    // SAFETY: this operation of keyctl(2), without a name, neither reads nor writes memory of ours.
    unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, 0_usize) };
}

/// unshare(2).
#[allow(unsafe_code)]
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: unshare(2) is unsafe for UnshareFlags::FILES only (another thread may lose sight of its
    // descriptors); FILES is never asked for, and this stage has one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(Into::into)
}

/// Makes the root and all that is mounted below it read-only (mount_setattr(2), since Linux 5.12).
#[allow(unsafe_code)]
pub(super) fn read_only() -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a C string, the structure is of the size given; neither is kept or written to.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
