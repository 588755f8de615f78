//! The files of a block's chunks: `chunks/000001` and so on.

use std::path::Path;

use super::BlockError;
use super::file::ForeignFile;
use crate::codec::chunks::Encoding;
use crate::codec::varint;

const MAGIC: u32 = 0x85bd_40dd;
const VERSION: u8 = 1;

pub struct ChunkFiles(Vec<ForeignFile>);

impl ChunkFiles {
    pub fn open(directory: &Path) -> Result<ChunkFiles, BlockError> {
        let mut files = Vec::new();
        loop {
            let path = directory.join(format!("{:06}", files.len() + 1));
            if !path.is_file() {
                return Ok(ChunkFiles(files));
            }
            let mut file = ForeignFile::open(&path)?;
            let version = file.bytes(0, 8)?[4];
            if file.u32(0)? != MAGIC {
                return Err(file.malformed(0, "not a file of chunks"));
            }
            if version != VERSION {
                let reason = format!("chunks of version {version}; version {VERSION} is what can be read");
                return Err(file.malformed(4, reason));
            }
            files.push(file);
        }
    }

    /// A chunk by the index's reference to it.
    pub fn read(&mut self, index: &Path, reference: u64) -> Result<(Encoding, &[u8]), BlockError> {
        let (number, at) = ((reference >> 32) as usize, reference & 0xffff_ffff);
        let count = self.0.len();
        let file = self.0.get_mut(number).ok_or_else(|| BlockError::Meta {
            path: index.to_owned(),
            reason: format!("a chunk in file {} of {count}", number + 1),
        })?;
        let head = file.up_to(at, varint::LEN_MAX)?;
        let mut rest = head;
        let len = varint::read_u64(&mut rest);
        let head_len = head.len() - rest.len();
        let len = len.map_err(|error| file.malformed(at, error.to_string()))?;
        // The encoding's byte is not counted.
        let len = usize::try_from(len).ok().and_then(|len| len.checked_add(1));
        let len = len.ok_or_else(|| file.malformed(at, "the file ends too early"))?;
        let from = at + head_len as u64;
        let number = file.checked(from, len)?[0];
        let encoding = match number {
            1 => Encoding::Xor,
            2 => Encoding::Histogram,
            3 => Encoding::FloatHistogram,
            _ => return Err(file.malformed(at, format!("chunks of encoding {number} cannot be read"))),
        };
        Ok((encoding, &file.bytes(from, len)?[1..]))
    }
}
