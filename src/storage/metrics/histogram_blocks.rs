//! Blocks of native histograms, field by field, compressed: the codec that any histogram survives.

use std::sync::Arc;

use super::segment_layout::HISTOGRAM_BYTES_MAX;
use crate::codec::varint::{read_i64, read_u64, write_i64, write_u64};
use crate::codec::{Malformed, compressed, take, take_count, take_u8};
use crate::model::Histogram;
use crate::model::histogram::{ResetHint, Span};

const PLAIN: u8 = 1;

const HINTS: [ResetHint; 4] = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];

/// Appends codec and payload.
pub fn encode(histograms: &[Arc<Histogram>], out: &mut Vec<u8>) {
    let mut content = Vec::new();
    histograms.iter().for_each(|histogram| encode_one(histogram, &mut content));
    out.push(PLAIN);
    compressed::encode(&content, out);
}

/// Appends the `count` histograms that codec and payload in `bytes` stand for.
pub fn decode(mut bytes: &[u8], count: usize, out: &mut Vec<Arc<Histogram>>) -> Result<(), Malformed> {
    if take_u8(&mut bytes)? != PLAIN {
        return Err(Malformed("unknown codec of histograms"));
    }
    let content = compressed::decode(bytes, HISTOGRAM_BYTES_MAX)?;
    let mut rest = &content[..];
    for _ in 0..count {
        out.push(Arc::new(decode_one(&mut rest)?));
    }
    if rest.is_empty() { Ok(()) } else { Err(Malformed("bytes after the histograms")) }
}

fn encode_one(h: &Histogram, out: &mut Vec<u8>) {
    let hint = HINTS.iter().position(|hint| *hint == h.hint).expect("every hint has a number") as u8;
    out.push(hint | u8::from(h.is_integer) << 7);
    write_i64(out, i64::from(h.schema));
    for value in [h.zero_threshold, h.zero_count, h.count, h.sum] {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
    for spans in [&h.positive_spans, &h.negative_spans] {
        write_u64(out, spans.len() as u64);
        for span in spans {
            write_i64(out, i64::from(span.offset));
            write_u64(out, u64::from(span.length));
        }
    }
    for values in [&h.positive_buckets, &h.negative_buckets, &h.custom_bounds] {
        write_u64(out, values.len() as u64);
        values.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
    }
}

fn decode_one(bytes: &mut &[u8]) -> Result<Histogram, Malformed> {
    let head = take_u8(bytes)?;
    let hint = *HINTS.get(usize::from(head & 0x7f)).ok_or(Malformed("unknown hint of a histogram"))?;
    let schema =
        i32::try_from(read_i64(bytes)?).map_err(|_| Malformed("a histogram's schema is too large"))?;
    let [zero_threshold, zero_count, count, sum] = [(); 4].map(|()| take_float(bytes));
    Ok(Histogram {
        hint,
        schema,
        zero_threshold: zero_threshold?,
        zero_count: zero_count?,
        count: count?,
        sum: sum?,
        positive_spans: take_spans(bytes)?,
        negative_spans: take_spans(bytes)?,
        positive_buckets: take_floats(bytes)?,
        negative_buckets: take_floats(bytes)?,
        custom_bounds: take_floats(bytes)?,
        is_integer: head & 0x80 != 0,
    })
}

fn take_float(bytes: &mut &[u8]) -> Result<f64, Malformed> {
    Ok(f64::from_le_bytes(take(bytes, 8)?.try_into().expect("eight bytes")))
}

fn take_floats(bytes: &mut &[u8]) -> Result<Vec<f64>, Malformed> {
    let count = take_count(bytes, bytes.len() / 8)?;
    (0..count).map(|_| take_float(bytes)).collect()
}

fn take_spans(bytes: &mut &[u8]) -> Result<Vec<Span>, Malformed> {
    let count = take_count(bytes, bytes.len() / 2)?;
    let too_large = |_| Malformed("a span is too large");
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = i32::try_from(read_i64(bytes)?).map_err(too_large)?;
        let length = u32::try_from(read_u64(bytes)?).map_err(too_large)?;
        spans.push(Span { offset, length });
    }
    Ok(spans)
}
