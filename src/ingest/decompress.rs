//! From a body as it came to its plain bytes, in a buffer that is used again.
//!
//! No body makes us allocate more than [`Options::decoded_bytes_max`](super::Options): snappy declares its size,
//! which is checked first; the streaming formats are read into a buffer that never grows beyond the limit.

use std::io::Read;
use std::ops::Deref;

use crossbeam::queue::ArrayQueue;

use super::{Encoding, IngestError};

// Each is kept at its largest: 16 × 4 MiB = 64 MiB at most lie idle.
const BUFFERS_KEPT_MAX: usize = 16;
const BUFFER_KEPT_BYTES_MAX: usize = 4 << 20;

// zstd's window for a frame is declared by the sender; 2^23 = 8 MiB is what every level up to 19 needs.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Idle buffers, shared by all receivers. When it is full, a returned buffer is freed.
pub(super) struct BufferPool {
    idle: ArrayQueue<Vec<u8>>,
}

/// The plain bytes of a body.
pub(super) enum Decoded<'a> {
    AsItCame(&'a [u8]),
    /// The first `len` bytes of `buffer`; the rest is what earlier bodies left, so that nothing is zeroed twice.
    Pooled {
        pool: &'a BufferPool,
        buffer: Vec<u8>,
        len: usize,
    },
}

impl Deref for Decoded<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Decoded::AsItCame(body) => body,
            Decoded::Pooled { buffer, len, .. } => &buffer[..*len],
        }
    }
}

impl Drop for Decoded<'_> {
    fn drop(&mut self) {
        if let Decoded::Pooled { pool, buffer, .. } = self
            && buffer.len() <= BUFFER_KEPT_BYTES_MAX
        {
            // A full pool hands the buffer back, and it is freed.
            let _ = pool.idle.push(std::mem::take(buffer));
        }
    }
}

impl BufferPool {
    pub fn new() -> BufferPool {
        BufferPool { idle: ArrayQueue::new(BUFFERS_KEPT_MAX) }
    }

    pub fn decompress<'a>(
        &'a self,
        body: &'a [u8],
        encoding: Encoding,
        bytes_max: usize,
    ) -> Result<Decoded<'a>, IngestError> {
        match encoding {
            Encoding::Identity => {
                if body.len() > bytes_max {
                    return Err(IngestError::TooLarge { size: body.len() as u64, max: bytes_max as u64 });
                }
                Ok(Decoded::AsItCame(body))
            }
            Encoding::Snappy => self.snappy(body, bytes_max),
            Encoding::Gzip => self.stream("gzip", flate2::read::MultiGzDecoder::new(body), body, bytes_max),
            Encoding::Deflate => {
                self.stream("deflate", flate2::read::ZlibDecoder::new(body), body, bytes_max)
            }
            Encoding::Zstd => {
                let malformed = |e: std::io::Error| malformed("zstd", body.len(), e.to_string());
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(malformed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(malformed)?;
                self.stream("zstd", decoder, body, bytes_max)
            }
        }
    }

    fn snappy<'a>(&'a self, body: &[u8], bytes_max: usize) -> Result<Decoded<'a>, IngestError> {
        const FORMAT: &str = "snappy block";
        let size = match snap::raw::decompress_len(body) {
            Ok(size) => size as u64,
            Err(snap::Error::TooBig { given, .. }) => given,
            Err(e) => return Err(malformed(FORMAT, 0, e.to_string())),
        };
        if size > bytes_max as u64 {
            return Err(IngestError::TooLarge { size, max: bytes_max as u64 });
        }
        // snappy's densest element copies 64 bytes in 3, so a longer text is a lie not worth its memory.
        if size > 32 * body.len() as u64 {
            let reason = format!("{size} bytes declared, which {} cannot hold", body.len());
            return Err(malformed(FORMAT, 0, reason));
        }
        let mut buffer = self.idle.pop().unwrap_or_default();
        let len = size as usize;
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let mut decoded = Decoded::Pooled { pool: self, buffer, len };
        let Decoded::Pooled { buffer, .. } = &mut decoded else { unreachable!("made two lines above") };
        match snap::raw::Decoder::new().decompress(body, &mut buffer[..len]) {
            Ok(_) => Ok(decoded),
            Err(e) => Err(malformed(FORMAT, snappy_offset(&e, body), e.to_string())),
        }
    }

    fn stream<'a>(
        &'a self,
        format: &'static str,
        decoder: impl Read,
        body: &[u8],
        bytes_max: usize,
    ) -> Result<Decoded<'a>, IngestError> {
        let mut buffer = self.idle.pop().unwrap_or_default();
        let read = read_up_to(decoder, &mut buffer, 4 * body.len(), bytes_max);
        let decoded = Decoded::Pooled { pool: self, buffer, len: *read.as_ref().unwrap_or(&0) };
        match read {
            Ok(len) if len <= bytes_max => Ok(decoded),
            Ok(_) => Err(IngestError::DecompressesTooFar { max: bytes_max as u64 }),
            Err(e) => Err(malformed(format, body.len(), e.to_string())),
        }
    }
}

/// Fills `buffer` from its start, until the source ends or more than `bytes_max` have come, and says how many came.
fn read_up_to(
    mut source: impl Read,
    buffer: &mut Vec<u8>,
    expected: usize,
    bytes_max: usize,
) -> std::io::Result<usize> {
    let mut len = 0;
    while len <= bytes_max {
        if len == buffer.len() {
            // One byte more than allowed, so that reading it tells "too much" from "just enough".
            buffer.resize((2 * len).max(expected).max(4096).min(bytes_max + 1), 0);
        }
        match source.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(len)
}

fn malformed(what: &'static str, offset: usize, reason: String) -> IngestError {
    IngestError::Malformed { what, offset, reason }
}

/// Where in the body snappy stumbled, as far as it says.
fn snappy_offset(error: &snap::Error, body: &[u8]) -> usize {
    match *error {
        snap::Error::Literal { src_len, .. } | snap::Error::CopyRead { src_len, .. } => {
            body.len().saturating_sub(src_len as usize)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const MAX: usize = 1 << 20;

    fn compress(plain: &[u8], encoding: Encoding) -> Vec<u8> {
        match encoding {
            Encoding::Identity => plain.to_vec(),
            Encoding::Snappy => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
            Encoding::Zstd => zstd::encode_all(plain, 3).unwrap(),
            Encoding::Gzip => {
                let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                to.write_all(plain).unwrap();
                to.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut to = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
                to.write_all(plain).unwrap();
                to.finish().unwrap()
            }
        }
    }

    const ALL: [Encoding; 5] =
        [Encoding::Identity, Encoding::Snappy, Encoding::Zstd, Encoding::Gzip, Encoding::Deflate];

    #[test]
    fn every_encoding_comes_back_up_to_the_limit_and_not_beyond() {
        let pool = BufferPool::new();
        for encoding in ALL {
            for len in [0, 1, 5000, MAX, 10] {
                let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
                let body = compress(&plain, encoding);
                assert_eq!(&*pool.decompress(&body, encoding, MAX).unwrap(), plain, "{encoding:?} {len}");
            }
            let body = compress(&vec![0; MAX + 1], encoding);
            assert!(pool.decompress(&body, encoding, MAX).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn a_declared_size_is_refused_before_anything_is_allocated() {
        let pool = BufferPool::new();
        let four_gib = [0x80, 0x80, 0x80, 0x80, 0x10, 0x00];
        let error = pool.decompress(&four_gib, Encoding::Snappy, 32 << 20).err().unwrap();
        assert_eq!(error.to_string(), "decoded size 4294967296 > 33554432 (--limits.max-decoded-bytes)");
        let sixteen_mib = [0x80, 0x80, 0x80, 0x08, 0x00];
        let error = pool.decompress(&sixteen_mib, Encoding::Snappy, 32 << 20).err().unwrap();
        assert!(error.to_string().contains("16777216 bytes declared, which 5 cannot hold"), "{error}");
        assert!(pool.idle.is_empty());
    }

    #[test]
    fn a_bomb_is_given_up_at_the_limit() {
        let pool = BufferPool::new();
        for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Deflate] {
            let bomb = compress(&vec![0; 40 << 20], encoding);
            let error = pool.decompress(&bomb, encoding, 32 << 20).err().unwrap();
            assert_eq!(error.to_string(), "decompressed more than 32 MiB (--limits.max-decoded-bytes)");
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_an_error() {
        let pool = BufferPool::new();
        let plain: Vec<u8> = (0..2000u32).flat_map(|i| i.to_le_bytes()).collect();
        for encoding in ALL.into_iter().skip(1) {
            let body = compress(&plain, encoding);
            for cut in 0..body.len() {
                if let Ok(decoded) = pool.decompress(&body[..cut], encoding, MAX) {
                    // A streaming format of which nothing came is an empty stream.
                    assert!(cut == 0 && decoded.is_empty(), "{encoding:?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_window_of_two_gib_is_refused() {
        // Magic, a frame header without single segment, and a window descriptor of exponent 21: 2^31 bytes.
        let body = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        let error = BufferPool::new().decompress(&body, Encoding::Zstd, MAX).err().unwrap();
        assert!(error.to_string().contains("invalid zstd"), "{error}");
    }

    #[test]
    fn a_returned_buffer_is_used_again() {
        let pool = BufferPool::new();
        drop(pool.decompress(&compress(&[1; 3000], Encoding::Snappy), Encoding::Snappy, MAX).unwrap());
        assert_eq!(pool.idle.len(), 1);
        let body = compress(&[2; 10], Encoding::Snappy);
        let again = pool.decompress(&body, Encoding::Snappy, MAX).unwrap();
        assert_eq!((&*again, pool.idle.len()), (&[2u8; 10][..], 0));
    }
}
