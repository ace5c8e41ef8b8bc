//! The system calls that a point can be at: what each does, and which of its arguments are paths or descriptors.

use nix::libc;

/// What a system call does to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Opens a file to change it.
    Create,
    /// Writes to a file or sets its length.
    Write,
    /// Gives a file another name.
    Rename,
    /// Makes a directory, a link or a device.
    Make,
    /// Takes a name away.
    Remove,
    /// Changes mode, owner, times or extended attributes.
    Attribute,
    /// Makes something durable.
    Sync,
    /// Starts a thread or a process.
    Spawn,
    /// Opens a file to read it.
    Open,
    /// Reads a file or a directory.
    Read,
}

impl Kind {
    /// Whether it changes something: the points at which a kill makes a difference.
    pub fn changes(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Spawn)
    }

    /// The errors that such a call is made to end with.
    pub fn errors(self) -> &'static [i32] {
        match self {
            Self::Create => &[libc::ENOSPC, libc::EIO, libc::EROFS, libc::EACCES, libc::EMFILE, libc::ENOMEM],
            Self::Write => &[libc::ENOSPC, libc::EIO, libc::ENOMEM],
            Self::Rename | Self::Make => &[libc::ENOSPC, libc::EIO, libc::EROFS, libc::EACCES, libc::ENOMEM],
            Self::Remove | Self::Attribute => &[libc::EIO, libc::EROFS, libc::EACCES, libc::ENOMEM],
            Self::Sync => &[libc::EIO, libc::ENOSPC],
            Self::Spawn => &[libc::EAGAIN, libc::ENOMEM],
            Self::Open => &[libc::EIO, libc::EACCES, libc::EMFILE, libc::ENOMEM],
            Self::Read => &[libc::EIO, libc::ENOMEM],
        }
    }
}

/// Where a call's argument says which file is meant.
#[derive(Debug, Clone, Copy)]
pub enum Operand {
    /// A path.
    Path(usize),
    /// A path below a directory's descriptor.
    At(usize, usize),
    /// A descriptor.
    Descriptor(usize),
}

use Operand::{At, Descriptor, Path};

/// A system call: its number, its name, what it does, its operands.
type Row = (libc::c_long, &'static str, Kind, &'static [Operand]);

const TABLE: &[Row] = &[
    (libc::SYS_open, "open", Kind::Open, &[Path(0)]),
    (libc::SYS_openat, "openat", Kind::Open, &[At(0, 1)]),
    (libc::SYS_openat2, "openat2", Kind::Open, &[At(0, 1)]),
    (libc::SYS_creat, "creat", Kind::Create, &[Path(0)]),
    (libc::SYS_write, "write", Kind::Write, &[Descriptor(0)]),
    (libc::SYS_pwrite64, "pwrite64", Kind::Write, &[Descriptor(0)]),
    (libc::SYS_writev, "writev", Kind::Write, &[Descriptor(0)]),
    (libc::SYS_copy_file_range, "copy_file_range", Kind::Write, &[Descriptor(2)]),
    (libc::SYS_sendfile, "sendfile", Kind::Write, &[Descriptor(0)]),
    (libc::SYS_ftruncate, "ftruncate", Kind::Write, &[Descriptor(0)]),
    (libc::SYS_truncate, "truncate", Kind::Write, &[Path(0)]),
    (libc::SYS_fallocate, "fallocate", Kind::Write, &[Descriptor(0)]),
    (libc::SYS_rename, "rename", Kind::Rename, &[Path(0), Path(1)]),
    (libc::SYS_renameat, "renameat", Kind::Rename, &[At(0, 1), At(2, 3)]),
    (libc::SYS_renameat2, "renameat2", Kind::Rename, &[At(0, 1), At(2, 3)]),
    (libc::SYS_mkdir, "mkdir", Kind::Make, &[Path(0)]),
    (libc::SYS_mkdirat, "mkdirat", Kind::Make, &[At(0, 1)]),
    (libc::SYS_symlink, "symlink", Kind::Make, &[Path(1)]),
    (libc::SYS_symlinkat, "symlinkat", Kind::Make, &[At(1, 2)]),
    (libc::SYS_link, "link", Kind::Make, &[Path(0), Path(1)]),
    (libc::SYS_linkat, "linkat", Kind::Make, &[At(0, 1), At(2, 3)]),
    (libc::SYS_mknodat, "mknodat", Kind::Make, &[At(0, 1)]),
    (libc::SYS_unlink, "unlink", Kind::Remove, &[Path(0)]),
    (libc::SYS_unlinkat, "unlinkat", Kind::Remove, &[At(0, 1)]),
    (libc::SYS_rmdir, "rmdir", Kind::Remove, &[Path(0)]),
    (libc::SYS_chmod, "chmod", Kind::Attribute, &[Path(0)]),
    (libc::SYS_fchmod, "fchmod", Kind::Attribute, &[Descriptor(0)]),
    (libc::SYS_fchmodat, "fchmodat", Kind::Attribute, &[At(0, 1)]),
    (libc::SYS_chown, "chown", Kind::Attribute, &[Path(0)]),
    (libc::SYS_lchown, "lchown", Kind::Attribute, &[Path(0)]),
    (libc::SYS_fchown, "fchown", Kind::Attribute, &[Descriptor(0)]),
    (libc::SYS_fchownat, "fchownat", Kind::Attribute, &[At(0, 1)]),
    (libc::SYS_utimensat, "utimensat", Kind::Attribute, &[At(0, 1)]),
    (libc::SYS_setxattr, "setxattr", Kind::Attribute, &[Path(0)]),
    (libc::SYS_fsetxattr, "fsetxattr", Kind::Attribute, &[Descriptor(0)]),
    (libc::SYS_removexattr, "removexattr", Kind::Attribute, &[Path(0)]),
    (libc::SYS_fremovexattr, "fremovexattr", Kind::Attribute, &[Descriptor(0)]),
    (libc::SYS_fsync, "fsync", Kind::Sync, &[Descriptor(0)]),
    (libc::SYS_fdatasync, "fdatasync", Kind::Sync, &[Descriptor(0)]),
    (libc::SYS_syncfs, "syncfs", Kind::Sync, &[Descriptor(0)]),
    (libc::SYS_clone, "clone", Kind::Spawn, &[]),
    (libc::SYS_clone3, "clone3", Kind::Spawn, &[]),
    (libc::SYS_fork, "fork", Kind::Spawn, &[]),
    (libc::SYS_vfork, "vfork", Kind::Spawn, &[]),
    (libc::SYS_read, "read", Kind::Read, &[Descriptor(0)]),
    (libc::SYS_pread64, "pread64", Kind::Read, &[Descriptor(0)]),
    (libc::SYS_getdents64, "getdents64", Kind::Read, &[Descriptor(0)]),
];

/// The row of a system call; `None` if no point can be at it. `flags` gives the flags of an opening one.
pub fn row(number: u64, flags: impl FnOnce(&'static str) -> i32) -> Option<Row> {
    let row = TABLE.iter().find(|row| u64::try_from(row.0).is_ok_and(|own| own == number))?;
    let mut row = *row;
    let changing = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    if row.2 == Kind::Open && flags(row.1) & changing != 0 {
        row.2 = Kind::Create;
    }
    Some(row)
}

/// The name of an error, as errno(3) has it.
pub fn errno_name(errno: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno))
}
