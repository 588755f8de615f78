//! One frame of the log and the header of its files (`storage-format.md` §2).

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(super) const FILE_MAGIC: [u8; 8] = *b"ICEWAL\x00\x01";
pub(super) const FILE_HEADER_BYTES: usize = 32;
pub(super) const FRAME_MAGIC: u32 = 0x4652_4D21;
pub(super) const FRAME_HEADER_BYTES: usize = 32;
/// Frames start at multiples of this, so that a search for the next one after damage is short.
pub(super) const FRAME_ALIGN: usize = 8;

/// What stands at the head of a file: which generation it belongs to, its number there, and whether the file
/// before it was given up after a failed write (then that one's tail is torn, not damaged).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub generation: u64,
    pub number: u32,
    pub follows_failure: bool,
}

impl FileHeader {
    pub fn encode(self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0u8; FILE_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.number.to_le_bytes());
        bytes[20] = self.follows_failure.into();
        let sum = xxh3_64_with_seed(&bytes[..24], 0);
        bytes[24..32].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<FileHeader> {
        let bytes: &[u8; FILE_HEADER_BYTES] = bytes.get(..FILE_HEADER_BYTES)?.try_into().ok()?;
        if bytes[0..8] != FILE_MAGIC || u64_at(bytes, 24) != xxh3_64_with_seed(&bytes[..24], 0) {
            return None;
        }
        Some(FileHeader {
            generation: u64_at(bytes, 8),
            number: u32_at(bytes, 16),
            follows_failure: bytes[20] != 0,
        })
    }
}

/// What a frame says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Orders everything ever written: where two frames disagree about a sample, the higher number wins.
    pub seq: u64,
    pub signal: u8,
    pub shard: u16,
}

pub(super) struct RawHeader {
    pub header: FrameHeader,
    pub payload_len: usize,
    pub payload_sum: u64,
}

impl RawHeader {
    /// `None` unless these bytes are a header that its own checksum vouches for.
    pub fn decode(bytes: &[u8], generation: u64) -> Option<RawHeader> {
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.get(..FRAME_HEADER_BYTES)?.try_into().ok()?;
        if u32_at(bytes, 0) != FRAME_MAGIC || u32_at(bytes, 28) != header_sum(bytes, generation) {
            return None;
        }
        Some(RawHeader {
            header: FrameHeader {
                seq: u64_at(bytes, 8),
                signal: bytes[24],
                shard: u16::from_le_bytes([bytes[26], bytes[27]]),
            },
            payload_len: u32_at(bytes, 4) as usize,
            payload_sum: u64_at(bytes, 16),
        })
    }
}

fn header_sum(bytes: &[u8; FRAME_HEADER_BYTES], generation: u64) -> u32 {
    xxh3_64_with_seed(&bytes[..28], generation) as u32
}

pub(super) fn payload_sum(payload: &[u8], generation: u64) -> u64 {
    xxh3_64_with_seed(payload, generation)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// A frame under construction: room for the header, then the payload as its signal writes it.
pub struct FrameBuffer(Vec<u8>);

impl FrameBuffer {
    pub fn new() -> FrameBuffer {
        FrameBuffer::with_capacity(0)
    }

    /// With room for so many bytes of payload.
    pub fn with_capacity(payload_bytes: usize) -> FrameBuffer {
        let frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload_bytes.next_multiple_of(FRAME_ALIGN));
        FrameBuffer::reusing(frame)
    }

    /// In memory that held another frame.
    pub fn reusing(mut memory: Vec<u8>) -> FrameBuffer {
        memory.clear();
        memory.resize(FRAME_HEADER_BYTES, 0);
        FrameBuffer(memory)
    }

    /// Bytes of payload so far.
    pub fn len(&self) -> usize {
        self.0.len() - FRAME_HEADER_BYTES
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload is appended here.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Fills in the header. The checksums are bound to the generation, so that a frame can never be taken for
    /// one of another.
    pub fn finish(mut self, header: FrameHeader, generation: u64) -> Vec<u8> {
        let payload_len = self.0.len() - FRAME_HEADER_BYTES;
        let sum = payload_sum(&self.0[FRAME_HEADER_BYTES..], generation);
        self.0.resize(self.0.len().next_multiple_of(FRAME_ALIGN), 0);
        let mut head = [0u8; FRAME_HEADER_BYTES];
        head[0..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        head[4..8].copy_from_slice(
            &u32::try_from(payload_len).expect("a batch is limited far below 4 GiB").to_le_bytes(),
        );
        head[8..16].copy_from_slice(&header.seq.to_le_bytes());
        head[16..24].copy_from_slice(&sum.to_le_bytes());
        head[24] = header.signal;
        head[26..28].copy_from_slice(&header.shard.to_le_bytes());
        let sum = header_sum(&head, generation);
        head[28..32].copy_from_slice(&sum.to_le_bytes());
        self.0[..FRAME_HEADER_BYTES].copy_from_slice(&head);
        self.0
    }
}

impl Default for FrameBuffer {
    fn default() -> FrameBuffer {
        FrameBuffer::new()
    }
}
