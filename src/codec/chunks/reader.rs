//! Reads chunks as Prometheus does, for the tests: what comes back is what a reader sees.

use crate::codec::bits::BitReader;
use crate::codec::varint;
use crate::model::histogram::{ResetHint, Span};
use crate::model::{Histogram, Timestamp};

struct Reader<'a>(BitReader<'a>);

impl Reader<'_> {
    fn bits(&mut self, count: u32) -> u64 {
        self.0.read(count).unwrap()
    }

    fn double(&mut self) -> f64 {
        f64::from_bits(self.bits(64))
    }

    fn varint(&mut self) -> u64 {
        let mut bytes = Vec::new();
        while bytes.last().is_none_or(|byte| byte & 0x80 != 0) {
            bytes.push(self.bits(8) as u8);
        }
        varint::read_u64(&mut &bytes[..]).unwrap()
    }

    /// The ones before a zero, `max` at most.
    fn ones(&mut self, max: usize) -> usize {
        (0..max).take_while(|_| self.bits(1) == 1).count()
    }

    fn int_in(&mut self, widths: &[u32]) -> i64 {
        let ones = self.ones(widths.len() + 1);
        if ones == 0 || ones > widths.len() {
            return if ones == 0 { 0 } else { self.bits(64) as i64 };
        }
        let width = widths[ones - 1];
        let value = self.bits(width) as i64;
        if value > 1 << (width - 1) { value - (1 << width) } else { value }
    }

    fn int(&mut self) -> i64 {
        self.int_in(&[3, 6, 9, 12, 18, 25, 56])
    }

    fn uint(&mut self) -> u64 {
        match self.ones(8) {
            0 => 0,
            8 => self.bits(64),
            ones => self.bits([3, 6, 9, 12, 18, 25, 56][ones - 1]),
        }
    }

    fn spans(&mut self) -> Vec<Span> {
        let count = self.uint();
        (0..count)
            .map(|_| {
                let length = self.uint() as u32;
                Span { offset: self.int() as i32, length }
            })
            .collect()
    }

    fn layout(&mut self) -> Histogram {
        let zero_threshold = match self.bits(8) {
            0 => 0.0,
            255 => self.double(),
            byte => 2f64.powi(byte as i32 - 244),
        };
        let schema = self.int() as i32;
        let (positive_spans, negative_spans) = (self.spans(), self.spans());
        let mut layout =
            Histogram { schema, zero_threshold, positive_spans, negative_spans, ..Histogram::default() };
        if layout.has_custom_buckets() {
            let bounds = self.uint();
            layout.custom_bounds = (0..bounds)
                .map(|_| match self.uint() {
                    0 => self.double(),
                    thousandths => (thousandths - 1) as f64 / 1_000.0,
                })
                .collect();
        }
        layout
    }
}

#[derive(Clone, Copy)]
struct Double {
    value: f64,
    window: (u32, u32),
}

impl Double {
    fn first(reader: &mut Reader) -> Double {
        Double { value: reader.double(), window: (0, 0) }
    }

    fn next(&mut self, reader: &mut Reader) {
        if reader.bits(1) == 1 {
            if reader.bits(1) == 1 {
                let leading = reader.bits(5) as u32;
                let width = match reader.bits(6) as u32 {
                    0 => 64,
                    width => width,
                };
                self.window = (leading, 64 - leading - width);
            }
            let difference = reader.bits(64 - self.window.0 - self.window.1) << self.window.1;
            self.value = f64::from_bits(self.value.to_bits() ^ difference);
        }
    }
}

#[derive(Clone, Copy)]
struct Integer {
    value: i64,
    delta: i64,
}

impl Integer {
    fn next(&mut self, reader: &mut Reader) {
        self.delta = self.delta.wrapping_add(reader.int());
        self.value = self.value.wrapping_add(self.delta);
    }
}

pub fn floats(data: &[u8]) -> Vec<(Timestamp, f64)> {
    let mut reader = Reader(BitReader::new(data));
    let count = reader.bits(16);
    let mut timestamp = varint::unzigzag(reader.varint());
    let mut column = Double::first(&mut reader);
    let mut samples = vec![(timestamp, column.value)];
    let mut delta = 0i64;
    for i in 1..count {
        delta = match i {
            1 => reader.varint() as i64,
            _ => delta.wrapping_add(reader.int_in(&[14, 17, 20])),
        };
        timestamp = timestamp.wrapping_add(delta);
        column.next(&mut reader);
        samples.push((timestamp, column.value));
    }
    samples
}

/// A chunk of histograms, with integer counts or not, and their hints as Prometheus tells them.
pub fn histograms(data: &[u8], is_integer: bool) -> Vec<(Timestamp, Histogram)> {
    let mut reader = Reader(BitReader::new(data));
    let (count, flags) = (reader.bits(16), reader.bits(8));
    let layout = reader.layout();
    let rows =
        if is_integer { integers(&mut reader, &layout, count) } else { doubles(&mut reader, &layout, count) };
    let told = |i: usize, mut histogram: Histogram| {
        histogram.hint = match (flags >> 6, i) {
            (0b11, _) => ResetHint::Gauge,
            (_, 0) => ResetHint::Unknown,
            _ => ResetHint::NotReset,
        };
        Histogram { is_integer, ..histogram }
    };
    rows.into_iter().enumerate().map(|(i, (timestamp, row))| (timestamp, told(i, row))).collect()
}

fn bucket_count(spans: &[Span]) -> usize {
    spans.iter().map(|span| span.length as usize).sum()
}

fn integers(reader: &mut Reader, layout: &Histogram, count: u64) -> Vec<(Timestamp, Histogram)> {
    let begin = |value| Integer { value, delta: 0 };
    let mut timestamp = begin(reader.int());
    let (mut total, mut zero) = (begin(reader.uint() as i64), begin(reader.uint() as i64));
    let mut sum = Double::first(reader);
    let mut side =
        |spans: &[Span]| -> Vec<Integer> { (0..bucket_count(spans)).map(|_| begin(reader.int())).collect() };
    let (mut positive, mut negative) = (side(&layout.positive_spans), side(&layout.negative_spans));
    let counts = |columns: &[Integer]| {
        let sums = columns.iter().scan(0, |sum, column| {
            *sum += column.value;
            Some(*sum as f64)
        });
        sums.collect::<Vec<f64>>()
    };
    let mut rows = Vec::new();
    for i in 0..count {
        if i > 0 {
            [&mut timestamp, &mut total, &mut zero].into_iter().for_each(|column| column.next(reader));
            sum.next(reader);
            positive.iter_mut().chain(&mut negative).for_each(|column| column.next(reader));
        }
        let histogram = Histogram {
            count: total.value as f64,
            zero_count: zero.value as f64,
            sum: sum.value,
            positive_buckets: counts(&positive),
            negative_buckets: counts(&negative),
            ..layout.clone()
        };
        rows.push((timestamp.value, histogram));
    }
    rows
}

fn doubles(reader: &mut Reader, layout: &Histogram, count: u64) -> Vec<(Timestamp, Histogram)> {
    let mut timestamp = Integer { value: reader.int(), delta: 0 };
    let positive = bucket_count(&layout.positive_spans);
    let columns = 3 + positive + bucket_count(&layout.negative_spans);
    let mut columns: Vec<Double> = (0..columns).map(|_| Double::first(reader)).collect();
    let mut rows = Vec::new();
    for i in 0..count {
        if i > 0 {
            timestamp.next(reader);
            columns.iter_mut().for_each(|column| column.next(reader));
        }
        let values: Vec<f64> = columns.iter().map(|column| column.value).collect();
        let histogram = Histogram {
            count: values[0],
            zero_count: values[1],
            sum: values[2],
            positive_buckets: values[3..3 + positive].to_vec(),
            negative_buckets: values[3 + positive..].to_vec(),
            ..layout.clone()
        };
        rows.push((timestamp.value, histogram));
    }
    rows
}
