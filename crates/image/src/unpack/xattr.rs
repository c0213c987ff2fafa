//! Extended attributes: which ones an archive may set, and overlayfs's own marks.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::XattrFlags;
use rustix::io::{Errno, Result};
use serde::{Deserialize, Serialize};

use super::guard::{self, Guard};

/// In which attributes overlayfs keeps its marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// `trusted.overlay.*`, for root of the machine.
    Trusted,
    /// `user.overlay.*`, for root of a user namespace (mount option `userxattr`).
    User,
}

impl Form {
    /// Returns the form that this process can use.
    pub(crate) fn of_process() -> Self {
        let whole_map = std::fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]));
        if whole_map && rustix::process::geteuid().is_root() { Self::Trusted } else { Self::User }
    }

    /// Returns the name of the mark for opaque folders.
    pub(crate) fn opaque(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.opaque",
            Self::User => "user.overlay.opaque",
        }
    }
}

/// Marks a folder as opaque: nothing of the layers below shows through.
pub(crate) fn set_opaque(folder: &impl AsFd, form: Form) -> Result<()> {
    rustix::fs::fsetxattr(folder, form.opaque(), b"y", XattrFlags::empty())
}

/// Says whether an image may set the attribute. Overlayfs's own marks could show other folders of the machine; labels
/// of security modules and integrity marks are the machine's to give.
pub(crate) fn is_allowed(name: &[u8], form: Form) -> bool {
    let overlay = guard::is_on(Guard::Marks)
        && (name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay."));
    let trusted = name.starts_with(b"trusted.") && form == Form::Trusted;
    let acl = matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default");
    !overlay && (name == b"security.capability" || name.starts_with(b"user.") || trusted || acl)
}

/// Sets an attribute of an open file; `false` when the file system or the user namespace cannot have it.
pub(crate) fn set(file: &impl AsFd, name: &[u8], value: &[u8], form: Form) -> Result<bool> {
    match rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()) {
        // A descriptor that only names the file (of a link or device): through procfs, which resolves to that very file.
        Err(Errno::BADF) => {
            let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
            skip_unsupported(rustix::fs::setxattr(path, name, value, XattrFlags::empty()), form)
        }
        result => skip_unsupported(result, form),
    }
}

fn skip_unsupported(result: Result<()>, form: Form) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(Errno::PERM) if form == Form::User => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Lists the attributes of an open file that an image may have, sorted by name.
pub(crate) fn list_xattrs(file: &impl AsFd, form: Form) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0_u8; 4096];
    let length = loop {
        match rustix::fs::flistxattr(file, names.as_mut_slice()) {
            Err(Errno::RANGE) if names.len() < 1 << 16 => names.resize(names.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            result => break result?,
        }
    };
    let mut found = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty() && is_allowed(name, form)) {
        let mut value = vec![0_u8; 1 << 16];
        let length = rustix::fs::fgetxattr(file, name, value.as_mut_slice())?;
        value.truncate(length);
        found.push((name.to_vec(), value));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_sets_no_marks_of_the_machine() {
        for (name, allowed) in [
            ("security.capability", true),
            ("user.mime_type", true),
            ("trusted.x", true),
            ("trusted.overlay.redirect", false),
            ("trusted.overlay.opaque", false),
            ("user.overlay.opaque", false),
            ("security.selinux", false),
            ("security.ima", false),
            ("system.posix_acl_default", true),
            ("", false),
        ] {
            assert_eq!(is_allowed(name.as_bytes(), Form::Trusted), allowed, "{name}");
        }
        assert!(!is_allowed(b"trusted.x", Form::User));
    }
}
