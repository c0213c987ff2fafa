//! Puts device rules on a v2 group as an eBPF program.

use super::{Folder, Rules, program};
use crate::cgroup::Error;

/// Sets `rules`. A program that is there already is replaced in one step, so that no moment has none.
///
/// Others' programs (systemd's) on the groups above must allow an access as well.
pub(super) fn set(folder: &Folder, rules: &Rules) -> Result<(), Error> {
    let fail = |error: std::io::Error| Error::from_io("set device rules of", folder.path(), error);
    let present = sys::bpf::attached_device_programs(folder.as_fd()).map_err(fail)?;
    if rules.default_allow && rules.exceptions.is_empty() && present.is_empty() {
        return Ok(());
    }
    let program = sys::bpf::load_device_program(&program(rules)).map_err(fail)?;
    match present.as_slice() {
        [old] => sys::bpf::replace_device_program(folder.as_fd(), &program, old).map_err(fail),
        _ => {
            sys::bpf::attach_device_program(folder.as_fd(), &program).map_err(fail)?;
            for old in &present {
                sys::bpf::detach_device_program(folder.as_fd(), old).map_err(fail)?;
            }
            Ok(())
        }
    }
}
