//! What was deleted of a block and is still in its chunks.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

use super::BlockError;
use crate::codec::crc32c::crc32c;
use crate::codec::{Malformed, take, take_u8, varint};
use crate::model::Timestamp;

const MAGIC: [u8; 4] = 0x0130_ba30u32.to_be_bytes();
const VERSION: u8 = 1;

/// By series, times of which both ends are deleted.
#[derive(Debug, Default)]
pub struct Tombstones(HashMap<u64, Vec<(Timestamp, Timestamp)>>);

impl Tombstones {
    /// A block without deletions may have no such file.
    pub fn read(path: &Path) -> Result<Tombstones, BlockError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Tombstones::default()),
            Err(error) => return Err(BlockError::io(path, error)),
        };
        Tombstones::parse(&bytes).map_err(|error| BlockError::Malformed {
            path: path.to_owned(),
            offset: 0,
            reason: error.to_string(),
        })
    }

    fn parse(bytes: &[u8]) -> Result<Tombstones, Malformed> {
        let (mut rest, checksum) = bytes.split_last_chunk::<4>().ok_or(Malformed("ends too early"))?;
        if take(&mut rest, MAGIC.len())? != MAGIC {
            return Err(Malformed("not a file of tombstones"));
        }
        if take_u8(&mut rest)? != VERSION {
            return Err(Malformed("a version of tombstones that cannot be read"));
        }
        if crc32c(rest).to_be_bytes() != *checksum {
            return Err(Malformed("a checksum does not match"));
        }
        let mut stones = Tombstones::default();
        while !rest.is_empty() {
            let series = varint::read_u64(&mut rest)?;
            let times = (varint::read_i64(&mut rest)?, varint::read_i64(&mut rest)?);
            stones.0.entry(series).or_default().push(times);
        }
        Ok(stones)
    }

    pub fn of(&self, series: u64) -> &[(Timestamp, Timestamp)] {
        self.0.get(&series).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(stones: &[(u64, i64, i64)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (series, first, last) in stones {
            varint::write_u64(&mut body, *series);
            varint::write_i64(&mut body, *first);
            varint::write_i64(&mut body, *last);
        }
        [&MAGIC[..], &[VERSION], &body, &crc32c(&body).to_be_bytes()].concat()
    }

    #[test]
    fn deletions_are_found_by_series() {
        let stones = Tombstones::parse(&file(&[(7, -5, 10), (9, 0, 0), (7, 20, 30)])).unwrap();
        assert_eq!(stones.of(7), [(-5, 10), (20, 30)]);
        assert_eq!(stones.of(8), []);
        assert!(Tombstones::parse(&file(&[])).unwrap().of(7).is_empty());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = file(&[(7, -5, 10), (9, 0, i64::MAX)]);
        for len in 0..bytes.len() {
            assert!(Tombstones::parse(&bytes[..len]).is_err(), "{len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Tombstones::parse(&bytes).is_err(), "{bit}");
        }
    }
}
