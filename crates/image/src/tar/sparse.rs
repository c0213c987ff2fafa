//! Sparse files: which stretches of a file an archive holds. GNU's old form and pax forms 0.0, 0.1 and 1.0.

use super::BLOCK;
use super::header;
use super::pax::decimal;

/// The most stretches of one file (16 bytes each are kept).
pub(super) const MAX_SEGMENTS: usize = 1 << 18;

/// A stretch of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where in the file.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// Adds the stretches of an old GNU header or of an extension block, four or twenty-one at a time; returns `None` for
/// malformed ones, else whether another extension block follows.
///
/// Source: GNU tar manual, "Old GNU Format".
pub(super) fn add_old_gnu(block: &[u8; BLOCK], extension: bool, segments: &mut Vec<Segment>) -> Option<bool> {
    let (pairs, more) = if extension { (&block[..504], block[504]) } else { (&block[386..482], block[482]) };
    for pair in pairs.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        let offset = header::number(&pair[..12], "sparse").ok()?;
        let length = header::number(&pair[12..], "sparse").ok()?;
        add(segments, offset, length)?;
    }
    Some(more != 0)
}

/// The real size in an old GNU header.
pub(super) fn old_gnu_size(block: &[u8; BLOCK]) -> Option<u64> {
    header::number(&block[483..495], "sparse size").ok()
}

/// Reads the list of form 0.1: `offset,length,offset,length`.
pub(super) fn add_list(text: &[u8], segments: &mut Vec<Segment>) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    let mut numbers = text.split(|b| *b == b',').map(decimal);
    while let Some(offset) = numbers.next() {
        add(segments, offset?, numbers.next()??)?;
    }
    Some(())
}

/// Adds one stretch.
pub(super) fn add(segments: &mut Vec<Segment>, offset: u64, length: u64) -> Option<()> {
    if segments.len() >= MAX_SEGMENTS {
        return None;
    }
    segments.push(Segment { offset, length });
    Some(())
}

/// Says whether the stretches are in order, inside `real_size`, and add up to `stored`.
pub(super) fn is_valid(segments: &[Segment], real_size: u64, stored: u64) -> bool {
    let mut end = 0_u64;
    let mut sum = 0_u64;
    for segment in segments {
        let Some(next) = segment.offset.checked_add(segment.length) else { return false };
        if segment.offset < end || next > real_size {
            return false;
        }
        end = next;
        sum += segment.length;
    }
    sum == stored && i64::try_from(real_size).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_checked() {
        let mut list = Vec::new();
        add_list(b"0,5,10,5", &mut list).unwrap();
        assert!(is_valid(&list, 15, 10) && is_valid(&list, 99, 10));
        assert!(!is_valid(&list, 14, 10) && !is_valid(&list, 15, 11));
        let overlap = [Segment { offset: 4, length: 4 }, Segment { offset: 7, length: 1 }];
        assert!(!is_valid(&overlap, 99, 5));
        let wraps = [Segment { offset: u64::MAX, length: 2 }];
        assert!(!is_valid(&wraps, u64::MAX, 2));
        for bad in [&b"1"[..], b"1,", b"a,b", b"1,2,3"] {
            assert!(add_list(bad, &mut Vec::new()).is_none(), "{bad:?}");
        }
    }
}
