//! Text and other bytes that repeat: one zstd frame, or as they are where that is smaller.

use std::io::Read;

use super::varint::write_u64;
use super::{Malformed, take_count, take_u8};

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// The level that costs about as much as it saves in later reading.
const LEVEL: i32 = 3;

/// Appends `content`.
pub fn encode(content: &[u8], out: &mut Vec<u8>) {
    let mut head = vec![ZSTD];
    write_u64(&mut head, content.len() as u64);
    match zstd::bulk::compress(content, LEVEL) {
        Ok(packed) if head.len() + packed.len() <= content.len() => {
            out.append(&mut head);
            out.extend_from_slice(&packed);
        }
        _ => {
            out.push(PLAIN);
            out.extend_from_slice(content);
        }
    }
}

/// The content of `bytes`, at most `max` bytes. Memory grows with what is really there, not with what is promised.
pub fn decode(mut bytes: &[u8], max: usize) -> Result<Vec<u8>, Malformed> {
    match take_u8(&mut bytes)? {
        PLAIN => Ok(bytes.to_vec()),
        ZSTD => {
            let len = take_count(&mut bytes, max)?;
            let mut content = Vec::new();
            let decoder = zstd::stream::read::Decoder::new(bytes).map_err(|_| BROKEN)?;
            decoder.take(len as u64 + 1).read_to_end(&mut content).map_err(|_| BROKEN)?;
            if content.len() == len {
                Ok(content)
            } else {
                Err(Malformed("compressed bytes have another length"))
            }
        }
        _ => Err(Malformed("unknown kind of compression")),
    }
}

const BROKEN: Malformed = Malformed("compressed bytes are broken");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_shrinks_and_what_does_not_stays() {
        for content in [b"abc".to_vec(), b"the same again ".repeat(100), Vec::new()] {
            let mut bytes = Vec::new();
            encode(&content, &mut bytes);
            assert!(bytes.len() <= content.len() + 1);
            assert_eq!(decode(&bytes, 1 << 20).unwrap(), content);
        }
    }

    #[test]
    fn more_than_the_limit_is_refused_before_it_is_unpacked() {
        let mut bytes = Vec::new();
        encode(&[0; 10_000], &mut bytes);
        assert!(decode(&bytes, 9_999).is_err());
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], 10_000).is_err());
        }
    }
}
