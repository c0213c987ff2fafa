//! Mounting a snapshot by the new mount interface: nothing is attached anywhere, and layers are handed over one by one, so
//! that neither their number nor the length of their paths has a limit of ours.
//!
//! ```text
//! usual                         fsopen, lowerdir+ for each layer, fsmount
//! kernel before 6.7             mount(2) with short names, in a mount namespace of a helper thread's own,
//!                               then open_tree takes the mount out of there
//! with shifted owners           the helper thread covers each layer with an idmapped copy of itself, then one of the above
//! ```

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags,
};
use sys::mount::{SetAttr, attr, mount_setattr};

use super::Snapshot;
use crate::error::{At as _, Error, Result};
use crate::files;
use crate::layers::boot;
use crate::unpack::Form;

/// The longest string that `fsconfig` takes, in bytes.
const STRING_MAX: usize = 255;
/// The longest options that `mount(2)` takes, in bytes.
const OPTIONS_MAX: usize = 4095;

/// How a snapshot is mounted.
#[derive(Debug, Default)]
pub struct MountOptions {
    /// Leave out all syncing; right for what is removed at its end. After a machine's fall the snapshot is lost.
    pub volatile: bool,
    /// Read-only: the writable folder becomes the topmost layer.
    pub readonly: bool,
    /// Shift owners: a user namespace whose mapping the layers and the writable folder are seen through.
    pub idmap: Option<IdMap>,
}

/// A user namespace whose mapping is applied to the layers (kernel 5.19 or newer).
#[derive(Debug)]
pub struct IdMap {
    /// Descriptor of the user namespace.
    pub user_namespace: OwnedFd,
    /// User and group that its root is outside.
    pub root: (u32, u32),
}

/// What an overlay is made of.
struct Plan {
    /// Folders, topmost first; two at least, or one and `upper`.
    lowers: Vec<PathBuf>,
    /// The folder that holds `upper` and `work`.
    upper: Option<PathBuf>,
    form: Form,
    volatile: bool,
}

/// A failed step.
struct Failed {
    step: String,
    errno: Errno,
}

type Step<T> = std::result::Result<T, Failed>;

impl Snapshot {
    /// Mounts it, attached nowhere: the caller gives the descriptor to `move_mount`. The mount dies with its last descriptor.
    ///
    /// Source: kernel `Documentation/filesystems/overlayfs.rst`; `lowerdir+` since 6.7, idmapped layers since 5.19.
    pub fn mount(&self, options: &MountOptions) -> Result<OwnedFd> {
        if !options.readonly {
            self.check_volatile(options.volatile)?;
        }
        for diff_id in &self.meta.diff_ids {
            self.store.intact_layer(diff_id)?;
        }
        let plan = self.plan(options)?;
        let mounted = match &options.idmap {
            None => match plan.mount() {
                Err(failed) if failed.errno == Errno::INVAL && failed.is_layer_option() => {
                    in_own_namespace(|| plan.mount_by_old_call(&self.path))
                }
                mounted => mounted,
            },
            Some(idmap) => in_own_namespace(|| {
                plan.shift_owners(idmap.user_namespace.as_fd())?;
                // The overlay acts with the rights of who mounts it: somebody whom the shifted folders know.
                become_user(idmap.root).map_err(Failed::new("becoming the namespace's root"))?;
                match plan.mount() {
                    Err(failed) if failed.errno == Errno::INVAL && failed.is_layer_option() => {
                        plan.mount_by_old_call(&self.path)
                    }
                    mounted => mounted,
                }
            }),
        };
        mounted.map_err(|failed| Error::Mount {
            key: self.key.clone(),
            step: failed.step,
            source: failed.errno.into(),
        })
    }

    fn plan(&self, options: &MountOptions) -> Result<Plan> {
        let mut lowers: Vec<PathBuf> = self.lowers.iter().rev().cloned().collect();
        if lowers.is_empty() {
            let empty = self.path.join("empty");
            files::ensure_dir(&empty, rustix::fs::Mode::from_raw_mode(0o755))?;
            lowers.push(empty);
        }
        if options.readonly {
            lowers.insert(0, self.upper());
        }
        let upper = (!options.readonly).then(|| self.path.clone());
        Ok(Plan { lowers, upper, form: self.meta.form, volatile: options.volatile && !options.readonly })
    }

    /// Overlayfs marks what was mounted volatile and refuses it afterwards. If the machine has not gone down since,
    /// nothing is lost, and the mark may go.
    fn check_volatile(&self, volatile: bool) -> Result<()> {
        let mark = self.path.join("work/work/incompat/volatile");
        let mounted = self.path.join("volatile");
        if mark.exists() {
            let since = std::fs::read_to_string(&mounted).unwrap_or_default();
            if since != boot() {
                return Err(Error::SnapshotLost { key: self.key.clone() });
            }
            files::remove_tree(&mark)?;
        }
        if volatile { std::fs::write(&mounted, boot()).at("write", &mounted) } else { Ok(()) }
    }
}

impl Failed {
    fn new(step: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let step = step.into();
        |errno| Self { step, errno }
    }

    /// The option that older kernels do not know.
    fn is_layer_option(&self) -> bool {
        self.step.starts_with("option \"lowerdir+\"")
    }
}

impl Plan {
    /// Options that do not depend on the snapshot; an empty value means a flag. Nothing in a writable folder leads
    /// anywhere else: no redirects are followed, no file has its data elsewhere.
    fn plain_options(&self) -> Vec<(&'static str, &'static str)> {
        let mut options = vec![("index", "off"), ("metacopy", "off")];
        match self.form {
            Form::Trusted => options.push(("redirect_dir", "nofollow")),
            Form::User => options.push(("userxattr", "")),
        }
        if self.volatile {
            options.push(("volatile", ""));
        }
        options
    }

    fn mount(&self) -> Step<OwnedFd> {
        let fs =
            rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(Failed::new("fsopen"))?;
        let set = |option: &str, value: &str| {
            let set = match value {
                "" => rustix::mount::fsconfig_set_flag(&fs, option),
                value => rustix::mount::fsconfig_set_string(&fs, option, value),
            };
            set.map_err(Failed::new(format!("option {option:?} = {value:?}")))
        };
        set("source", "overlay")?;
        for (option, value) in self.plain_options() {
            set(option, value)?;
        }
        for lower in &self.lowers {
            set_path(&fs, "lowerdir+", lower)?;
        }
        if let Some(upper) = &self.upper {
            set_path(&fs, "upperdir", &upper.join("upper"))?;
            set_path(&fs, "workdir", &upper.join("work"))?;
        }
        rustix::mount::fsconfig_create(&fs).map_err(|errno| {
            let said = kernel_messages(&fs);
            Failed { step: format!("making the overlay{said}"), errno }
        })?;
        let flags =
            if self.upper.is_none() { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
        rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags).map_err(Failed::new("fsmount"))
    }

    /// Mounts by `mount(2)` on `point`, then takes the mount out of the namespace, which must be the thread's own.
    fn mount_by_old_call(&self, point: &Path) -> Step<OwnedFd> {
        // Layers go by descriptor, in as few letters as can be: the names are relative to this folder.
        rustix::process::chdir("/proc/self/fd").map_err(Failed::new("chdir"))?;
        let mut open = Vec::new();
        let mut name = |path: &Path| -> Step<String> {
            let folder = files::open_dir(path).map_err(Failed::new(format!("opening {path:?}")))?;
            let name = folder.as_raw_fd().to_string();
            open.push(folder);
            Ok(name)
        };
        let lowers = self.lowers.iter().map(|lower| name(lower)).collect::<Step<Vec<_>>>()?;
        let mut options = vec![format!("lowerdir={}", lowers.join(":"))];
        if let Some(upper) = &self.upper {
            options.push(format!("upperdir={}", name(&upper.join("upper"))?));
            options.push(format!("workdir={}", name(&upper.join("work"))?));
        }
        options.extend(self.plain_options().into_iter().map(|(option, value)| match value {
            "" => option.to_owned(),
            value => format!("{option}={value}"),
        }));
        let options = options.join(",");
        if options.len() > OPTIONS_MAX {
            let step = format!("mounting {} layers on a kernel before 6.7", self.lowers.len());
            return Err(Failed { step, errno: Errno::TOOBIG });
        }
        let data = std::ffi::CString::new(options)
            .map_err(|_| Failed { step: "mount".to_owned(), errno: Errno::INVAL })?;
        let flags = if self.upper.is_none() { MountFlags::RDONLY } else { MountFlags::empty() };
        rustix::mount::mount("overlay", point, "overlay", flags, data.as_c_str())
            .map_err(Failed::new("mount"))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        rustix::mount::open_tree(CWD, point, flags).map_err(Failed::new("open_tree"))
    }

    /// Covers each folder with an idmapped copy of itself, in the thread's own namespace.
    fn shift_owners(&self, user_namespace: BorrowedFd<'_>) -> Step<()> {
        for folder in self.lowers.iter().chain(&self.upper) {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let copy = rustix::mount::open_tree(CWD, folder, flags)
                .map_err(Failed::new(format!("open_tree of {folder:?}")))?;
            let change = SetAttr { set: attr::IDMAP, userns: Some(user_namespace), ..SetAttr::default() };
            mount_setattr(copy.as_fd(), false, change)
                .map_err(Failed::new(format!("shifting owners of {folder:?}")))?;
            rustix::mount::move_mount(&copy, "", CWD, folder, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .map_err(Failed::new(format!("move_mount to {folder:?}")))?;
        }
        Ok(())
    }
}

/// Gives the calling thread, which ends soon, another user and group, with all its rights.
fn become_user((uid, gid): (u32, u32)) -> rustix::io::Result<()> {
    use rustix::thread::{capabilities, set_capabilities, set_thread_res_gid, set_thread_res_uid};
    let root = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    set_thread_res_gid(root.1, rustix::process::Gid::from_raw(gid), root.1)?;
    // The real user stays, so that what the change takes from the effective rights can be taken back.
    set_thread_res_uid(root.0, rustix::process::Uid::from_raw(uid), root.0)?;
    let mut rights = capabilities(None)?;
    rights.effective = rights.permitted;
    set_capabilities(None, rights)
}

/// Sets an option that names a folder. A long path is named by descriptor.
fn set_path(fs: &OwnedFd, option: &str, path: &Path) -> Step<()> {
    let failed = || Failed::new(format!("option {option:?} = {path:?}"));
    if path.as_os_str().len() <= STRING_MAX {
        return rustix::mount::fsconfig_set_string(fs, option, path).map_err(failed());
    }
    let folder = files::open_dir(path).map_err(failed())?;
    let name = format!("/proc/self/fd/{}", folder.as_raw_fd());
    rustix::mount::fsconfig_set_string(fs, option, name.as_str()).map_err(failed())
}

/// Runs `work` on a thread that has a mount namespace of its own, from which nothing comes back to this one.
fn in_own_namespace<T: Send>(work: impl FnOnce() -> Step<T> + Send) -> Step<T> {
    let on_thread = || {
        sys::thread::unshare_mounts().map_err(Failed::new("unshare"))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).map_err(Failed::new("making mounts private"))?;
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mount".to_owned()).spawn_scoped(scope, on_thread);
        match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => Err(Failed { step: "starting a thread".to_owned(), errno: Errno::AGAIN }),
        }
    })
}

/// Reads what the kernel says about a failed mount, for the message.
fn kernel_messages(fs: &OwnedFd) -> String {
    let mut text = String::new();
    let mut buffer = [0_u8; 512];
    while let Ok(length @ 1..) = rustix::io::read(fs, &mut buffer[..]) {
        text.push_str(": ");
        text.push_str(String::from_utf8_lossy(&buffer[..length]).trim().trim_start_matches("e "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::{FetchOptions, NoProgress};
    use crate::testing::{MemoryImage, TarBuilder, TestStore, gzip, is_machine_root, is_root};
    use rustix::fs::AtFlags;

    fn snapshot(layers: usize) -> (TestStore, Snapshot) {
        let layers: Vec<_> =
            (0..layers).map(|n| TarBuilder::new().file(&format!("f{n}"), "x").finish()).collect();
        let store = TestStore::new();
        let image = MemoryImage::new(&layers, gzip);
        let lease = store.lease().unwrap();
        let stored = store.fetch(&lease, &image, &FetchOptions::default(), &NoProgress).unwrap();
        let snapshot = store.prepare_snapshot("test", &stored.diff_ids()).unwrap();
        (store, snapshot)
    }

    fn mounts() -> usize {
        std::fs::read_to_string("/proc/self/mountinfo").unwrap().matches("image-test-").count()
    }

    #[test]
    fn root_the_old_call_mounts_the_same() {
        if !is_root("root_the_old_call_mounts_the_same") {
            return;
        }
        let (_store, snapshot) = snapshot(120);
        let before = mounts();
        for readonly in [false, true] {
            let plan = snapshot.plan(&MountOptions { readonly, ..MountOptions::default() }).unwrap();
            let root = in_own_namespace(|| plan.mount_by_old_call(&snapshot.path))
                .map_err(|f| format!("{}: {}", f.step, f.errno))
                .unwrap();
            for n in [0, 119] {
                assert!(rustix::fs::statat(&root, format!("f{n}"), AtFlags::empty()).is_ok());
            }
            let made = rustix::fs::mkdirat(&root, "new", rustix::fs::Mode::RWXU);
            assert_eq!(made.is_ok(), !readonly);
        }
        assert_eq!(mounts(), before, "nothing is left in this namespace");
    }

    #[test]
    fn root_owners_are_shifted() {
        if !is_machine_root("root_owners_are_shifted") {
            return;
        }
        let (_store, snapshot) = snapshot(2);
        // A process with a user namespace of its own, in which 0 is 100000.
        let mut child = std::process::Command::new("unshare").args(["-U", "sleep", "60"]).spawn().unwrap();
        let pid = child.id();
        let entered = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            std::fs::read_link(format!("/proc/{pid}/ns/user")).ok()
                != std::fs::read_link("/proc/self/ns/user").ok()
        });
        assert!(entered);
        std::fs::write(format!("/proc/{pid}/uid_map"), "0 100000 65536").unwrap();
        std::fs::write(format!("/proc/{pid}/gid_map"), "0 100000 65536").unwrap();
        let user_namespace = std::fs::File::open(format!("/proc/{pid}/ns/user")).unwrap().into();
        child.kill().unwrap();
        child.wait().unwrap();
        let options = MountOptions {
            idmap: Some(IdMap { user_namespace, root: (100_000, 100_000) }),
            ..MountOptions::default()
        };
        let root = match snapshot.mount(&options) {
            Err(Error::Mount { step, source, .. }) if source.raw_os_error() == Some(22) => {
                eprintln!("SKIP root_owners_are_shifted: the file system cannot shift owners ({step})");
                return;
            }
            mounted => mounted.unwrap(),
        };
        for path in ["f0", "f1", "."] {
            let stat = rustix::fs::statat(&root, path, AtFlags::empty()).unwrap();
            assert_eq!((stat.st_uid, stat.st_gid), (100_000, 100_000), "{path}");
        }
        // It can be written, by somebody whom the namespace knows.
        assert!(!rustix::fs::fstatvfs(&root).unwrap().f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    }
}
