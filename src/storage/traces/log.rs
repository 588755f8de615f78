//! What traces write into a frame of the log (`storage-format.md` §2.3), and read back.
//!
//! A payload is a run of blocks. Origins are declared once for each shard and generation, before the first span that
//! has them; spans are their OTLP bytes.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::SpanRows;
use super::head::SpanHead;
use super::span::{Origin, nanos};
use super::view::SpanView;
use crate::codec::varint::{read_u64, write_u64};
use crate::codec::{Malformed, take, take_count, take_u8};

mod tag {
    pub const ORIGINS: u8 = 1;
    pub const SPANS: u8 = 2;
    pub const COMPRESSED_SPANS: u8 = 3;
}

/// Below this there is little to find twice.
const COMPRESSED_BYTES_MIN: usize = 256;
/// What a block of spans may unpack to: more than any request may hold.
const SPANS_BYTES_MAX: usize = 1 << 30;
/// LZ4 makes at most 255 bytes of one.
const LZ4_RATIO_MAX: usize = 255;

pub(super) fn write_origins(origins: &[(u32, Arc<[u8]>)], to: &mut Vec<u8>) {
    if origins.is_empty() {
        return;
    }
    to.push(tag::ORIGINS);
    write_u64(to, origins.len() as u64);
    for (number, encoded) in origins {
        write_u64(to, u64::from(*number));
        put_bytes(to, encoded);
    }
}

/// `origins` says the number of each of the rows' origins.
pub(super) fn write_spans(rows: &SpanRows, origins: &[u32], to: &mut Vec<u8>) {
    let mut content = Vec::new();
    for row in &rows.spans {
        write_u64(&mut content, u64::from(origins[row.origin as usize]));
        put_bytes(&mut content, rows.encoded(row));
    }
    if content.len() < COMPRESSED_BYTES_MIN {
        to.push(tag::SPANS);
        put_bytes(to, &content);
        return;
    }
    to.push(tag::COMPRESSED_SPANS);
    write_u64(to, content.len() as u64);
    put_bytes(to, &lz4_flex::block::compress(&content));
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    write_u64(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = take_count(from, from.len())?;
    take(from, len)
}

/// Puts the spans of one generation's log into its heads. Shards may have been more or fewer when it was written.
#[derive(Default)]
pub struct TracesReplay {
    /// Origins by the shard that declared them, and its number for them.
    declared: HashMap<(u16, u64), Arc<[u8]>, RandomState>,
    /// Numbers of origins in each head.
    known: HashMap<(usize, Arc<[u8]>), u32, RandomState>,
}

/// One span as it was logged.
struct LoggedSpan<'a> {
    origin: Arc<[u8]>,
    encoded: &'a [u8],
    view: SpanView<'a>,
}

impl TracesReplay {
    pub fn new() -> TracesReplay {
        TracesReplay::default()
    }

    /// Takes in a frame of the shard that had this number: all of it, or nothing but its origins. The spans go to the
    /// head that `shard` falls to now.
    pub fn frame(
        &mut self,
        shard: u16,
        mut payload: &[u8],
        heads: &[Arc<SpanHead>],
    ) -> Result<(), Malformed> {
        let index = usize::from(shard) % heads.len();
        let mut unpacked = Vec::new();
        let mut blocks = Vec::new();
        while !payload.is_empty() {
            match take_u8(&mut payload)? {
                tag::ORIGINS => self.declare(shard, &mut payload)?,
                tag::SPANS => blocks.push(take_bytes(&mut payload)?.to_vec()),
                tag::COMPRESSED_SPANS => blocks.push(unpack(&mut payload)?),
                _ => return Err(Malformed("unknown block of traces")),
            }
        }
        for block in &blocks {
            self.read_spans(shard, block, &mut unpacked)?;
        }
        let head = &heads[index];
        let mut rows = SpanRows::default();
        let mut numbers = Vec::new();
        let mut at = HashMap::<Arc<[u8]>, u32, RandomState>::default();
        for LoggedSpan { origin, encoded, view } in unpacked {
            let in_rows = *at.entry(origin.clone()).or_insert_with(|| {
                let known = self.known.entry((index, origin.clone()));
                numbers.push(*known.or_insert_with(|| head.add_origin(&origin)));
                numbers.len() as u32 - 1
            });
            rows.push(view.trace_id, in_rows, nanos(view.start), nanos(view.end), encoded);
        }
        head.append(&rows, &numbers);
        Ok(())
    }

    fn declare(&mut self, shard: u16, from: &mut &[u8]) -> Result<(), Malformed> {
        for _ in 0..take_count(from, from.len())? {
            let number = read_u64(from)?;
            let encoded = take_bytes(from)?;
            Origin::decode(encoded)?;
            self.declared.insert((shard, number), encoded.into());
        }
        Ok(())
    }

    fn read_spans<'a>(
        &self,
        shard: u16,
        mut block: &'a [u8],
        to: &mut Vec<LoggedSpan<'a>>,
    ) -> Result<(), Malformed> {
        while !block.is_empty() {
            let number = read_u64(&mut block)?;
            let origin = self.declared.get(&(shard, number));
            let origin = origin.ok_or(Malformed("a span of an origin that was not declared"))?.clone();
            let encoded = take_bytes(&mut block)?;
            to.push(LoggedSpan { origin, encoded, view: SpanView::parse(encoded)? });
        }
        Ok(())
    }
}

fn unpack(from: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let len = take_count(from, SPANS_BYTES_MAX)?;
    let packed = take_bytes(from)?;
    if len > packed.len().saturating_mul(LZ4_RATIO_MAX) {
        return Err(Malformed("compressed spans are too short for what they promise"));
    }
    match lz4_flex::block::decompress(packed, len) {
        Ok(content) if content.len() == len => Ok(content),
        _ => Err(Malformed("compressed spans are broken")),
    }
}
