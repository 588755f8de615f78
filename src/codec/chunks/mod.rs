//! Prometheus's chunks: samples of one series as remote read streams them and as its blocks keep them.
//!
//! The three encodings are Prometheus's to the bit (its `tsdb/chunkenc`): a chunk of the same samples has the same
//! bytes. Where a run of histograms ends is ours to choose; see [`histograms::continues`].

mod floats;
mod histograms;
mod reader;

use std::sync::Arc;

pub use reader::{ChunkReader, ChunkValue};

use super::bits::BitWriter;
use crate::model::{Histogram, Timestamp};

/// Prometheus's: at a 15 s scrape half an hour.
pub const SAMPLES_MAX: usize = 120;

/// Samples of one series, ready to be read by Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Of the first sample and of the last.
    pub min_time: Timestamp,
    pub max_time: Timestamp,
    pub encoding: Encoding,
    pub data: Vec<u8>,
}

/// The numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Xor = 1,
    Histogram = 2,
    FloatHistogram = 3,
}

/// Cuts the samples of a series into chunks, in order of time. Times increase, and none is in both lists.
pub struct Chunks<'a> {
    float_timestamps: &'a [Timestamp],
    floats: &'a [f64],
    histogram_timestamps: &'a [Timestamp],
    histograms: &'a [Arc<Histogram>],
}

impl<'a> Chunks<'a> {
    pub fn new(
        (float_timestamps, floats): (&'a [Timestamp], &'a [f64]),
        (histogram_timestamps, histograms): (&'a [Timestamp], &'a [Arc<Histogram>]),
    ) -> Chunks<'a> {
        assert_eq!(float_timestamps.len(), floats.len(), "a time for each float");
        assert_eq!(histogram_timestamps.len(), histograms.len(), "a time for each histogram");
        Chunks { float_timestamps, floats, histogram_timestamps, histograms }
    }

    fn next_floats(&mut self) -> Chunk {
        let count = run_length(self.float_timestamps, self.histogram_timestamps);
        let chunk = floats::encode(&self.float_timestamps[..count], &self.floats[..count]);
        self.float_timestamps = &self.float_timestamps[count..];
        self.floats = &self.floats[count..];
        chunk
    }

    fn next_histograms(&mut self) -> Chunk {
        let most = run_length(self.histogram_timestamps, self.float_timestamps);
        let continues = |pair: &&[Arc<Histogram>]| histograms::continues(&pair[0], &pair[1]);
        let count = 1 + self.histograms[..most].windows(2).take_while(continues).count();
        let chunk = histograms::encode(&self.histogram_timestamps[..count], &self.histograms[..count]);
        self.histogram_timestamps = &self.histogram_timestamps[count..];
        self.histograms = &self.histograms[count..];
        chunk
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        match (self.float_timestamps.first(), self.histogram_timestamps.first()) {
            (None, None) => None,
            (Some(float), Some(histogram)) if histogram < float => Some(self.next_histograms()),
            (None, Some(_)) => Some(self.next_histograms()),
            (Some(_), _) => Some(self.next_floats()),
        }
    }
}

/// How many of `times` come before the first of `others`, as far as a chunk goes.
fn run_length(times: &[Timestamp], others: &[Timestamp]) -> usize {
    let is_before = |time: &&Timestamp| others.first().is_none_or(|other| *time < other);
    times.iter().take(SAMPLES_MAX).take_while(is_before).count()
}

/// The bucket sizes of small integers in histograms: one more bit of prefix each.
const VARBIT_WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];

fn put_int(bits: &mut BitWriter, value: i64) {
    put_int_in(bits, value, &VARBIT_WIDTHS);
}

fn put_uint(bits: &mut BitWriter, value: u64) {
    put_in_bucket(bits, value, &VARBIT_WIDTHS, |width| value >> width == 0);
}

/// A width holds one value more above zero than below.
fn put_int_in(bits: &mut BitWriter, value: i64, widths: &[u32]) {
    put_in_bucket(bits, value as u64, widths, |width| {
        let half = 1i64 << (width - 1);
        (1 - half..=half).contains(&value)
    });
}

/// Zero is one bit. Else as many ones as there are widths up to the first that fits, a zero, and so many bits of the
/// value; if none fits, ones alone and 64 bits.
fn put_in_bucket(bits: &mut BitWriter, value: u64, widths: &[u32], fits: impl Fn(u32) -> bool) {
    if value == 0 {
        return bits.write(0, 1);
    }
    match (1..).zip(widths).find(|(_, width)| fits(**width)) {
        Some((ones, &width)) => {
            bits.write((1 << (ones + 1)) - 2, ones + 1);
            bits.write(value & ((1 << width) - 1), width);
        }
        None => {
            let ones = widths.len() as u32 + 1;
            bits.write((1 << ones) - 1, ones);
            bits.write(value, 64);
        }
    }
}

/// A column of doubles, each written as what differs from the one before it.
struct DoubleColumn {
    last: u64,
    /// Zeros before and after the bits that differ, as last written.
    window: Option<(u32, u32)>,
}

impl DoubleColumn {
    fn begin(first: f64, bits: &mut BitWriter) -> DoubleColumn {
        bits.write(first.to_bits(), 64);
        DoubleColumn { last: first.to_bits(), window: None }
    }

    fn push(&mut self, value: f64, bits: &mut BitWriter) {
        let difference = value.to_bits() ^ self.last;
        self.last = value.to_bits();
        if difference == 0 {
            return bits.write(0, 1);
        }
        // Five bits tell the zeros before.
        let leading = difference.leading_zeros().min(31);
        let trailing = difference.trailing_zeros();
        if let Some((before, after)) = self.window.filter(|w| leading >= w.0 && trailing >= w.1) {
            bits.write(0b10, 2);
            return bits.write(difference >> after, 64 - before - after);
        }
        self.window = Some((leading, trailing));
        let width = 64 - leading - trailing;
        bits.write(0b11, 2);
        bits.write(leading.into(), 5);
        // Six bits tell the width; none is 0, so that stands for 64.
        bits.write(u64::from(width) & 63, 6);
        bits.write(difference >> trailing, width);
    }
}
