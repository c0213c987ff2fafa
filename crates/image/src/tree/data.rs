//! The bytes of a file, from one to the other: as a shared extent where the file system can, inside the kernel where both are
//! files, holes kept.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::SeekFrom;
use rustix::io::{Errno, Result, retry_on_intr};

/// How much is copied at once where it passes through this program, in bytes.
const PIECE: usize = 1 << 20;
/// How much the kernel is asked to copy at once.
const STRETCH: u64 = 1 << 30;

/// Copies all bytes of `from` to the empty file `to`.
///
/// The size is that of the moment: what is appended meanwhile may be left out, what is cut off is missing.
pub fn copy_data(from: &impl AsFd, to: &impl AsFd) -> Result<u64> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let size = u64::try_from(rustix::fs::fstat(from)?.st_size).unwrap_or(0);
    if size == 0 || rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(size);
    }
    let mut in_kernel = true;
    let mut end = 0;
    while end < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(end)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            // A file system that knows no holes.
            Err(_) => end,
        };
        end = rustix::fs::seek(from, SeekFrom::Hole(start)).map_or(size, |end| end.min(size));
        if end <= start {
            break;
        }
        copy_stretch(from, to, start, end, &mut in_kernel)?;
    }
    rustix::fs::ftruncate(to, size)?;
    Ok(size)
}

fn copy_stretch(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    start: u64,
    end: u64,
    in_kernel: &mut bool,
) -> Result<()> {
    let mut at = start;
    while *in_kernel && at < end {
        let (mut source, mut target) = (at, at);
        let length = usize::try_from((end - at).min(STRETCH)).unwrap_or(PIECE);
        match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), length) {
            Ok(0) => return Ok(()),
            Ok(copied) => at += copied as u64,
            Err(Errno::INTR) => {}
            // Two file systems, or one that cannot.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::IO) => {
                *in_kernel = false
            }
            Err(errno) => return Err(errno),
        }
    }
    let mut buffer = vec![0; if at < end { PIECE } else { 0 }];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let read = retry_on_intr(|| rustix::io::pread(from, &mut buffer[..wanted], at))?;
        if read == 0 {
            return Ok(());
        }
        let mut written = 0;
        while written < read {
            let place = at + written as u64;
            written += retry_on_intr(|| rustix::io::pwrite(to, &buffer[written..read], place))?;
        }
        at += read as u64;
    }
    Ok(())
}
