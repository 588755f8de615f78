//! The native histogram of remote write; the two versions write it alike.

use crate::model::histogram::{ResetHint, Span};
use crate::model::{Histogram, Timestamp};

use super::super::admission::{Reason, Rejection};
use super::super::protobuf::{Field, Message, WireError, zigzag};

use super::Starts;

pub(super) struct WireHistogram {
    pub timestamp: Timestamp,
    /// 0 where none was told.
    pub start: Timestamp,
    pub histogram: Result<Box<Histogram>, Rejection>,
}

/// One half of the buckets as it is sent.
struct WireBuckets {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// Reads a histogram; one with more than `buckets_max` buckets, spans or bounds is read no further into memory.
pub(super) fn decode(
    mut message: Message<'_>,
    starts: Starts,
    buckets_max: usize,
) -> Result<WireHistogram, WireError> {
    let mut histogram = Box::<Histogram>::default();
    let (mut timestamp, mut start) = (0, 0);
    let mut is_float = false;
    let mut positive = WireBuckets::new();
    let mut negative = WireBuckets::new();
    let mut room = Room { left: buckets_max };
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => (histogram.count, is_float) = (field.varint()? as f64, false),
            2 => (histogram.count, is_float) = (field.double()?, true),
            3 => histogram.sum = field.double()?,
            4 => histogram.schema = field.zigzag32()?,
            5 => histogram.zero_threshold = field.double()?,
            6 => histogram.zero_count = field.varint()? as f64,
            7 => histogram.zero_count = field.double()?,
            8 => negative.push_span(&field, buckets_max)?,
            9 => negative.push_deltas(&field, &mut room)?,
            10 => negative.push_counts(&field, &mut room)?,
            11 => positive.push_span(&field, buckets_max)?,
            12 => positive.push_deltas(&field, &mut room)?,
            13 => positive.push_counts(&field, &mut room)?,
            14 => histogram.hint = reset_hint(field.varint()?),
            15 => timestamp = field.varint()? as i64,
            16 => field.each_double(|bound| {
                if histogram.custom_bounds.len() <= buckets_max {
                    histogram.custom_bounds.push(bound);
                }
            })?,
            number if number == starts.of_histogram => start = field.varint()? as i64,
            _ => {}
        }
    }
    let lists = [positive.spans.len(), negative.spans.len(), histogram.custom_bounds.len()];
    histogram.is_integer = !is_float;
    let result = if room.left == usize::MAX || lists.into_iter().any(|len| len > buckets_max) {
        let message =
            format!("histogram has more than {buckets_max} buckets (--limits.max-histogram-buckets)");
        Err(Rejection::new(Reason::HistogramBuckets, message))
    } else {
        positive.counts(is_float).and_then(|counts| {
            (histogram.positive_buckets, histogram.negative_buckets) = (counts, negative.counts(is_float)?);
            (histogram.positive_spans, histogram.negative_spans) = (positive.spans, negative.spans);
            Ok(histogram)
        })
    };
    Ok(WireHistogram { timestamp, start, histogram: result })
}

/// How many more buckets are taken; `usize::MAX` once there were too many.
struct Room {
    left: usize,
}

impl Room {
    fn take(&mut self) -> bool {
        self.left = if self.left == usize::MAX { usize::MAX } else { self.left.wrapping_sub(1) };
        self.left != usize::MAX
    }
}

impl WireBuckets {
    fn new() -> WireBuckets {
        WireBuckets { spans: Vec::new(), deltas: Vec::new(), counts: Vec::new() }
    }

    fn push_span(&mut self, field: &Field<'_>, spans_max: usize) -> Result<(), WireError> {
        let mut message = field.message()?;
        let mut span = Span { offset: 0, length: 0 };
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => span.offset = field.zigzag32()?,
                2 => span.length = field.varint()? as u32,
                _ => {}
            }
        }
        if self.spans.len() <= spans_max {
            self.spans.push(span);
        }
        Ok(())
    }

    fn push_deltas(&mut self, field: &Field<'_>, room: &mut Room) -> Result<(), WireError> {
        field.each_varint(|delta| {
            if room.take() {
                self.deltas.push(zigzag(delta));
            }
        })
    }

    fn push_counts(&mut self, field: &Field<'_>, room: &mut Room) -> Result<(), WireError> {
        field.each_double(|count| {
            if room.take() {
                self.counts.push(count);
            }
        })
    }

    /// The absolute counts; integers are sent as differences from bucket to bucket.
    fn counts(&mut self, is_float: bool) -> Result<Vec<f64>, Rejection> {
        if is_float {
            return Ok(std::mem::take(&mut self.counts));
        }
        let mut counts = Vec::with_capacity(self.deltas.len());
        let mut count = 0i64;
        for &delta in &self.deltas {
            count = count.checked_add(delta).filter(|&count| count >= 0).ok_or_else(|| {
                Rejection::new(Reason::HistogramInvalid, "invalid histogram: a bucket count below zero")
            })?;
            counts.push(count as f64);
        }
        Ok(counts)
    }
}

fn reset_hint(number: u64) -> ResetHint {
    match number {
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        3 => ResetHint::Gauge,
        _ => ResetHint::Unknown,
    }
}
