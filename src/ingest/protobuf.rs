//! The walk over protobuf's wire bytes, in place: no message structs, no allocation, no copies.
//!
//! A [`Message`] knows where in the whole body it stands, so that every error names the byte. What it reads it has
//! checked: a length never points beyond the message it stands in. Groups, which no message of ours has and which
//! nest without limit, are refused.

use std::borrow::Cow;

/// Wire bytes that are no protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WireError {
    /// From the start of the body.
    pub offset: usize,
    pub reason: &'static str,
}

/// One message: the part of `body` from `at` to its end that is still to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// The whole body, cut off where this message ends.
    body: &'a [u8],
    at: usize,
}

/// What a field holds, by its wire type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Message<'a>),
}

/// A field: its number, its value, and where it starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
    pub offset: usize,
}

impl<'a> Message<'a> {
    pub fn new(body: &'a [u8]) -> Message<'a> {
        Message { body, at: 0 }
    }

    /// Where in the body the next field starts.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// What is still to be read.
    pub fn bytes(&self) -> &'a [u8] {
        &self.body[self.at..]
    }

    pub fn is_empty(&self) -> bool {
        self.at == self.body.len()
    }

    /// The next field, or `None` at the end of the message.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.is_empty() {
            return Ok(None);
        }
        let offset = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || tag > u32::MAX as u64 {
            return Err(WireError { offset, reason: "not a field number" });
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed64()?),
            2 => Value::Bytes(self.length_delimited()?),
            5 => Value::Fixed32(self.chunk().map(u32::from_le_bytes)?),
            3 | 4 => return Err(WireError { offset, reason: "groups are not supported" }),
            _ => return Err(WireError { offset, reason: "unknown wire type" }),
        };
        Ok(Some(Field { number: number as u32, value, offset }))
    }

    /// Calls `each` with the message in every field of this number, and steps over all others.
    #[inline]
    pub fn each_message(
        mut self,
        number: u32,
        mut each: impl FnMut(Message<'a>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        while let Some(field) = self.next_field()? {
            if field.number == number {
                each(field.message()?)?;
            }
        }
        Ok(())
    }

    /// Steps over the fields at the front whose tag is the single byte `tag` of a length-delimited field, and
    /// returns their bytes, tags and lengths included.
    #[inline]
    pub fn take_while_tag(&mut self, tag: u8) -> Result<&'a [u8], WireError> {
        let from = self.at;
        while self.body.get(self.at) == Some(&tag) {
            self.at += 1;
            self.length_delimited()?;
        }
        Ok(&self.body[from..self.at])
    }

    /// The message of the length-delimited field whose single-byte tag is next, if it is.
    #[inline]
    pub fn take_if_tag(&mut self, tag: u8) -> Result<Option<Message<'a>>, WireError> {
        if self.body.get(self.at) != Some(&tag) {
            return Ok(None);
        }
        self.at += 1;
        self.length_delimited().map(Some)
    }

    #[inline]
    fn length_delimited(&mut self) -> Result<Message<'a>, WireError> {
        let offset = self.at;
        let len = self.varint()?;
        if len > (self.body.len() - self.at) as u64 {
            return Err(WireError { offset, reason: "a field is longer than its message" });
        }
        let field = Message { body: &self.body[..self.at + len as usize], at: self.at };
        self.at += len as usize;
        Ok(field)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        match self.body.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(byte as u64)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (i, &byte) in self.body[self.at..].iter().take(10).enumerate() {
            // The tenth byte has room for the 64th bit alone.
            if i == 9 && byte > 1 {
                break;
            }
            value |= ((byte & 0x7F) as u64) << (7 * i);
            if byte < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        let reason = match self.body.len() - self.at {
            0..10 => "the message ends within a number",
            _ => "a number of more than 64 bits",
        };
        Err(WireError { offset: self.at, reason })
    }

    #[inline]
    fn fixed64(&mut self) -> Result<u64, WireError> {
        self.chunk().map(u64::from_le_bytes)
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.body[self.at..]
            .first_chunk::<N>()
            .ok_or(WireError { offset: self.at, reason: "the message ends within a number" })?;
        self.at += N;
        Ok(*bytes)
    }
}

impl<'a> Field<'a> {
    pub fn message(&self) -> Result<Message<'a>, WireError> {
        match self.value {
            Value::Bytes(message) => Ok(message),
            _ => Err(self.mistyped()),
        }
    }

    pub fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.mistyped()),
        }
    }

    pub fn double(&self) -> Result<f64, WireError> {
        match self.value {
            Value::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.mistyped()),
        }
    }

    pub fn fixed64(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Fixed64(bits) => Ok(bits),
            _ => Err(self.mistyped()),
        }
    }

    pub fn fixed32(&self) -> Result<u32, WireError> {
        match self.value {
            Value::Fixed32(bits) => Ok(bits),
            _ => Err(self.mistyped()),
        }
    }

    /// The bytes of a text, of bytes, or of a message.
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        self.message().map(|message| message.bytes())
    }

    /// A `sint32`.
    pub fn zigzag32(&self) -> Result<i32, WireError> {
        self.varint().map(|v| zigzag(v as u32 as u64) as i32)
    }

    /// Calls `each` with every number of a repeated field of varints, packed or not.
    pub fn each_varint(&self, mut each: impl FnMut(u64)) -> Result<(), WireError> {
        match self.value {
            Value::Varint(value) => each(value),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(packed.varint()?);
                }
            }
            _ => return Err(self.mistyped()),
        }
        Ok(())
    }

    /// Calls `each` with every number of a repeated field of doubles, packed or not.
    pub fn each_double(&self, mut each: impl FnMut(f64)) -> Result<(), WireError> {
        self.each_fixed64(|bits| each(f64::from_bits(bits)))
    }

    /// Calls `each` with every number of a repeated field of eight bytes each, packed or not.
    pub fn each_fixed64(&self, mut each: impl FnMut(u64)) -> Result<(), WireError> {
        match self.value {
            Value::Fixed64(bits) => each(bits),
            Value::Bytes(mut packed) => {
                while !packed.is_empty() {
                    each(packed.fixed64()?);
                }
            }
            _ => return Err(self.mistyped()),
        }
        Ok(())
    }

    pub fn mistyped(&self) -> WireError {
        WireError { offset: self.offset, reason: "a known field has the wrong wire type" }
    }
}

/// Bytes as the text they should be, mended where they are none. Most are, and are checked many at a time.
pub(super) fn mended(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// The signed number behind a `sint32` or `sint64`.
pub(super) fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_error(body: &[u8]) -> WireError {
        let mut message = Message::new(body);
        loop {
            match message.next_field() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("read to the end"),
                Err(e) => return e,
            }
        }
    }

    #[test]
    fn a_length_beyond_the_message_is_refused_where_it_stands() {
        let huge = [0x08, 1, 0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
        assert_eq!(first_error(&huge), WireError { offset: 3, reason: "a field is longer than its message" });
    }

    #[test]
    fn groups_and_unknown_wire_types_are_refused() {
        assert_eq!(first_error(&[0x0B]).reason, "groups are not supported");
        assert_eq!(first_error(&[0x0E, 0]).reason, "unknown wire type");
        assert_eq!(first_error(&[0x00, 0]).reason, "not a field number");
    }

    #[test]
    fn numbers_end_at_64_bits_and_within_their_message() {
        let mut max = Message::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        assert_eq!(max.varint(), Ok(u64::MAX));
        assert_eq!(Message::new(&[0xFF; 11]).varint().unwrap_err().reason, "a number of more than 64 bits");
        assert_eq!(Message::new(&[0xFF]).varint().unwrap_err().reason, "the message ends within a number");
    }

    #[test]
    fn an_offset_counts_from_the_start_of_the_body() {
        let body = [0x0A, 4, 0x12, 2, 0x08, 0xFF];
        let outer = Message::new(&body).next_field().unwrap().unwrap().message().unwrap();
        let mut inner = { outer }.next_field().unwrap().unwrap().message().unwrap();
        assert_eq!(inner.next_field().unwrap_err().offset, 5);
    }
}
