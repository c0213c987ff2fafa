//! The last steps before the user's program: streams, limits, rights, working directory, exec. Shared by the init and by
//! processes that join a container later.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use base::ErrorKind;
use oci::runtime::{LinuxCapabilities, PosixRlimit};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::CpuSet;
use sys::process::{ExecVectors, close_from, dup_to, execve};
use sys::sched::SchedAttr;

use super::{not_dumpable, reaper};
use crate::channel::{Channel, FromInit};
use crate::error::{Doing, Error, Result, part};
use crate::procfs::Procfs;
use crate::request::Stdio;
use crate::{caps, limits, seccomp};

/// The program and everything about its process that is not a namespace or a mount.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) umask: Option<u32>,
    pub(crate) caps: Option<LinuxCapabilities>,
    pub(crate) no_new_privileges: bool,
    pub(crate) rlimits: Vec<PosixRlimit>,
    pub(crate) seccomp: Option<seccomp::Program>,
    pub(crate) apparmor: Option<String>,
    pub(crate) selinux: Option<String>,
    pub(crate) scheduler: Option<SchedAttr>,
    pub(crate) io_priority: Option<(u16, u16)>,
    pub(crate) affinity: Option<CpuSet>,
    pub(crate) memory_policy: Option<(i32, Vec<u64>)>,
    pub(crate) personality: Option<u64>,
    pub(crate) preserve_fds: u32,
    pub(crate) reaper: bool,
}

/// Joins a new session keyring. A kernel without keyrings has none to protect.
pub(crate) fn keyring(name: &CStr) -> Result<()> {
    match sys::sched::new_session_keyring(name) {
        Ok(key) => match sys::sched::let_owner_search(key) {
            Ok(()) | Err(Errno::ACCESS | Errno::PERM) => Ok(()),
            Err(error) => Err(error).doing(|| "set the rights of the session keyring".into()),
        },
        Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        Err(error) => Err(error).doing(|| "join a new session keyring".into()),
    }
}

/// Puts the standard streams into place and gives them to the user. Returns warnings.
pub(crate) fn stdio(stdio: &Stdio, terminal: Option<OwnedFd>, uid: u32) -> Result<Vec<String>> {
    let what = || "set up the standard streams".to_owned();
    if let Some(terminal) = terminal {
        rustix::process::ioctl_tiocsctty(&terminal)
            .doing(|| "make the terminal the controlling one".into())?;
        for number in 0..3 {
            dup_to(terminal.as_fd(), number).doing(what)?;
        }
        return Ok(Vec::new());
    }
    if let Stdio::Fds { stdin, stdout, stderr } = stdio {
        // Above 2 first: one of the three may itself be number 0, 1 or 2.
        let lift = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3).doing(what);
        let lifted = [lift(stdin)?, lift(stdout)?, lift(stderr)?];
        for (number, fd) in (0..3).zip(&lifted) {
            dup_to(fd.as_fd(), number).doing(what)?;
        }
    }
    if uid == 0 {
        return Ok(Vec::new());
    }
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    Ok(streams.into_iter().filter_map(|stream| give_stream(stream, uid)).collect())
}

/// Gives a stream to the user, so that it can be opened again by `/dev/stdout`. Not the null device, which belongs to all.
fn give_stream(stream: std::os::fd::BorrowedFd<'_>, uid: u32) -> Option<String> {
    let stat = rustix::fs::fstat(stream).ok()?;
    let null = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(1, 3);
    if null || stat.st_uid == uid {
        return None;
    }
    match rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None) {
        // Some files have no owner to change, and a user namespace may not change the host's.
        Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => None,
        Err(error) => Some(format!("cannot give a standard stream to user {uid}: {error}")),
    }
}

/// Becomes the program; returns only with the reason why not, and with `reply`. That is closed by the exec, which tells its
/// other end that the program runs.
pub(crate) fn exec(program: Program, reply: Channel) -> (Option<Channel>, Error) {
    if crate::unguard::off("fast") {
        // A wide window for a test that looks at this process from inside.
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    // Every descriptor but the streams and those asked for is closed, also what our caller leaked to us. Now, and not
    // by the exec: there the kernel shows the new program, which may be looked at, before it closes anything.
    let closed = if crate::unguard::off("close") {
        Ok(reply.into_fd())
    } else {
        let first = i32::try_from(3 + program.preserve_fds).unwrap_or(i32::MAX);
        close_from(first, reply.into_fd()).doing(|| "close descriptors".into())
    };
    let reply = match closed {
        Ok(fd) => Channel::from_fd(fd),
        Err(error) => return (None, error),
    };
    let Err(error) = become_program(program, &reply);
    (Some(reply), error)
}

/// Refuses what is bound to fail at the exec before the container waits for its start, so that an engine hears of it
/// from `create`.
pub(crate) fn foresee(program: &Program, hooks_follow: bool) -> Result<()> {
    let available = rustix::thread::capabilities(None).doing(|| "read the capabilities".into())?.permitted;
    let (sets, _) = caps::sets(program.caps.as_ref(), available);
    if !sets.bounding.contains(sets.inheritable) {
        // The kernel's own rule and answer. Source: kernel security/commoncap.c, cap_capset.
        return Err(Errno::PERM)
            .doing(|| "make capabilities inheritable that are not in the bounding set".into());
    }
    // A hook may still bring the program.
    if hooks_follow { Ok(()) } else { find(program) }
}

/// Refuses a program that cannot be found. Whether it may be executed is the kernel's to say, at the exec.
fn find(program: &Program) -> Result<()> {
    let name = &program.args[0];
    // Relative names start at a working directory that is entered only by the exec.
    let relative = name.to_bytes().contains(&b'/') && !name.to_bytes().starts_with(b"/");
    if relative || candidates(name, &program.env).iter().any(|path| exists(path)) {
        return Ok(());
    }
    Err(missing(&name.to_string_lossy()))
}

fn become_program(program: Program, reply: &Channel) -> Result<std::convert::Infallible> {
    label(&program)?;
    resources(&program)?;
    let entered = enter(&program.cwd);
    if entered.is_ok() {
        // Before the filter, which may forbid to ask.
        prove_inside(&program.cwd)?;
    }
    if !program.no_new_privileges {
        // Without no_new_privs the filter needs rights that are gone afterwards.
        install_seccomp(&program, reply)?;
    }
    become_user(&program)?;
    match entered {
        // A folder that only its user may enter (a root that network file systems squash).
        Err(Errno::ACCESS) => {
            enter(&program.cwd).doing(|| format!("enter the working directory {:?}", program.cwd))?;
            prove_inside(&program.cwd)?;
        }
        result => result.doing(|| format!("enter the working directory {:?}", program.cwd))?,
    }
    if let Some(mask) = program.umask {
        rustix::process::umask(Mode::from_raw_mode(mask & 0o777));
    }
    // A change of user gives the attribute back by the host's setting.
    not_dumpable()?;
    let env = with_home(&program);
    let paths = candidates(&program.args[0], &env);
    let vectors = ExecVectors::new(program.args.clone(), env);
    if program.no_new_privileges {
        rustix::thread::set_no_new_privs(true).doing(|| "give up new privileges".into())?;
        install_seccomp(&program, reply)?;
    }
    if program.reaper {
        reaper::split()?;
    }
    sys::sigset::reset().doing(|| "reset signals".into())?;
    Err(try_each(&program.args[0], &paths, &vectors))
}

fn enter(cwd: &Path) -> rustix::io::Result<()> {
    rustix::process::chdir(cwd)
}

/// The kernel says so when the working directory is not below our root: a descriptor of the host that a link of
/// procfs led to (CVE-2024-21626).
fn prove_inside(cwd: &Path) -> Result<()> {
    if crate::unguard::off("cwd") {
        return Ok(());
    }
    let real = rustix::process::getcwd(Vec::new()).doing(|| "read the working directory".into())?;
    if real.as_bytes().starts_with(b"/") {
        return Ok(());
    }
    Err(Error::invalid("process.cwd", cwd.to_string_lossy(), "a folder inside the container"))
}

fn label(program: &Program) -> Result<()> {
    if program.apparmor.is_none() && program.selinux.is_none() {
        return Ok(());
    }
    let proc = Procfs::open().doing(|| "open a procfs".into())?;
    let pid = proc.own().doing(|| "find the own process in /proc".into())?;
    if let Some(profile) = &program.apparmor {
        let value = format!("exec {profile}");
        // Before Linux 5.8 AppArmor has no folder of its own.
        let own = proc.write(&format!("{pid}/attr/apparmor/exec"), value.as_bytes());
        own.or_else(|_| proc.write(&format!("{pid}/attr/exec"), value.as_bytes()))
            .doing(|| format!("apply the AppArmor profile {profile:?}"))?;
    }
    if let Some(label) = &program.selinux {
        proc.write(&format!("{pid}/attr/exec"), label.as_bytes())
            .doing(|| format!("set the SELinux label {label:?}"))?;
    }
    Ok(())
}

fn resources(program: &Program) -> Result<()> {
    if let Some(attr) = program.scheduler {
        sys::sched::sched_setattr(attr).doing(|| format!("set the scheduler {attr:?}"))?;
    }
    if let Some((class, level)) = program.io_priority {
        sys::sched::ioprio_set(class, level)
            .doing(|| format!("set the I/O priority to class {class}, level {level}"))?;
    }
    if let Some(set) = &program.affinity {
        rustix::thread::sched_setaffinity(None, set).doing(|| "set the CPU affinity".into())?;
    }
    if let Some((mode, nodes)) = &program.memory_policy {
        sys::sched::set_mempolicy(*mode, nodes).doing(|| "set the memory policy".into())?;
    }
    if let Some(domain) = program.personality {
        sys::sched::personality(domain).doing(|| format!("set the personality {domain:#x}"))?;
    }
    limits::set(&program.rlimits)
}

/// Installs a filter that notifies an agent now, when a container is created: engines wait for the listener before
/// they start it.
pub(crate) fn install_notifying(program: &mut Program, reply: &Channel) -> Result<()> {
    if program.seccomp.as_ref().is_some_and(seccomp::Program::has_listener) {
        install_seccomp(program, reply)?;
        program.seccomp = None;
    }
    Ok(())
}

fn install_seccomp(program: &Program, reply: &Channel) -> Result<()> {
    let Some(filter) = &program.seccomp else { return Ok(()) };
    let listener = seccomp::install(filter).map_err(|error| part("confine system calls", error))?;
    let Some(listener) = listener else { return Ok(()) };
    reply.report(&FromInit::Listener(listener)).doing(|| "hand the seccomp listener over".into())
}

fn become_user(program: &Program) -> Result<()> {
    let available = rustix::thread::capabilities(None).doing(|| "read the capabilities".into())?.permitted;
    let (sets, _) = caps::sets(program.caps.as_ref(), available);
    sets.apply_bounding().doing(|| "cut the capability bounding set".into())?;
    rustix::thread::set_keep_capabilities(true)
        .doing(|| "keep capabilities over the change of user".into())?;
    let groups: Vec<Gid> = program.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // A user namespace whose maps were written without rights denies this; then there is nothing to drop either.
        Err(Errno::PERM) if program.groups.iter().all(|group| *group == program.gid) => {}
        result => result.doing(|| format!("set {} supplementary groups", groups.len()))?,
    }
    let (uid, gid) = (Uid::from_raw(program.uid), Gid::from_raw(program.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).doing(|| format!("become group {}", program.gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).doing(|| format!("become user {}", program.uid))?;
    rustix::thread::set_keep_capabilities(false).doing(|| "stop keeping capabilities".into())?;
    sets.apply().doing(|| "set the capabilities".into())
}

/// Returns the environment, with `HOME` added from the container's passwd file where it is missing.
fn with_home(program: &Program) -> Vec<CString> {
    let mut env = program.env.clone();
    if !env.iter().any(|entry| entry.as_bytes().starts_with(b"HOME=")) {
        let home = passwd_home(program.uid).unwrap_or_else(|| "/".into());
        env.extend(CString::new(format!("HOME={home}")));
    }
    env
}

/// Looks a user's home up: a bounded read of a regular file, fields by number only.
fn passwd_home(uid: u32) -> Option<String> {
    /// More than this is no list of users.
    const LIMIT: u64 = 1 << 20;
    #[cfg(feature = "unguarded")]
    if crate::unguard::off("passwd") {
        return home_of(&crate::unguard::careless::read("/etc/passwd")?, uid);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open("/etc/passwd", flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(std::fs::File::from(file), LIMIT), &mut text).ok()?;
    home_of(&String::from_utf8_lossy(&text), uid)
}

fn home_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let matches = fields.len() >= 6 && fields[2].parse() == Ok(uid);
        (matches && fields[5].starts_with('/')).then(|| fields[5].to_owned())
    })
}

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the files that a program's name may mean, in order.
fn candidates(name: &CStr, env: &[CString]) -> Vec<CString> {
    if name.to_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    let path = env.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    let folders = path.unwrap_or(DEFAULT_PATH.as_bytes()).split(|byte| *byte == b':');
    // An empty or relative folder would mean the working directory, which a program may not be taken from by chance.
    let absolute = folders.filter(|folder| folder.starts_with(b"/"));
    absolute.filter_map(|folder| CString::new([folder, b"/", name.to_bytes()].concat()).ok()).collect()
}

fn try_each(name: &CStr, paths: &[CString], vectors: &ExecVectors) -> Error {
    let shown = name.to_string_lossy().into_owned();
    let mut denied = None;
    let own = rustix::fs::stat(c"/proc/self/exe").ok().map(|stat| (stat.st_dev, stat.st_ino));
    for path in paths {
        // `/proc/self/exe` and its like lead to this very program: nobody can write it, but it is not the container's.
        if own.is_some() && rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino)) == own {
            return cannot(&shown, "it leads to the runtime's own program");
        }
        match execve(path, vectors) {
            Errno::NOENT | Errno::NOTDIR if !exists(path) => {}
            Errno::NOENT => {
                return cannot(&shown, &missing_interpreter(path));
            }
            Errno::ACCESS => denied = denied.or(Some(path)),
            Errno::NOEXEC => return cannot(&shown, &format!("exec format error{}", foreign_machine(path))),
            error => return cannot(&shown, &std::io::Error::from(error).to_string()),
        }
    }
    match denied {
        Some(path) if is_dir(path) => cannot(&shown, "is a directory"),
        Some(_) => cannot(&shown, "permission denied"),
        None => missing(&shown),
    }
}

fn missing(name: &str) -> Error {
    let text = match name.contains('/') {
        true => format!("exec: {name:?}: stat {name}: no such file or directory"),
        false => format!("exec: {name:?}: executable file not found in $PATH"),
    };
    Error::Inside { kind: ErrorKind::CommandNotFound, text }
}

fn cannot(name: &str, why: &str) -> Error {
    Error::Inside { kind: ErrorKind::CommandNotExecutable, text: format!("exec: {name:?}: {why}") }
}

fn exists(path: &CStr) -> bool {
    rustix::fs::stat(path).is_ok()
}

fn is_dir(path: &CStr) -> bool {
    rustix::fs::stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Says for which machine a program was built, when that is the reason.
fn foreign_machine(path: &CStr) -> String {
    let mut header = [0; 20];
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let read =
        rustix::fs::open(path, flags, Mode::empty()).and_then(|file| rustix::io::read(&file, &mut header));
    if read != Ok(header.len()) || &header[..4] != b"\x7fELF" {
        return ": it is neither a program nor a script with an interpreter".into();
    }
    let number = if header[5] == 2 {
        u16::from_be_bytes([header[18], header[19]])
    } else {
        u16::from_le_bytes([header[18], header[19]])
    };
    format!(": the program is for {}, this machine is {}", machine_name(number), std::env::consts::ARCH)
}

/// Names the interpreter of a script, or the loader of a program, that the container does not have.
fn missing_interpreter(path: &CStr) -> String {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut head = vec![0; 4096];
    let read =
        rustix::fs::open(path, flags, Mode::empty()).and_then(|file| rustix::io::read(&file, &mut head));
    head.truncate(read.unwrap_or(0));
    let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_start();
        let name = line.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
        let hint = if name.ends_with(b"\r") { ", whose lines end as on Windows" } else { "" };
        return format!("its interpreter {:?}{hint} does not exist in the container", shown(name));
    }
    match loader(&head) {
        Some(name) => format!(
            "its loader {:?} does not exist in the container: it was built for another C library",
            shown(name)
        ),
        None => "its interpreter or loader does not exist in the container".into(),
    }
}

/// Finds the loader that a program of 64 bits names. Source: elf(5), `PT_INTERP`.
fn loader(head: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u32 = 3;
    let word = |at: usize, size: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    // Of 64 bits, with the lowest byte first.
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
    let entry = |number: u64| usize::try_from(table.checked_add(number * size)?).ok();
    let found = (0..count).filter_map(entry).find(|at| word(*at, 4) == Some(PT_INTERP.into()))?;
    let (offset, length) = (word(found + 8, 8)?, word(found + 32, 8)?);
    let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    head.get(offset..offset.checked_add(length)?)?.split(|byte| *byte == 0).next()
}

/// `e_machine` of ELF. Source: `linux/elf-em.h`.
fn machine_name(number: u16) -> String {
    let known = match number {
        3 => "386",
        8 => "mips",
        20 => "ppc",
        21 => "ppc64",
        22 => "s390x",
        40 => "arm",
        62 => "amd64",
        183 => "arm64",
        243 => "riscv64",
        258 => "loong64",
        other => return format!("machine {other}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_in_absolute_folders() {
        let env = [c"PATH=/a::rel:/b".into()];
        assert_eq!(candidates(c"x", &env), [c"/a/x".into(), CString::from(c"/b/x")]);
        assert_eq!(candidates(c"./x", &env), [CString::from(c"./x")]);
        assert!(candidates(c"x", &[]).len() == 6);
    }

    /// CVE-2016-3697, CVE-2026-46680: a number is a number, never a name.
    #[test]
    fn homes_are_found_by_number() {
        let passwd = "1000:x:0:0::/evil:/bin/sh\nroot:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
        assert_eq!(home_of(passwd, 1000).as_deref(), Some("/home/user"));
        assert_eq!(home_of("short:x:1\nrel:x:5:5::home:/bin/sh\n", 5), None);
    }

    #[test]
    fn the_missing_interpreter_is_named() {
        let file = std::env::temp_dir().join(format!("brig-interpreter-{}", std::process::id()));
        let path = CString::new(file.to_string_lossy().as_bytes()).unwrap();
        std::fs::write(&file, "#! /no/such  -x\n").unwrap();
        assert_eq!(
            missing_interpreter(&path),
            "its interpreter \"/no/such\" does not exist in the container"
        );
        std::fs::write(&file, "#!/bin/sh\r\n").unwrap();
        assert!(missing_interpreter(&path).contains("Windows"));
        let mut program = vec![0; 200];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        program[32] = 64;
        program[54] = 56;
        program[56] = 1;
        program[64] = 3;
        program[72] = 150;
        program[96] = 7;
        program[150..157].copy_from_slice(b"/lib/x\0");
        std::fs::write(&file, &program).unwrap();
        assert!(missing_interpreter(&path).starts_with("its loader \"/lib/x\" does not exist"));
        for length in 0..program.len() {
            let _ = loader(&program[..length]);
        }
        program[72..80].fill(0xff);
        assert_eq!(loader(&program), None);
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn machines_have_names() {
        assert_eq!(machine_name(183), "arm64");
        assert_eq!(machine_name(9999), "machine 9999");
    }
}
