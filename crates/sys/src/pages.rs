//! Memory that can be given back: anonymous pages that cost nothing until they are touched and nothing after [`Pages::release`].

#![allow(unsafe_code)]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use rustix::io::Result;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// A private anonymous mapping, filled with zeros.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the value alone; no thread of the process is special to it.
unsafe impl Send for Pages {}

impl Pages {
    /// Maps `len` bytes; none is resident yet.
    pub fn new(len: usize) -> Result<Self> {
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        NonNull::new(start.cast()).map(|start| Self { start, len }).ok_or(rustix::io::Errno::NOMEM)
    }

    /// Gives the memory back to the kernel; the bytes read as zero afterwards.
    pub fn release(&mut self) {
        // SAFETY: the range is ours alone (`&mut`), and any content, zeros too, is valid for `u8`. A failure leaves the
        // pages as they are, which is harmless.
        let _ = unsafe { madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxDontNeed) };
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is mapped readable for `len` bytes as long as `self` lives; anonymous memory is initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, writable, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no borrow of it can outlive `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Gives back the process's view of its own program: code and constants that are not used stay in the page cache and count
/// no longer as this process's memory; what is used again is mapped again, in steps of a few pages.
///
/// The kernel maps the 16 pages around each fault, so that the start alone leaves megabytes mapped that are never used.
pub fn forget_program() {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let page = rustix::param::page_size();
    let start = (&raw const __executable_start).addr().next_multiple_of(page);
    let end = (&raw const etext).addr() / page * page;
    if start < end {
        // SAFETY: linkers define both symbols; between them lie the headers, constants and code of the program, which are
        // mapped from its file and never written (what is relocated lies behind). Dropping such pages loses nothing:
        // the next access reads the file again. A failure leaves them as they are.
        let _ = unsafe {
            madvise(std::ptr::with_exposed_provenance_mut(start), end - start, Advice::LinuxDontNeed)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_pages_read_as_zero() {
        let mut pages = Pages::new(10_000).unwrap();
        assert_eq!((pages.len(), pages[9_999]), (10_000, 0));
        pages[9_999] = 7;
        assert_eq!(pages[9_999], 7);
        pages.release();
        assert_eq!(pages[9_999], 0);
    }

    #[test]
    fn a_program_goes_on_after_it_was_forgotten() {
        static TEXT: &str = "constants are read again";
        forget_program();
        assert_eq!(TEXT.len(), 24);
        assert_eq!(format!("{:?}", Some(TEXT.split(' ').count())), "Some(4)");
    }
}
