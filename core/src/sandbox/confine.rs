//! The stage of this program that a confined task goes through first.
//!
//! `PROGRAM __confine SPEC ARGV…` is how a confined task starts: it enters the namespaces that SPEC
//! names, binds the work directory over the build directory, changes the root if asked, gives up being root
//! ([`super::user`]), and becomes ARGV. A new process-id namespace makes sure that nothing of a build outlives it
//! ([`super::init`]).

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, fstat, open, stat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{
    Pid, Signal, chdir, chroot, fchdir, getppid, pivot_root, set_parent_process_death_signal, setsid,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::become_user::{IdMapper, Stdin, assume};
use super::confinement::{Confinement, FAILED, NOTHING, VERB};
use super::init::{self, TASK};
use super::looks;
use super::system_calls::{keep_descriptors, unshare};
use crate::process::{REFUSED, command};

/// The hidden verb of the first process in a new process-id namespace.
const INIT: &str = "__confine-init";

static READY: AtomicBool = AtomicBool::new(false);

/// Whether this program runs the stage when it is started for it: it has asked [`stage`] whether it was.
pub fn is_ready() -> bool {
    READY.load(Ordering::Relaxed)
}

/// Runs the stage if `args` (without the program's name) ask for it. Every binary that uses the core calls
/// this first. `None`: the arguments are for somebody else.
pub fn stage(args: &[OsString]) -> Option<ExitCode> {
    let (verb, rest) = args.split_first().unzip();
    let rest = rest.unwrap_or_default();
    let done = match verb.and_then(|verb| verb.to_str()) {
        Some(VERB) => enter(rest),
        Some(INIT) => init::first(rest),
        Some(TASK) => become_task(rest),
        // Also without any word: a front may be called so.
        _ => {
            keep_descriptors();
            READY.store(true, Ordering::Relaxed);
            return None;
        }
    };
    Some(match done {
        Ok(code) => code,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(io::stderr(), "dkms: cannot set up the build's private world: {error}");
            let refused = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported);
            ExitCode::from(if refused { REFUSED } else { FAILED })
        }
    })
}

fn enter(args: &[OsString]) -> io::Result<ExitCode> {
    let (spec, argv) = args.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    if spec == "probe" {
        unshare(UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWNET)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        return Ok(ExitCode::SUCCESS);
    }
    if spec == NOTHING {
        return Ok(ExitCode::SUCCESS);
    }
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (confinement, _, parent): Spec = parse(spec)?;
    if getppid().map(Pid::as_raw_nonzero).is_none_or(|now| now.get().unsigned_abs() != parent) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let hears = confinement.looks.as_ref().is_some_and(|looks| looks.hears);
    if hears {
        // Out of reach of the terminal's keys, and away from the terminal: its input says when it is to end.
        setsid()?;
    }
    let mut flags = UnshareFlags::empty();
    let wanted = confinement.namespaces;
    for (on, flag) in [
        (wanted.mounts, UnshareFlags::NEWNS),
        (wanted.pids, UnshareFlags::NEWPID),
        (wanted.network, UnshareFlags::NEWNET),
    ] {
        flags.set(flag, on);
    }
    unshare(flags)?;
    if wanted.pids {
        // Shared memory, semaphores and queues (ipc_namespaces(7)) end with the build. Kernels without them have none to keep.
        let _ = unshare(UnshareFlags::NEWIPC);
    }
    if wanted.mounts {
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let base = confinement.chroot.as_deref().unwrap_or(Path::new("/"));
        for bind in &confinement.binds {
            mount_bind(&bind.from, &bind.to).map_err(|error| at(error.into(), "bind", &bind.to))?;
        }
        if base != Path::new("/") && base.join("dev").is_dir() {
            mount_bind_recursive("/dev", base.join("dev"))?;
        }
        if let Some(looks) = &confinement.looks {
            looks::nothing_can_be_written(&looks.emptied)?;
        }
    }
    if !wanted.pids {
        return become_task(args);
    }
    let mut task = command("/proc/self/exe");
    task.arg(INIT).arg(init::number_in_proc()).arg(spec).args(argv);
    let mut mapper = None;
    if let (Some(user), false) = (confinement.user, hears) {
        let (near, far) = IdMapper::new(user)?;
        task.stdin(OwnedFd::from(far));
        mapper = Some(near);
    }
    let mut child = task.spawn()?;
    drop(task); // our copy of the far end: the task's end is to be seen
    if let Some(Err(error)) = mapper.as_mut().map(IdMapper::answer) {
        let _ = child.kill();
        child.wait()?;
        return Err(error);
    }
    if hears {
        looks::end_with_input(&mut child);
    }
    let status = child.wait()?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(FAILED)))
}

fn become_task(args: &[OsString]) -> io::Result<ExitCode> {
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (spec, argv) = args.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (confinement, cwd, _): Spec = parse(spec)?;
    let (program, rest) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let base = confinement.chroot.as_deref().unwrap_or(Path::new("/"));
    // Opened by the /proc that is there for certain.
    let mapped = confinement.user.is_some_and(|user| user.mapped);
    let namespace = mapped.then(|| std::fs::File::open("/proc/self/ns/mnt")).transpose()?;
    if confinement.namespaces.pids {
        // Without a /proc of its own a build still works: containers that mask /proc refuse this.
        let _ =
            mount("proc", base.join("proc"), "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None);
    }
    if let Some(namespace) = namespace {
        change_root(base, &namespace).map_err(|error| at(error, "enter", base))?;
    } else if base != Path::new("/") {
        chroot(base).map_err(|error| at(error.into(), "chroot", base))?;
    }
    chdir(&cwd).map_err(|error| at(error.into(), "enter", &cwd))?;
    if let Some(user) = confinement.user {
        let input = match &confinement.looks {
            Some(looks) if looks.hears => Stdin::Own,
            _ if confinement.namespaces.pids => Stdin::Mapper,
            _ => Stdin::Spare,
        };
        let processes = confinement.looks.as_ref().map(|_| looks::PROCESSES);
        // The last thing: all before takes root.
        assume(user, input, parent, processes)
            .map_err(|error| io::Error::new(error.kind(), format!("become an unprivileged user: {error}")))?;
    }
    let error = command(program).args(rest).exec();
    Err(at(error, "run", Path::new(program)))
}

/// Makes `base` the root of the mount namespace `ours`, which is this process's: who is in a chroot gets no user
/// namespace (unshare(2), EPERM), whether that chroot would be ours or we have always been in one.
fn change_root(base: &Path, ours: &std::fs::File) -> io::Result<()> {
    let here = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = open(base, here, Mode::empty())?;
    // Out of every chroot (setns(2)).
    move_into_link_name_space(ours.as_fd(), Some(LinkNameSpaceType::Mount))?;
    let (root, wanted) = (stat("/")?, fstat(&base)?);
    if (root.st_dev, root.st_ino) == (wanted.st_dev, wanted.st_ino) {
        return Ok(());
    }
    // Any directory can become a root once it is a mount: a copy of what is mounted from here on, put over it.
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(&base, "", clone | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, "", &base, "", by_descriptor)?;
    fchdir(&tree)?;
    // The root before is put over the new one, and taken away (pivot_root(2), "pivot_root(".", ".")").
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(chdir("/")?)
}

/// What a task is kept apart by, where it begins, and the process that starts it.
type Spec = (Confinement, PathBuf, u32);

fn parse(spec: &OsStr) -> io::Result<Spec> {
    let text = spec.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    serde_json::from_str(text).map_err(io::Error::other)
}

#[allow(clippy::needless_pass_by_value)] // as map_err hands it
fn at(error: io::Error, action: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the caller has open does not reach what we start; what was open before is open still.
    #[test]
    fn descriptors_of_the_caller_are_kept() {
        use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
        let file = std::fs::File::open("/dev/null").unwrap();
        fcntl_setfd(&file, FdFlags::empty()).unwrap();
        keep_descriptors();
        assert!(fcntl_getfd(&file).unwrap().contains(FdFlags::CLOEXEC));
    }
}
