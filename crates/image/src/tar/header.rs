//! The 512 bytes before each member.

use super::{BLOCK, Timestamp};

/// A header, its checksum verified and its numbers read. Text is borrowed from the block.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) name: &'a [u8],
    /// Goes before `name`, joined by `/`; empty in formats that have none.
    pub(super) prefix: &'a [u8],
    pub(super) link: &'a [u8],
    pub(super) flag: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// Why a block is no header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    Checksum,
    Field(&'static str, Vec<u8>),
}

/// Reads a header block.
///
/// Source: POSIX `pax`, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Header<'_>, BadHeader> {
    if !checksum_fits(block) {
        return Err(BadHeader::Checksum);
    }
    let gnu = &block[257..265] == b"ustar  \0";
    let ustar = &block[257..263] == b"ustar\0";
    let has_devices = gnu || ustar;
    let device = |range: std::ops::Range<usize>, field| match has_devices {
        true => number(&block[range], field).map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        false => Ok(0),
    };
    let seconds = signed(&block[136..148], "mtime")?;
    Ok(Header {
        name: until_nul(&block[..100]),
        prefix: if ustar { ustar_prefix(block) } else { b"" },
        link: until_nul(&block[157..257]),
        flag: block[156],
        mode: u32::try_from(number(&block[100..108], "mode")? & 0o7777).unwrap_or(0),
        uid: number(&block[108..116], "uid")?,
        gid: number(&block[116..124], "gid")?,
        size: number(&block[124..136], "size")?,
        mtime: Timestamp { seconds, nanoseconds: 0 },
        major: device(329..337, "devmajor")?,
        minor: device(337..345, "devminor")?,
    })
}

/// star ends a ustar header with `tar\0` and keeps times where the end of the prefix would be.
fn ustar_prefix(block: &[u8; BLOCK]) -> &[u8] {
    let end = if &block[508..512] == b"tar\0" { 345 + 131 } else { 500 };
    until_nul(&block[345..end])
}

/// The sum counts its own field as blanks; old programs added signed bytes.
fn checksum_fits(block: &[u8; BLOCK]) -> bool {
    let Ok(stored) = number(&block[148..156], "checksum") else { return false };
    let mut unsigned: u64 = 8 * u64::from(b' ');
    let mut signed: i64 = 8 * i64::from(b' ');
    for part in [&block[..148], &block[156..]] {
        unsigned += part.iter().map(|b| u64::from(*b)).sum::<u64>();
        signed += part.iter().map(|b| i64::from(b.cast_signed())).sum::<i64>();
    }
    stored == unsigned || i64::try_from(stored) == Ok(signed)
}

/// Returns the bytes before the first NUL.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|b| *b == 0).map_or(bytes, |end| &bytes[..end])
}

/// Reads an unsigned number: octal text, or base 256 when the first bit is set.
pub(super) fn number(field: &[u8], name: &'static str) -> Result<u64, BadHeader> {
    u64::try_from(signed(field, name)?).map_err(|_| BadHeader::Field(name, field.to_vec()))
}

fn signed(field: &[u8], name: &'static str) -> Result<i64, BadHeader> {
    let bad = || BadHeader::Field(name, field.to_vec());
    match field.first() {
        Some(first) if first & 0x80 != 0 => base256(field).ok_or_else(bad),
        _ => octal(field).ok_or_else(bad),
    }
}

/// Two's complement, big endian; the first bit says that it is one.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let mut value: i64 = if negative { -1 } else { 0 };
    for (index, byte) in field.iter().enumerate() {
        let byte = if index == 0 && !negative { byte & 0x7f } else { *byte };
        let shifted = value.checked_mul(256)?;
        value = shifted.checked_add(i64::from(byte))?;
    }
    Some(value)
}

/// Octal digits among blanks and NULs; nothing is 0.
fn octal(field: &[u8]) -> Option<i64> {
    let padding = |b: &u8| *b == b' ' || *b == 0;
    let start = field.iter().position(|b| !padding(b)).unwrap_or(field.len());
    let digits = until_nul(&field[start..]);
    let end = digits.iter().rposition(|b| !padding(b)).map_or(0, |last| last + 1);
    digits[..end].iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_all_their_forms() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"  644 \0 ", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"77777777777", Some(0o77_777_777_777)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x00", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"12x", None),
            (b"-1", None),
            (b"9", None),
        ] {
            assert_eq!(number(field, "x").ok(), value, "{field:?}");
        }
        assert_eq!(signed(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "x"), Ok(-1));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(parse(&[b'x'; BLOCK]).unwrap_err(), BadHeader::Checksum);
        assert_eq!(parse(&[0; BLOCK]).unwrap_err(), BadHeader::Checksum);
    }
}
