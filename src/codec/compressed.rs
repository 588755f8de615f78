//! Text and other bytes that repeat: one zstd frame, or as they are where that is smaller.

use std::cell::RefCell;
use std::io::Read;

use zstd::bulk::{Compressor, Decompressor};

use super::varint::write_u64;
use super::{Malformed, take_count, take_u8};

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// The level that costs about as much as it saves in later reading.
const LEVEL: i32 = 3;

/// Less has nothing that repeats, and a frame of its own costs more than it saves.
const FRAME_BYTES_MIN: usize = 24;

thread_local! {
    /// Setting these up costs more than a small column takes.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends `content`.
pub fn encode(content: &[u8], out: &mut Vec<u8>) {
    encode_at(LEVEL, content, out);
}

/// Appends `content`, packed with this level of zstd.
pub fn encode_at(level: i32, content: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if content.len() >= FRAME_BYTES_MIN {
        out.push(ZSTD);
        write_u64(out, content.len() as u64);
        match compress(level, content) {
            Ok(packed) if out.len() - start + packed.len() <= content.len() => {
                out.extend_from_slice(&packed);
                return;
            }
            _ => out.truncate(start),
        }
    }
    out.push(PLAIN);
    out.extend_from_slice(content);
}

fn compress(level: i32, content: &[u8]) -> std::io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        let compressor = match compressor {
            Some(compressor) => compressor,
            None => compressor.insert(Compressor::new(level)?),
        };
        compressor.set_compression_level(level)?;
        compressor.compress(content)
    })
}

/// What room is taken for because it is promised.
const TRUSTED_BYTES_MAX: usize = 1 << 20;

/// The content of `bytes`, at most `max` bytes. Memory grows with what is really there, where more than a MiB is
/// promised.
pub fn decode(mut bytes: &[u8], max: usize) -> Result<Vec<u8>, Malformed> {
    match take_u8(&mut bytes)? {
        PLAIN => Ok(bytes.to_vec()),
        ZSTD => {
            let len = take_count(&mut bytes, max)?;
            if len <= TRUSTED_BYTES_MAX {
                return unpack(bytes, len, 0);
            }
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

/// As [`decode`], for what is at most a block: takes room for all of it at once, and for `spare` bytes that the
/// caller will append; so `max` must be bearable.
pub fn decode_block(mut bytes: &[u8], max: usize, spare: usize) -> Result<Vec<u8>, Malformed> {
    if bytes.first() != Some(&ZSTD) {
        return decode(bytes, max);
    }
    bytes = &bytes[1..];
    let len = take_count(&mut bytes, max)?;
    unpack(bytes, len, spare)
}

/// The content of a frame, `len` bytes, with room for `spare` more.
fn unpack(frame: &[u8], len: usize, spare: usize) -> Result<Vec<u8>, Malformed> {
    let content = DECOMPRESSOR.with_borrow_mut(|decompressor| {
        let decompressor = match decompressor {
            Some(decompressor) => decompressor,
            None => decompressor.insert(Decompressor::new().map_err(|_| BROKEN)?),
        };
        decompressor.decompress(frame, len + spare).map_err(|_| BROKEN)
    })?;
    if content.len() == len { Ok(content) } else { Err(Malformed("compressed bytes have another length")) }
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
            assert_eq!(decode_block(&bytes, 1 << 20, 8).unwrap(), content);
        }
    }

    #[test]
    fn more_than_the_limit_is_refused_before_it_is_unpacked() {
        let mut bytes = Vec::new();
        encode(&[0; 10_000], &mut bytes);
        assert!(decode(&bytes, 9_999).is_err() && decode_block(&bytes, 9_999, 8).is_err());
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], 10_000).is_err());
            assert!(decode_block(&bytes[..len], 10_000, 0).is_err());
        }
    }
}
