//! Mounting a volume's file system without a place: the mount dies with its descriptor.

use std::os::fd::{AsFd, OwnedFd};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use crate::error::{Error, Result};
use crate::model::Filesystem;

impl Filesystem {
    /// Whether it is a folder of the host.
    pub fn is_bind(&self) -> bool {
        self.options.iter().any(|option| option == "bind" || option == "rbind")
    }

    /// Mounts it, attached nowhere.
    pub(crate) fn mount(&self) -> Result<OwnedFd> {
        self.try_mount().map_err(|errno| Error::System {
            action: format!("mount {:?} of type {}", self.device, self.kind),
            source: errno.into(),
        })
    }

    fn try_mount(&self) -> rustix::io::Result<OwnedFd> {
        let fs = fsopen(self.kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(fs.as_fd(), "source", self.device.as_str())?;
        let mut attributes = MountAttrFlags::empty();
        for option in &self.options {
            match (option.as_str(), option.split_once('=')) {
                ("rw" | "suid" | "dev" | "exec" | "atime" | "defaults", _) => {}
                ("ro", _) => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
                ("nosuid", _) => attributes |= MountAttrFlags::MOUNT_ATTR_NOSUID,
                ("nodev", _) => attributes |= MountAttrFlags::MOUNT_ATTR_NODEV,
                ("noexec", _) => attributes |= MountAttrFlags::MOUNT_ATTR_NOEXEC,
                ("noatime", _) => attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME,
                (_, Some((name, value))) => fsconfig_set_string(fs.as_fd(), name, value)?,
                (name, None) => fsconfig_set_flag(fs.as_fd(), name)?,
            }
        }
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }
}
