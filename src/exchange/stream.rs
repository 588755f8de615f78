//! The streamed answer of remote read: frames of chunks, each behind its length and its checksum.

use std::io::{self, BufRead, Read};

use prost::Message;

use crate::codec::Malformed;
use crate::codec::chunks::{ChunkReader, ChunkValue, Encoding};
use crate::codec::crc32c::crc32c;
use crate::model::{Labels, Timestamp};
use crate::wire::remote_read::{ChunkedReadResponse, ChunkedSeries};

/// A server ends a frame at a megabyte and a chunk.
const FRAME_BYTES_MAX: u64 = 64 << 20;

/// Why an answer could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the answer broke off: {0}")]
    Io(#[from] io::Error),
    #[error("the answer is damaged: {0}")]
    Malformed(String),
}

impl From<Malformed> for StreamError {
    fn from(error: Malformed) -> StreamError {
        StreamError::Malformed(error.to_string())
    }
}

/// A series, or a part of one that goes on in the next frame.
pub struct SeriesFrame {
    pub labels: Labels,
    /// In the order of time.
    pub samples: Vec<(Timestamp, ChunkValue)>,
}

/// Hands over all frames of an answer.
pub fn read_frames<E: From<StreamError>>(
    mut input: impl BufRead,
    mut take: impl FnMut(SeriesFrame) -> Result<(), E>,
) -> Result<(), E> {
    let mut bytes = Vec::new();
    while next_frame(&mut input, &mut bytes)? {
        let message = ChunkedReadResponse::decode(&bytes[..]);
        let message = message.map_err(|error| StreamError::Malformed(error.to_string()))?;
        for series in message.chunked_series {
            take(read_series(series)?)?;
        }
    }
    Ok(())
}

fn next_frame(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> Result<bool, StreamError> {
    if input.fill_buf()?.is_empty() {
        return Ok(false);
    }
    let len = read_varint(input)?;
    if len > FRAME_BYTES_MAX {
        return Err(StreamError::Malformed(format!("a frame of {len} bytes")));
    }
    let mut checksum = [0; 4];
    input.read_exact(&mut checksum)?;
    bytes.clear();
    // As much as comes, and not as much as is claimed.
    input.by_ref().take(len).read_to_end(bytes)?;
    if bytes.len() as u64 != len {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    if crc32c(bytes).to_be_bytes() != checksum {
        return Err(StreamError::Malformed("a checksum does not match".to_owned()));
    }
    Ok(true)
}

fn read_varint(input: &mut impl BufRead) -> Result<u64, StreamError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        value |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok(value);
        }
    }
    Err(StreamError::Malformed("a length beyond 64 bits".to_owned()))
}

fn read_series(series: ChunkedSeries) -> Result<SeriesFrame, StreamError> {
    let pairs = series.labels.iter().map(|label| (&label.name, &label.value));
    let labels = Labels::from_pairs(pairs).map_err(|error| StreamError::Malformed(error.to_string()))?;
    let mut samples = Vec::new();
    for chunk in &series.chunks {
        let encoding = match chunk.r#type {
            1 => Encoding::Xor,
            2 => Encoding::Histogram,
            3 => Encoding::FloatHistogram,
            other => return Err(StreamError::Malformed(format!("a chunk of encoding {other}"))),
        };
        let mut reader = ChunkReader::new(encoding, &chunk.data)?;
        while let Some(sample) = reader.next_sample()? {
            samples.push(sample);
        }
    }
    Ok(SeriesFrame { labels, samples })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::codec::chunks::Chunks;
    use crate::model::Histogram;
    use crate::wire::remote_read::Chunk;
    use crate::wire::remote_write_v1::Label;

    fn answer() -> Vec<u8> {
        let histogram =
            Arc::new(Histogram { count: 1.0, zero_count: 1.0, is_integer: true, ..Histogram::default() });
        let histograms = [histogram];
        let chunks = Chunks::new((&[1, 2], &[1.5, f64::NAN]), (&[3], &histograms));
        let chunks = chunks.map(|chunk| Chunk {
            min_time_ms: chunk.min_time,
            max_time_ms: chunk.max_time,
            r#type: chunk.encoding as i32,
            data: chunk.data,
        });
        let labels = vec![Label { name: "__name__".to_owned(), value: "up".to_owned() }];
        let series = ChunkedSeries { labels, chunks: chunks.collect() };
        let message = ChunkedReadResponse { chunked_series: vec![series], query_index: 0 }.encode_to_vec();
        let mut bytes = Vec::new();
        for _ in 0..2 {
            prost::encode_length_delimiter(message.len(), &mut bytes).unwrap();
            bytes.extend(crc32c(&message).to_be_bytes());
            bytes.extend(&message);
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<String>, StreamError> {
        let mut found = Vec::new();
        read_frames(bytes, |frame| {
            found.extend(frame.samples.iter().map(|(time, value)| {
                let value = match value {
                    ChunkValue::Float(value) => value.to_string(),
                    ChunkValue::Histogram(histogram) => format!("histogram of {}", histogram.count),
                };
                format!("{} {value}@{time}", frame.labels)
            }));
            Ok(())
        })
        .map(|()| found)
    }

    #[test]
    fn all_frames_are_read_with_all_their_samples() {
        let one = ["up 1.5@1", "up NaN@2", "up histogram of 1@3"];
        assert_eq!(read(&answer()).unwrap(), [one, one].concat());
        assert!(read(b"").unwrap().is_empty());
    }

    #[test]
    fn a_cut_answer_is_never_taken_for_a_whole_one() {
        let bytes = answer();
        for len in (1..bytes.len()).filter(|len| *len != bytes.len() / 2) {
            assert!(read(&bytes[..len]).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_noticed(at in 0usize..1_000, change in 1u8..=255) {
            let mut bytes = answer();
            let at = at % bytes.len();
            bytes[at] ^= change;
            prop_assert!(read(&bytes).is_err());
        }
    }
}
