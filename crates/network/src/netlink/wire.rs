//! Netlink's bytes: writing requests with their attributes, reading answers. Pure; it knows no meaning.
//!
//! Numbers are in the machine's order unless a name says `be` (nftables and conntrack use network order).

/// Messages in the order in which they will be sent; each carries its index as its sequence number.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    count: u32,
    dump: bool,
}

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Marks an attribute that holds attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;

/// Flags of a request (`NLM_F_*`).
pub(crate) mod flags {
    /// It is a request.
    pub(crate) const REQUEST: u16 = 0x1;
    /// An answer is wanted also when all went well.
    pub(crate) const ACK: u16 = 0x4;
    /// All objects are wanted.
    pub(crate) const DUMP: u16 = 0x300;
    /// Replace the object when it exists.
    pub(crate) const REPLACE: u16 = 0x100;
    /// Fail when the object exists.
    pub(crate) const EXCL: u16 = 0x200;
    /// Make the object when it is missing.
    pub(crate) const CREATE: u16 = 0x400;
    /// Add to the end.
    pub(crate) const APPEND: u16 = 0x800;
}

impl Batch {
    /// Returns a batch without messages.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a message and returns its sequence number; `header` is the fixed part that follows the netlink header.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        header: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) -> u32 {
        let start = self.bytes.len();
        let sequence = self.count;
        self.count += 1;
        self.dump |= flags & flags::DUMP == flags::DUMP;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | flags::REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(header);
        pad(&mut self.bytes);
        body(&mut Attributes { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        sequence
    }

    /// Returns the bytes to send.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Tells whether a message asks for a dump, whose answer ends with `NLMSG_DONE`.
    pub(crate) fn is_dump(&self) -> bool {
        self.dump
    }

    /// Returns how many messages there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

/// Writes the attributes of one message or of one nested attribute.
pub(crate) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// Writes raw bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = (value.len() + 4) as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
        self
    }

    /// Writes attributes that are encoded already.
    pub(crate) fn raw(&mut self, attributes: &[u8]) {
        self.bytes.extend_from_slice(attributes);
        pad(self.bytes);
    }

    /// Writes a text with its closing NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Writes one byte.
    pub(crate) fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// Writes 32 bits in the machine's order.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Writes 32 bits in network order.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Writes an attribute that holds attributes.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.nest_after(kind, &[], body)
    }

    /// Writes an attribute that begins with a fixed `header` and then holds attributes.
    pub(crate) fn nest_after(
        &mut self,
        kind: u16,
        header: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        self.bytes.extend_from_slice(header);
        pad(self.bytes);
        body(&mut Attributes { bytes: self.bytes });
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }
}

/// Pads to four bytes, as each message and attribute begins there (the whole batch is aligned from its start).
fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One message of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    /// The type.
    pub(crate) kind: u16,
    /// The flags.
    pub(crate) flags: u16,
    /// The index of the request within its batch.
    pub(crate) sequence: u32,
    /// What follows the netlink header.
    pub(crate) body: &'a [u8],
}

/// Returns the messages of a datagram; a cut one ends them.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = bytes.get(..length)?;
        let read = Message {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            sequence: u32_at(message, 8)?,
            body: message.get(HEADER..)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(read)
    })
}

/// Returns the attributes of `bytes` as type (without flags) and value; a cut one ends them.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Returns the value of the first attribute of type `kind`.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// Reads 16 bits in the machine's order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Reads 32 bits in the machine's order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Reads 32 bits in network order.
pub(crate) fn be32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Reads a text up to its NUL.
pub(crate) fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut batch = Batch::new();
        batch.message(16, flags::ACK, &[1, 2, 3, 4], |m| {
            m.text(3, "brig0").nest(18, |m| {
                m.u8(1, 7).u32(2, 9).be32(3, 9);
            });
        });
        batch.message(17, flags::DUMP, &[], |_| {});
        let read: Vec<_> = messages(batch.bytes()).collect();
        assert_eq!((read[0].kind, read[0].flags, read[0].sequence), (16, 5, 0));
        assert_eq!((read[1].kind, read[1].sequence, read[1].body.len()), (17, 1, 0));
        assert_eq!(attribute(&read[0].body[4..], 3).map(text), Some("brig0"));
        let nested = attribute(&read[0].body[4..], 18).unwrap();
        assert_eq!(attribute(nested, 1), Some(&[7][..]));
        assert_eq!(u32_at(attribute(nested, 2).unwrap(), 0), Some(9));
        assert_eq!(be32_at(attribute(nested, 3).unwrap(), 0), Some(9));
        assert!(batch.is_dump());
    }

    #[test]
    fn cut_and_lying_bytes_end_the_reading() {
        let mut batch = Batch::new();
        batch.message(16, 0, &[0; 4], |m| {
            m.text(3, "brig0");
        });
        for end in 0..batch.bytes().len() {
            assert_eq!(messages(&batch.bytes()[..end]).count(), 0);
        }
        assert_eq!(attributes(&[0, 0, 1, 0, 9]).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 9]).count(), 0);
        assert_eq!(messages(&[3, 0, 0, 0, 1, 0, 0, 0]).count(), 0);
    }
}
