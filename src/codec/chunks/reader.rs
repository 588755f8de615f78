//! Reads chunks as Prometheus does, from whoever wrote them: one sample at a time, so that what a chunk claims to hold
//! takes no memory before it is there.

use super::Encoding;
use crate::codec::bits::BitReader;
use crate::codec::{Malformed, varint};
use crate::model::histogram::{ResetHint, Span};
use crate::model::{Histogram, Timestamp};

/// Every histogram of a chunk repeats the spans, which would cost a chunk that lies nothing.
const SPANS_MAX: u64 = 1 << 14;

/// A value of a chunk.
#[derive(Clone, Debug)]
pub enum ChunkValue {
    Float(f64),
    /// Hints are told as far as the chunk does: those of gauges, and a reset at its begin.
    Histogram(Box<Histogram>),
}

/// The samples of one chunk, in its order.
pub struct ChunkReader<'a> {
    bits: Bits<'a>,
    /// Samples to come.
    left: u64,
    columns: Columns,
}

enum Columns {
    /// Nothing was read yet.
    Begin(Encoding),
    Floats {
        time: Integer,
        value: Double,
        is_second: bool,
    },
    Integers {
        layout: Histogram,
        totals: [Integer; 3],
        sum: Double,
        buckets: Vec<Integer>,
    },
    Doubles {
        layout: Histogram,
        time: Integer,
        columns: Vec<Double>,
    },
}

impl<'a> ChunkReader<'a> {
    pub fn new(encoding: Encoding, data: &'a [u8]) -> Result<ChunkReader<'a>, Malformed> {
        let mut bits = Bits(BitReader::new(data));
        let left = bits.bits(16)?;
        Ok(ChunkReader { bits, left, columns: Columns::Begin(encoding) })
    }

    /// `None` after the last sample.
    pub fn next_sample(&mut self) -> Result<Option<(Timestamp, ChunkValue)>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match self.columns {
            Columns::Begin(encoding) => self.columns = Columns::begin(encoding, &mut self.bits)?,
            _ => self.columns.advance(&mut self.bits)?,
        }
        Ok(Some(self.columns.value()))
    }
}

impl Columns {
    fn begin(encoding: Encoding, bits: &mut Bits<'_>) -> Result<Columns, Malformed> {
        match encoding {
            Encoding::Xor => {
                let time = Integer::begin(varint::unzigzag(bits.varint()?));
                Ok(Columns::Floats { time, value: Double::begin(bits)?, is_second: true })
            }
            Encoding::Histogram => {
                let layout = bits.layout(true)?;
                let totals = [bits.int()?, bits.uint()? as i64, bits.uint()? as i64].map(Integer::begin);
                let sum = Double::begin(bits)?;
                let buckets = (0..bucket_count(&layout)).map(|_| Ok(Integer::begin(bits.int()?)));
                let buckets = collect(buckets)?;
                Ok(Columns::Integers { layout, totals, sum, buckets })
            }
            Encoding::FloatHistogram => {
                let layout = bits.layout(false)?;
                let time = Integer::begin(bits.int()?);
                // Count, zero count and sum come before the buckets.
                let columns = (0..3 + bucket_count(&layout)).map(|_| Double::begin(bits));
                let columns = collect(columns)?;
                Ok(Columns::Doubles { layout, time, columns })
            }
        }
    }

    fn advance(&mut self, bits: &mut Bits<'_>) -> Result<(), Malformed> {
        match self {
            Columns::Begin(_) => unreachable!("a chunk is begun before it goes on"),
            Columns::Floats { time, value, is_second } => {
                if std::mem::take(is_second) {
                    time.push_delta(bits.varint()? as i64);
                } else {
                    time.push(bits.int_in(&super::floats::TIME_WIDTHS)?);
                }
                value.push(bits)
            }
            Columns::Integers { layout, totals, sum, buckets } => {
                layout.hint = going_on(layout.hint);
                push_all(totals, bits)?;
                sum.push(bits)?;
                push_all(buckets, bits)
            }
            Columns::Doubles { layout, time, columns } => {
                layout.hint = going_on(layout.hint);
                time.push(bits.int()?);
                columns.iter_mut().try_for_each(|column| column.push(bits))
            }
        }
    }

    fn value(&self) -> (Timestamp, ChunkValue) {
        match self {
            Columns::Begin(_) => unreachable!("a chunk is begun before it has a value"),
            Columns::Floats { time, value, .. } => (time.value, ChunkValue::Float(value.value)),
            Columns::Integers { layout, totals: [time, count, zero_count], sum, buckets } => {
                let (positive, negative) = buckets.split_at(span_buckets(&layout.positive_spans));
                let histogram = Histogram {
                    count: count.value as f64,
                    zero_count: zero_count.value as f64,
                    sum: sum.value,
                    positive_buckets: running_totals(positive),
                    negative_buckets: running_totals(negative),
                    ..layout.clone()
                };
                (time.value, ChunkValue::Histogram(Box::new(histogram)))
            }
            Columns::Doubles { layout, time, columns } => {
                let values: Vec<f64> = columns.iter().map(|column| column.value).collect();
                let (positive, negative) = values[3..].split_at(span_buckets(&layout.positive_spans));
                let histogram = Histogram {
                    count: values[0],
                    zero_count: values[1],
                    sum: values[2],
                    positive_buckets: positive.to_vec(),
                    negative_buckets: negative.to_vec(),
                    ..layout.clone()
                };
                (time.value, ChunkValue::Histogram(Box::new(histogram)))
            }
        }
    }
}

/// What is known of a histogram that follows another in its chunk: what is reset begins a chunk.
fn going_on(hint: ResetHint) -> ResetHint {
    if hint == ResetHint::Gauge { ResetHint::Gauge } else { ResetHint::Unknown }
}

/// Grows as there are bits, whatever was claimed.
fn collect<T>(values: impl Iterator<Item = Result<T, Malformed>>) -> Result<Vec<T>, Malformed> {
    let mut all = Vec::new();
    for value in values {
        all.push(value?);
    }
    Ok(all)
}

fn span_buckets(spans: &[Span]) -> usize {
    spans.iter().map(|span| span.length as usize).sum()
}

fn bucket_count(layout: &Histogram) -> usize {
    span_buckets(&layout.positive_spans) + span_buckets(&layout.negative_spans)
}

/// Counts from their differences to the neighbours.
fn running_totals(columns: &[Integer]) -> Vec<f64> {
    let totals = columns.iter().scan(0i64, |total, column| {
        *total = total.wrapping_add(column.value);
        Some(*total as f64)
    });
    totals.collect()
}

/// A column of integers, told by the differences of their differences.
#[derive(Clone, Copy)]
struct Integer {
    value: i64,
    delta: i64,
}

impl Integer {
    fn begin(value: i64) -> Integer {
        Integer { value, delta: 0 }
    }

    fn push(&mut self, change: i64) {
        self.push_delta(self.delta.wrapping_add(change));
    }

    fn push_delta(&mut self, delta: i64) {
        self.delta = delta;
        self.value = self.value.wrapping_add(delta);
    }
}

fn push_all(columns: &mut [Integer], bits: &mut Bits<'_>) -> Result<(), Malformed> {
    for column in columns {
        column.push(bits.int()?);
    }
    Ok(())
}

/// A column of doubles, told by the bits that differ.
#[derive(Clone, Copy)]
struct Double {
    value: f64,
    /// Zeros before and after the bits that differ.
    window: (u32, u32),
}

impl Double {
    fn begin(bits: &mut Bits<'_>) -> Result<Double, Malformed> {
        Ok(Double { value: bits.double()?, window: (0, 0) })
    }

    fn push(&mut self, bits: &mut Bits<'_>) -> Result<(), Malformed> {
        if bits.bits(1)? == 0 {
            return Ok(());
        }
        if bits.bits(1)? == 1 {
            let leading = bits.bits(5)? as u32;
            // Six bits tell the width; none is 0, so that stands for 64.
            let width = match bits.bits(6)? as u32 {
                0 => 64,
                width => width,
            };
            let trailing =
                64u32.checked_sub(leading + width).ok_or(Malformed("a double has more than 64 bits"))?;
            self.window = (leading, trailing);
        }
        let (leading, trailing) = self.window;
        let difference = bits.bits(64 - leading - trailing)? << trailing;
        self.value = f64::from_bits(self.value.to_bits() ^ difference);
        Ok(())
    }
}

struct Bits<'a>(BitReader<'a>);

impl Bits<'_> {
    fn bits(&mut self, count: u32) -> Result<u64, Malformed> {
        self.0.read(count)
    }

    fn double(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_bits(self.bits(64)?))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let (mut bytes, mut len) = ([0; varint::LEN_MAX], 0);
        for byte in &mut bytes {
            *byte = self.bits(8)? as u8;
            len += 1;
            if *byte & 0x80 == 0 {
                break;
            }
        }
        Ok(varint::read_u64(&mut &bytes[..len])?)
    }

    /// The ones before a zero, `max` at most.
    fn ones(&mut self, max: usize) -> Result<usize, Malformed> {
        for ones in 0..max {
            if self.bits(1)? == 0 {
                return Ok(ones);
            }
        }
        Ok(max)
    }

    fn int_in(&mut self, widths: &[u32]) -> Result<i64, Malformed> {
        let ones = self.ones(widths.len() + 1)?;
        if ones == 0 || ones > widths.len() {
            return if ones == 0 { Ok(0) } else { Ok(self.bits(64)? as i64) };
        }
        let width = widths[ones - 1];
        let value = self.bits(width)? as i64;
        // A width holds one value more above zero than below.
        Ok(if value > 1 << (width - 1) { value - (1 << width) } else { value })
    }

    fn int(&mut self) -> Result<i64, Malformed> {
        self.int_in(&super::VARBIT_WIDTHS)
    }

    fn uint(&mut self) -> Result<u64, Malformed> {
        let widths = &super::VARBIT_WIDTHS;
        match self.ones(widths.len() + 1)? {
            0 => Ok(0),
            ones if ones > widths.len() => self.bits(64),
            ones => self.bits(widths[ones - 1]),
        }
    }

    /// Everything but the counts of a chunk's histograms, and what is known of the first.
    fn layout(&mut self, is_integer: bool) -> Result<Histogram, Malformed> {
        let hint = match self.bits(8)? & super::histograms::GAUGE {
            super::histograms::GAUGE => ResetHint::Gauge,
            super::histograms::RESET => ResetHint::Reset,
            _ => ResetHint::Unknown,
        };
        let zero_threshold = match self.bits(8)? {
            0 => 0.0,
            255 => self.double()?,
            byte => 2f64.powi(byte as i32 - 244),
        };
        let schema = i32::try_from(self.int()?).map_err(|_| Malformed("a schema beyond 32 bits"))?;
        let (positive_spans, negative_spans) = (self.spans()?, self.spans()?);
        let mut layout = Histogram {
            hint,
            schema,
            zero_threshold,
            positive_spans,
            negative_spans,
            is_integer,
            ..Histogram::default()
        };
        if layout.has_custom_buckets() {
            let bounds = self.uint()?;
            layout.custom_bounds = collect((0..bounds).map(|_| self.bound()))?;
        }
        Ok(layout)
    }

    fn spans(&mut self) -> Result<Vec<Span>, Malformed> {
        let count = self.uint()?;
        if count > SPANS_MAX {
            return Err(Malformed("more spans than a histogram can need"));
        }
        collect((0..count).map(|_| {
            let length = u32::try_from(self.uint()?).map_err(|_| Malformed("a span beyond 32 bits"))?;
            let offset = i32::try_from(self.int()?).map_err(|_| Malformed("an offset beyond 32 bits"))?;
            Ok(Span { offset, length })
        }))
    }

    fn bound(&mut self) -> Result<f64, Malformed> {
        Ok(match self.uint()? {
            0 => self.double()?,
            thousandths => (thousandths - 1) as f64 / 1_000.0,
        })
    }
}

#[cfg(test)]
pub mod testing {
    //! Whole chunks, for those who write them.

    use super::*;

    pub fn floats(data: &[u8]) -> Vec<(Timestamp, f64)> {
        let float = |(timestamp, value)| match value {
            ChunkValue::Float(value) => (timestamp, value),
            ChunkValue::Histogram(_) => panic!("a chunk of floats has a histogram"),
        };
        all(Encoding::Xor, data).unwrap().into_iter().map(float).collect()
    }

    pub fn histograms(data: &[u8], encoding: Encoding) -> Vec<(Timestamp, Histogram)> {
        let histogram = |(timestamp, value)| match value {
            ChunkValue::Histogram(histogram) => (timestamp, *histogram),
            ChunkValue::Float(_) => panic!("a chunk of histograms has a float"),
        };
        all(encoding, data).unwrap().into_iter().map(histogram).collect()
    }

    pub fn all(encoding: Encoding, data: &[u8]) -> Result<Vec<(Timestamp, ChunkValue)>, Malformed> {
        let mut reader = ChunkReader::new(encoding, data)?;
        let mut samples = Vec::new();
        while let Some(sample) = reader.next_sample()? {
            samples.push(sample);
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chunk_that_claims_much_and_holds_little_is_malformed() {
        // 65,535 samples; a layout of one span with 2^32 - 1 buckets.
        let mut bits = crate::codec::bits::BitWriter::default();
        bits.write(0xffff, 16);
        bits.write(0, 8 + 8 + 1);
        super::super::put_uint(&mut bits, 1);
        super::super::put_uint(&mut bits, u32::MAX.into());
        bits.write(0, 64);
        assert!(testing::all(Encoding::Histogram, &bits.finish()).is_err());
        assert!(testing::all(Encoding::Xor, &[0xff, 0xff]).is_err());
        assert!(testing::all(Encoding::Xor, &[0, 0]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            for encoding in [Encoding::Xor, Encoding::Histogram, Encoding::FloatHistogram] {
                let mut bytes = bytes.clone();
                // Few samples claimed and few flags set, so that some of it can be read.
                bytes.iter_mut().take(1).for_each(|byte| *byte = 0);
                bytes.truncate(cut.max(1));
                let _ = testing::all(encoding, &bytes);
            }
        }
    }
}
