//! Reading: members one after the other, their data in the pieces that the stream below has at hand.

use std::io::BufRead;
use std::ops::Range;

use super::header::{self, BadHeader, Header};
use super::sparse::{self, Segment};
use super::{BLOCK, Kind, TarError, Timestamp, pax, shorten};

/// What an archive may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all extended headers (pax, GNU long names) of one member.
    pub header: u64,
    /// Members.
    pub entries: u64,
    /// Bytes of a path or link target.
    pub path: u64,
}

impl Default for Limits {
    /// What Go's reader allows for headers, and what Linux allows for paths.
    fn default() -> Self {
        Self { header: 1 << 20, entries: 10_000_000, path: 4096 }
    }
}

/// A member. Keep one and hand it to [`Reader::next`] again: its memory is used again.
#[derive(Debug, Default)]
pub struct Entry {
    /// Path as written, without NUL. Foreign: may be absolute, may have `..`.
    pub path: Vec<u8>,
    /// Target of a link as written, without NUL. Foreign.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Size of the file, holes included.
    pub size: u64,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// Major number of a device.
    pub major: u32,
    /// Minor number of a device.
    pub minor: u32,
    /// The stretches that the archive holds, when it is a sparse file.
    pub segments: Option<Vec<Segment>>,
    /// Names and values of extended attributes, in `records`.
    xattrs: Vec<(Range<usize>, Range<usize>)>,
    records: Vec<u8>,
}

impl Entry {
    /// Lists the extended attributes: name and value.
    pub fn xattrs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.xattrs.iter().map(|(key, value)| (&self.records[key.clone()], &self.records[value.clone()]))
    }

    fn clear(&mut self) {
        self.path.clear();
        self.link.clear();
        self.segments = None;
        self.xattrs.clear();
        self.records.clear();
    }
}

/// Reads an archive from a buffered stream.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    limits: Limits,
    offset: u64,
    entries: u64,
    /// Data of the current member that has not been read, and the padding behind it.
    data: u64,
    padding: u64,
}

/// What extended headers say of the next member.
#[derive(Debug, Default)]
struct Extended {
    /// Bytes of extended headers so far, for the limit.
    bytes: u64,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<Timestamp>,
    path: bool,
    link: bool,
    /// The path is `GNU.sparse.name`, which stands above `path`.
    sparse_name: bool,
    sparse: Vec<Segment>,
    sparse_offset: Option<u64>,
    sparse_real: Option<u64>,
    sparse_map: bool,
    sparse_version: (u64, u64),
}

impl<R: BufRead> Reader<R> {
    /// Reads from `input`, from its start.
    pub fn new(input: R, limits: Limits) -> Self {
        Self { input, limits, offset: 0, entries: 0, data: 0, padding: 0 }
    }

    /// Goes on to the next member and describes it in `entry`; `false` at the end of the archive.
    pub fn next(&mut self, entry: &mut Entry) -> Result<bool, TarError> {
        self.skip_rest()?;
        entry.clear();
        let mut extended = Extended::default();
        let mut block = [0_u8; BLOCK];
        loop {
            if !self.read_block(&mut block, "a header")? || (is_zero(&block) && self.at_end(&mut block)?) {
                return match extended.bytes {
                    0 => Ok(false),
                    _ => Err(TarError::Truncated { offset: self.offset, what: "an extended header" }),
                };
            }
            let header = header::parse(&block).map_err(|bad| self.bad_header(bad))?;
            match header.flag {
                b'x' | b'X' => self.read_pax(header.size, entry, &mut extended)?,
                b'L' => {
                    let size = self.charge(header.size, &mut extended)?;
                    self.read_name(size, &mut entry.path)?;
                    extended.path = true;
                }
                b'K' => {
                    let size = self.charge(header.size, &mut extended)?;
                    self.read_name(size, &mut entry.link)?;
                    extended.link = true;
                }
                // Global records and volume labels change no member, as in Go's reader.
                b'g' | b'V' => {
                    self.charge(header.size, &mut extended)?;
                    extended.bytes = 0;
                    self.begin_data(header.size)?;
                    self.skip_rest()?;
                }
                _ => {
                    self.count_entry()?;
                    self.describe(&header, &block, entry, extended)?;
                    return Ok(true);
                }
            }
        }
    }

    /// Returns the next piece of the current member's data as it stands in the archive; empty at its end.
    ///
    /// Tell with [`Reader::consume`] how much of it was used.
    pub fn data(&mut self) -> Result<&[u8], TarError> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let offset = self.offset;
        let piece = self.input.fill_buf().map_err(|source| TarError::Read { offset, source })?;
        if piece.is_empty() {
            return Err(TarError::Truncated { offset, what: "a file" });
        }
        let length = usize::try_from(self.data).unwrap_or(usize::MAX).min(piece.len());
        Ok(&piece[..length])
    }

    /// Says that `length` bytes of the last piece have been used.
    pub fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.offset += length as u64;
        self.data -= (length as u64).min(self.data);
    }

    /// Reads the stream to its end, so that whoever hashes it has seen every byte; returns the stream.
    pub fn finish(mut self) -> Result<R, TarError> {
        loop {
            let offset = self.offset;
            let rest = self.input.fill_buf().map_err(|source| TarError::Read { offset, source })?;
            let length = rest.len();
            if length == 0 {
                return Ok(self.input);
            }
            self.input.consume(length);
            self.offset += length as u64;
        }
    }

    /// Returns how many bytes of the archive have been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the stream below, in the middle of what it delivers.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }

    fn count_entry(&mut self) -> Result<(), TarError> {
        self.entries += 1;
        limit("the number of members", self.entries, self.limits.entries)
    }

    fn describe(
        &mut self,
        header: &Header<'_>,
        block: &[u8; BLOCK],
        entry: &mut Entry,
        mut extended: Extended,
    ) -> Result<(), TarError> {
        if !extended.path {
            set_name(&mut entry.path, header.prefix, header.name);
        }
        if !extended.link {
            set_name(&mut entry.link, b"", header.link);
        }
        limit("the length of a path in bytes", entry.path.len() as u64, self.limits.path)?;
        limit("the length of a link target in bytes", entry.link.len() as u64, self.limits.path)?;
        entry.mode = header.mode;
        entry.uid = extended.uid.unwrap_or(header.uid);
        entry.gid = extended.gid.unwrap_or(header.gid);
        entry.mtime = extended.mtime.unwrap_or(header.mtime);
        (entry.major, entry.minor) = (header.major, header.minor);
        entry.kind = kind_of(header.flag, &entry.path)
            .ok_or_else(|| TarError::Kind { path: shorten(&entry.path), kind: char::from(header.flag) })?;
        let stored = extended.size.unwrap_or(header.size);
        entry.size = if entry.kind == Kind::File { stored } else { 0 };
        // Links and devices have no data whatever their size says (as in Go); folders' is skipped.
        let has_data = matches!(header.flag, 0 | b'0' | b'7' | b'S' | b'D') && entry.kind != Kind::Folder;
        self.begin_data(if has_data || header.flag == b'D' { stored } else { 0 })?;
        if header.flag == b'S' {
            self.read_old_sparse(block, &mut extended)?;
        } else if extended.sparse_version == (1, 0) && entry.kind == Kind::File {
            self.read_sparse_map(&mut extended)?;
        }
        if extended.sparse_map {
            self.set_sparse(entry, extended)?;
        }
        Ok(())
    }

    fn set_sparse(&mut self, entry: &mut Entry, extended: Extended) -> Result<(), TarError> {
        let bad = |offset| TarError::Field { field: "sparse map", value: String::new(), offset };
        let real = extended.sparse_real.ok_or_else(|| bad(self.offset))?;
        if !sparse::is_valid(&extended.sparse, real, self.data) || entry.kind != Kind::File {
            return Err(bad(self.offset));
        }
        entry.size = real;
        entry.segments = Some(extended.sparse);
        Ok(())
    }

    fn read_old_sparse(&mut self, block: &[u8; BLOCK], extended: &mut Extended) -> Result<(), TarError> {
        let bad = |offset| TarError::Field { field: "sparse map", value: String::new(), offset };
        let mut more =
            sparse::add_old_gnu(block, false, &mut extended.sparse).ok_or_else(|| bad(self.offset))?;
        extended.sparse_real = sparse::old_gnu_size(block);
        extended.sparse_map = true;
        let mut extension = [0_u8; BLOCK];
        while more {
            if !self.read_block(&mut extension, "a sparse map")? {
                return Err(TarError::Truncated { offset: self.offset, what: "a sparse map" });
            }
            more = sparse::add_old_gnu(&extension, true, &mut extended.sparse)
                .ok_or_else(|| bad(self.offset))?;
        }
        Ok(())
    }

    /// Form 1.0 has the map before the data: decimal numbers, one a line, padded to whole blocks.
    fn read_sparse_map(&mut self, extended: &mut Extended) -> Result<(), TarError> {
        let bad = |offset| TarError::Field { field: "sparse map", value: String::new(), offset };
        let mut numbers = MapNumbers { reader: self, block: [0; BLOCK], used: BLOCK };
        let count = numbers.next()?;
        limit("the number of stretches of a sparse file", count, sparse::MAX_SEGMENTS as u64)?;
        for _ in 0..count {
            let (offset, length) = (numbers.next()?, numbers.next()?);
            sparse::add(&mut extended.sparse, offset, length).ok_or_else(|| bad(0))?;
        }
        extended.sparse_map = true;
        Ok(())
    }

    /// Counts an extended header's bytes before they are read.
    fn charge(&self, size: u64, extended: &mut Extended) -> Result<u64, TarError> {
        extended.bytes = extended.bytes.saturating_add(size).saturating_add(BLOCK as u64);
        limit("the size of a member's extended headers in bytes", extended.bytes, self.limits.header)?;
        Ok(size)
    }

    fn read_name(&mut self, size: u64, into: &mut Vec<u8>) -> Result<(), TarError> {
        into.clear();
        self.begin_data(size)?;
        self.read_all(into, "a long name")?;
        let length = header::until_nul(into).len();
        into.truncate(length);
        Ok(())
    }

    fn read_pax(&mut self, size: u64, entry: &mut Entry, extended: &mut Extended) -> Result<(), TarError> {
        self.charge(size, extended)?;
        let start = entry.records.len();
        self.begin_data(size)?;
        let mut records = std::mem::take(&mut entry.records);
        let read = self.read_all(&mut records, "a pax header");
        entry.records = records;
        read?;
        let mut at = start;
        while at < entry.records.len() {
            let Some((key, value, rest)) = pax::split(&entry.records[at..]) else {
                let value = shorten(&entry.records[at..]);
                return Err(TarError::Field { field: "pax record", value, offset: self.offset });
            };
            let next = entry.records.len() - rest.len();
            let value = next - 1 - value.len()..next - 1;
            let key = value.start - 1 - key.len()..value.start - 1;
            if !apply_record(entry, key.clone(), value.clone(), extended) {
                let value = shorten(&entry.records[key.start..value.end]);
                return Err(TarError::Field { field: "pax record", value, offset: self.offset });
            }
            at = next;
        }
        Ok(())
    }

    /// Appends all data of the current member, whose size was charged before.
    fn read_all(&mut self, into: &mut Vec<u8>, what: &'static str) -> Result<(), TarError> {
        loop {
            let offset = self.offset;
            let piece = self.data().map_err(|error| match error {
                TarError::Truncated { .. } => TarError::Truncated { offset, what },
                other => other,
            })?;
            if piece.is_empty() {
                return self.skip_rest();
            }
            into.extend_from_slice(piece);
            let length = piece.len();
            self.consume(length);
        }
    }

    fn begin_data(&mut self, size: u64) -> Result<(), TarError> {
        limit("the size of a member in bytes", size, i64::MAX.cast_unsigned())?;
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        loop {
            let length = self.data()?.len();
            if length == 0 {
                break;
            }
            self.consume(length);
        }
        self.data = std::mem::take(&mut self.padding);
        loop {
            let length = self.data()?.len();
            if length == 0 {
                return Ok(());
            }
            self.consume(length);
        }
    }

    /// Reads a block; `false` when the stream ends before it begins.
    fn read_block(&mut self, block: &mut [u8; BLOCK], what: &'static str) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            let offset = self.offset;
            let piece = self.input.fill_buf().map_err(|source| TarError::Read { offset, source })?;
            if piece.is_empty() {
                return match filled {
                    0 => Ok(false),
                    _ => Err(TarError::Truncated { offset, what }),
                };
            }
            let length = piece.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&piece[..length]);
            self.input.consume(length);
            self.offset += length as u64;
            filled += length;
        }
        Ok(true)
    }

    /// After one zero block: the end is a second one or the end of the stream; anything else goes on as a header.
    fn at_end(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        Ok(!self.read_block(block, "a header")? || is_zero(block))
    }

    fn bad_header(&self, bad: BadHeader) -> TarError {
        match bad {
            BadHeader::Checksum => TarError::Checksum { offset: self.offset - BLOCK as u64 },
            BadHeader::Field(field, value) => {
                TarError::Field { field, value: shorten(&value), offset: self.offset }
            }
        }
    }
}

/// Decimal lines of a sparse map, block by block.
struct MapNumbers<'a, R> {
    reader: &'a mut Reader<R>,
    block: [u8; BLOCK],
    used: usize,
}

impl<R: BufRead> MapNumbers<'_, R> {
    fn next(&mut self) -> Result<u64, TarError> {
        let mut value = 0_u64;
        for digits in 0..20 {
            match self.byte()? {
                b'\n' if digits > 0 => return Ok(value),
                digit @ b'0'..=b'9' => {
                    let next = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')));
                    value = next.ok_or_else(|| self.bad())?;
                }
                _ => return Err(self.bad()),
            }
        }
        Err(self.bad())
    }

    fn byte(&mut self) -> Result<u8, TarError> {
        if self.used == BLOCK {
            if self.reader.data < BLOCK as u64 {
                return Err(self.bad());
            }
            if !self.reader.read_block(&mut self.block, "a sparse map")? {
                return Err(TarError::Truncated { offset: self.reader.offset, what: "a sparse map" });
            }
            self.reader.data -= BLOCK as u64;
            self.used = 0;
        }
        self.used += 1;
        Ok(self.block[self.used - 1])
    }

    fn bad(&self) -> TarError {
        TarError::Field { field: "sparse map", value: String::new(), offset: self.reader.offset }
    }
}

/// Applies the record whose key and value lie in `entry.records`; `false` when it is malformed.
fn apply_record(entry: &mut Entry, key: Range<usize>, value: Range<usize>, extended: &mut Extended) -> bool {
    let (name, text) = (&entry.records[key.clone()], &entry.records[value.clone()]);
    if let Some(xattr) = name.strip_prefix(b"SCHILY.xattr.") {
        let start = key.end - xattr.len();
        entry.xattrs.push((start..key.end, value));
        return true;
    }
    // An empty value takes the record back.
    let number = |slot: &mut Option<u64>| match text {
        b"" => {
            *slot = None;
            true
        }
        text => {
            *slot = pax::decimal(text);
            slot.is_some()
        }
    };
    match name {
        b"path" if extended.sparse_name => true,
        b"path" => set_text(&mut entry.path, text, &mut extended.path),
        b"GNU.sparse.name" => {
            extended.sparse_name = true;
            set_text(&mut entry.path, text, &mut extended.path)
        }
        b"linkpath" => set_text(&mut entry.link, text, &mut extended.link),
        b"size" => number(&mut extended.size),
        b"uid" => number(&mut extended.uid),
        b"gid" => number(&mut extended.gid),
        b"mtime" => {
            extended.mtime = pax::timestamp(text);
            text.is_empty() || extended.mtime.is_some()
        }
        b"GNU.sparse.size" | b"GNU.sparse.realsize" => number(&mut extended.sparse_real),
        b"GNU.sparse.map" => {
            extended.sparse_map = true;
            extended.sparse.clear();
            sparse::add_list(text, &mut extended.sparse).is_some()
        }
        b"GNU.sparse.offset" => number(&mut extended.sparse_offset),
        b"GNU.sparse.numbytes" => {
            extended.sparse_map = true;
            match (extended.sparse_offset.take(), pax::decimal(text)) {
                (Some(offset), Some(length)) => sparse::add(&mut extended.sparse, offset, length).is_some(),
                _ => false,
            }
        }
        b"GNU.sparse.major" => pax::decimal(text).map(|n| extended.sparse_version.0 = n).is_some(),
        b"GNU.sparse.minor" => pax::decimal(text).map(|n| extended.sparse_version.1 = n).is_some(),
        _ => true,
    }
}

fn set_text(slot: &mut Vec<u8>, text: &[u8], is_set: &mut bool) -> bool {
    slot.clear();
    slot.extend_from_slice(text);
    *is_set = !text.is_empty();
    !text.contains(&0)
}

fn set_name(into: &mut Vec<u8>, prefix: &[u8], name: &[u8]) {
    into.clear();
    if !prefix.is_empty() {
        into.extend_from_slice(prefix);
        into.push(b'/');
    }
    into.extend_from_slice(name);
}

fn kind_of(flag: u8, path: &[u8]) -> Option<Kind> {
    Some(match flag {
        0 if path.ends_with(b"/") => Kind::Folder,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' | b'D' => Kind::Folder,
        b'6' => Kind::Fifo,
        _ => return None,
    })
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|b| *b == 0)
}

fn limit(what: &'static str, value: u64, limit: u64) -> Result<(), TarError> {
    if value > limit { Err(TarError::Limit { what, value, limit }) } else { Ok(()) }
}
