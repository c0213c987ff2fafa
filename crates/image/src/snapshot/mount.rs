//! Mounting a snapshot by the new mount interface: nothing is attached anywhere, options have no length limit, and
//! layers are handed over one by one.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::Snapshot;
use crate::error::{At as _, Error, Result};
use crate::files;
use crate::layers::boot;
use crate::unpack::Form;

/// The longest string that `fsconfig` takes, in bytes.
const STRING_MAX: usize = 255;

/// How a snapshot is mounted.
#[derive(Debug, Default)]
pub struct MountOptions {
    /// Leave out all syncing; right for what is removed at its end. After a machine's fall the snapshot is lost.
    pub volatile: bool,
    /// Without the writable folder.
    pub readonly: bool,
    /// Shift owners: a user namespace whose mapping the layers are seen through.
    pub idmap: Option<IdMap>,
}

/// A user namespace whose mapping is applied to the layers (kernel 5.19 or newer).
#[derive(Debug)]
pub struct IdMap {
    /// Descriptor of the user namespace.
    pub user_namespace: OwnedFd,
}

impl Snapshot {
    /// Mounts it, attached nowhere: the caller gives the descriptor to `move_mount`. The mount dies with its last descriptor.
    ///
    /// Source: kernel `Documentation/filesystems/overlayfs.rst`; `lowerdir+` since 6.7.
    pub fn mount(&self, options: &MountOptions) -> Result<OwnedFd> {
        if options.idmap.is_some() {
            return Err(Error::Unsupported { what: "mounting a snapshot with shifted owners".to_owned() });
        }
        if !options.readonly {
            self.check_volatile(options.volatile)?;
        }
        let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
            .map_err(|errno| self.failed("fsopen", errno))?;
        self.set(&fs, "source", "overlay")?;
        for (option, value) in self.plain_options() {
            self.set(&fs, option, value)?;
        }
        self.add_layers(&fs)?;
        if !options.readonly {
            self.set_path(&fs, "upperdir", &self.upper())?;
            self.set_path(&fs, "workdir", &self.path.join("work"))?;
            if options.volatile {
                rustix::mount::fsconfig_set_flag(&fs, "volatile")
                    .map_err(|errno| self.failed("option \"volatile\"", errno))?;
            }
        }
        rustix::mount::fsconfig_create(&fs).map_err(|errno| {
            let said = kernel_messages(&fs);
            self.failed(&format!("making the overlay{said}"), errno)
        })?;
        let flags =
            if options.readonly { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
        rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)
            .map_err(|errno| self.failed("fsmount", errno))
    }

    /// Options that do not depend on the snapshot. Nothing of an upper folder leads anywhere else: no redirects are
    /// followed, no file has its data elsewhere.
    fn plain_options(&self) -> Vec<(&'static str, &'static str)> {
        let mut options = vec![("index", "off"), ("metacopy", "off")];
        match self.meta.form {
            Form::Trusted => options.push(("redirect_dir", "nofollow")),
            Form::User => options.push(("userxattr", "")),
        }
        options
    }

    fn add_layers(&self, fs: &OwnedFd) -> Result<()> {
        if self.lowers.is_empty() {
            let empty = self.path.join("empty");
            files::ensure_dir(&empty, rustix::fs::Mode::from_raw_mode(0o755))?;
            return self.set_path(fs, "lowerdir+", &empty);
        }
        // The topmost comes first.
        for lower in self.lowers.iter().rev() {
            self.set_path(fs, "lowerdir+", lower)?;
        }
        Ok(())
    }

    fn set(&self, fs: &OwnedFd, option: &str, value: &str) -> Result<()> {
        let set = match value {
            "" => rustix::mount::fsconfig_set_flag(fs, option),
            value => rustix::mount::fsconfig_set_string(fs, option, value),
        };
        set.map_err(|errno| self.failed(&format!("option {option:?} = {value:?}"), errno))
    }

    /// Sets an option that names a folder. A long path is named by descriptor.
    fn set_path(&self, fs: &OwnedFd, option: &str, path: &Path) -> Result<()> {
        let failed = |errno| self.failed(&format!("option {option:?} = {path:?}"), errno);
        if path.as_os_str().len() <= STRING_MAX {
            return rustix::mount::fsconfig_set_string(fs, option, path).map_err(failed);
        }
        let folder = files::open_dir(path).at("open", path)?;
        let name = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
        rustix::mount::fsconfig_set_string(fs, option, name.as_str()).map_err(failed)
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

    fn failed(&self, step: &str, errno: Errno) -> Error {
        Error::Mount { key: self.key.clone(), step: step.to_owned(), source: errno.into() }
    }
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
