//! Writing: ustar headers, pax records where ustar cannot say it.

use std::io::{self, Read, Write};

use super::{BLOCK, Kind, Timestamp};

/// A member to write.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Path, relative.
    pub path: &'a [u8],
    /// Target of a link, else empty.
    pub link: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of data that follow; 0 for all but files.
    pub size: u64,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// Major number of a device.
    pub major: u32,
    /// Minor number of a device.
    pub minor: u32,
    /// Extended attributes, sorted by name.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl<'a> Member<'a> {
    /// A regular file of `size` bytes, owned by root, at time 0.
    pub fn file(path: &'a [u8], size: u64) -> Self {
        let mtime = Timestamp::default();
        Self {
            path,
            link: b"",
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime,
            major: 0,
            minor: 0,
            xattrs: &[],
        }
    }

    /// A folder, owned by root, at time 0.
    pub fn folder(path: &'a [u8]) -> Self {
        Self { kind: Kind::Folder, mode: 0o755, ..Self::file(path, 0) }
    }
}

/// Writes an archive.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    records: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, records: Vec::new() }
    }

    /// Writes a member with its data; `data` must deliver exactly `member.size` bytes.
    pub fn append(&mut self, member: &Member<'_>, data: &mut dyn Read) -> io::Result<()> {
        self.header(member)?;
        let written = io::copy(&mut data.take(member.size), &mut self.out)?;
        if written != member.size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file shrank while it was archived",
            ));
        }
        self.pad(member.size)
    }

    /// Writes a member that has no data, or whose data the caller writes by [`Writer::data`] and ends by [`Writer::pad`].
    pub fn header(&mut self, member: &Member<'_>) -> io::Result<()> {
        self.collect_records(member);
        if !self.records.is_empty() {
            let records = std::mem::take(&mut self.records);
            let mut header = Member::file(b"pax", records.len() as u64);
            header.mtime = Timestamp::default();
            self.out.write_all(&block(&header, b'x'))?;
            self.out.write_all(&records)?;
            self.pad(records.len() as u64)?;
            self.records = records;
        }
        self.out.write_all(&block(member, flag(member.kind)))
    }

    /// Writes data of the member whose header came last.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Fills up the last block after `size` bytes of data.
    pub fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = (size.next_multiple_of(BLOCK as u64) - size) as usize;
        self.out.write_all(&[0; BLOCK][..rest])
    }

    /// Writes the end of the archive and returns the stream.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn collect_records(&mut self, member: &Member<'_>) {
        self.records.clear();
        if split_path(member.path).is_none() || !member.path.is_ascii() {
            record(&mut self.records, b"path", member.path);
        }
        if member.link.len() > 100 || !member.link.is_ascii() {
            record(&mut self.records, b"linkpath", member.link);
        }
        for (key, value, limit) in [
            (&b"uid"[..], u64::from(member.uid), 1 << 21),
            (b"gid", u64::from(member.gid), 1 << 21),
            (b"size", member.size, 1 << 33),
        ] {
            if value >= limit {
                record(&mut self.records, key, value.to_string().as_bytes());
            }
        }
        if member.mtime.nanoseconds != 0 || !(0..1 << 33).contains(&member.mtime.seconds) {
            record(&mut self.records, b"mtime", render_time(member.mtime).as_bytes());
        }
        for (key, value) in member.xattrs {
            record(&mut self.records, &[b"SCHILY.xattr.", key.as_slice()].concat(), value);
        }
    }
}

/// Appends `length key=value\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let base = key.len() + value.len() + 3;
    let mut length = base + base.to_string().len();
    if base + length.to_string().len() != length {
        length = base + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn render_time(time: Timestamp) -> String {
    let text = match (time.seconds < 0, time.nanoseconds) {
        (_, 0) => return time.seconds.to_string(),
        (false, nanoseconds) => format!("{}.{nanoseconds:09}", time.seconds),
        (true, nanoseconds) => format!("-{}.{:09}", -(time.seconds + 1), 1_000_000_000 - nanoseconds),
    };
    text.trim_end_matches('0').to_owned()
}

/// Splits a path into ustar's prefix and name; `None` when it does not fit.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    let from = path.len().saturating_sub(101);
    let slash =
        (from..path.len().min(156)).find(|at| path[*at] == b'/' && *at > 0 && *at + 1 < path.len())?;
    Some((&path[..slash], &path[slash + 1..]))
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Folder => b'5',
        Kind::Fifo => b'6',
    }
}

fn block(member: &Member<'_>, flag: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let (prefix, name) = split_path(member.path).unwrap_or((b"", &member.path[..member.path.len().min(100)]));
    put(&mut block, 0, name);
    octal(&mut block[100..108], u64::from(member.mode & 0o7777));
    octal(&mut block[108..116], u64::from(member.uid));
    octal(&mut block[116..124], u64::from(member.gid));
    octal(&mut block[124..136], member.size);
    octal(&mut block[136..148], u64::try_from(member.mtime.seconds).unwrap_or(0));
    block[156] = flag;
    put(&mut block, 157, &member.link[..member.link.len().min(100)]);
    put(&mut block, 257, b"ustar\x0000");
    octal(&mut block[329..337], u64::from(member.major));
    octal(&mut block[337..345], u64::from(member.minor));
    put(&mut block, 345, prefix);
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block[148..155], sum);
    block
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Octal digits and a NUL; what does not fit is 0 and stands in a record.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    if text.len() == digits {
        field[..digits].copy_from_slice(text.as_bytes());
    } else {
        field[..digits].fill(b'0');
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Limits, Reader};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let long = [b"d/".repeat(100), b"file".to_vec()].concat();
        let xattrs = [(b"user.x".to_vec(), b"a\0\n=b".to_vec()), (b"user.y".to_vec(), vec![b'y'; 80])];
        let mtime = Timestamp { seconds: -5, nanoseconds: 250_000_000 };
        let members = [
            Member { mtime, xattrs: &xattrs, uid: 4_000_000, mode: 0o4755, ..Member::file(&long, 700) },
            Member { mtime: Timestamp { seconds: 1, nanoseconds: 1 }, ..Member::folder(b"caf\xc3\xa9") },
            Member { kind: Kind::Symlink, link: &long, ..Member::file(b"link", 0) },
            Member { kind: Kind::CharDevice, major: 5, minor: 1, ..Member::file(b"dev", 0) },
        ];
        let mut writer = Writer::new(Vec::new());
        for member in &members {
            writer.append(member, &mut io::repeat(7)).unwrap();
        }
        let archive = writer.finish().unwrap();
        let mut reader = Reader::new(&archive[..], Limits::default());
        let mut entry = Entry::default();
        for member in &members {
            assert!(reader.next(&mut entry).unwrap());
            assert_eq!((entry.path.as_slice(), entry.link.as_slice()), (member.path, member.link));
            assert_eq!(
                (entry.kind, entry.mode, entry.uid),
                (member.kind, member.mode, u64::from(member.uid))
            );
            assert_eq!((entry.size, entry.mtime, entry.major), (member.size, member.mtime, member.major));
            let found: Vec<_> = entry.xattrs().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            assert_eq!(found, member.xattrs);
        }
        assert!(!reader.next(&mut entry).unwrap());
    }
}
