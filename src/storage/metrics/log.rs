//! What metrics write into a frame of the log (`storage-format.md` §2.1), and read back.
//!
//! A payload is a run of blocks: tag, count, rows. Values stand for themselves, never as differences from another
//! frame, so a damaged frame costs nothing but what is in it.

mod declare;
mod series;

pub(super) use declare::declare_series;
pub(in crate::storage) use series::DeclaredSeries;

use crate::codec::histograms;
use crate::codec::varint::{read_i64, read_u64, write_i64, write_u64};
use crate::model::{Exemplar, Histogram, Labels, MetricMetadata, MetricType, Timestamp};

use super::deltas::{DeltaState, Total};
use super::segment_layout::METRIC_TYPES;
use super::{ExemplarRow, HistogramRow, SampleRow, SeriesRef, StartRow};
use series::{LoggedSeries, write_series};

mod tag {
    pub const SERIES: u8 = 1;
    pub const SAMPLES: u8 = 2;
    pub const HISTOGRAMS: u8 = 3;
    pub const STARTS: u8 = 4;
    pub const EXEMPLARS: u8 = 5;
    pub const METADATA: u8 = 6;
    pub const DELTA_TOTALS: u8 = 7;
}

/// The rows of one frame, as read back. Ids are those of the generation that wrote it.
#[derive(Debug, Default)]
pub(in crate::storage) struct LoggedRows<'p> {
    pub series: LoggedSeries<'p>,
    pub samples: Vec<SampleRow>,
    pub histograms: Vec<HistogramRow>,
    pub starts: Vec<StartRow>,
    pub exemplars: Vec<ExemplarRow>,
    pub metadata: Vec<(String, MetricMetadata)>,
    pub delta_totals: Vec<(u32, DeltaState)>,
}

impl LoggedRows<'_> {
    /// Whether there is nothing but declarations of series.
    pub fn has_no_rows(&self) -> bool {
        self.samples.is_empty()
            && self.histograms.is_empty()
            && self.starts.is_empty()
            && self.exemplars.is_empty()
            && self.metadata.is_empty()
            && self.delta_totals.is_empty()
    }

    /// The rows by the shard that owns their series now, with its ids; and how many had no known series.
    pub fn split(
        self,
        shards: usize,
        owner: impl Fn(u32) -> Option<SeriesRef>,
    ) -> (Vec<LoggedRows<'static>>, usize) {
        let mut strays = 0;
        let mut owner = |id: u32| {
            let found = owner(id);
            strays += usize::from(found.is_none());
            found
        };
        let samples = deal(self.samples, shards, |row| &mut row.id, &mut owner);
        let histograms = deal(self.histograms, shards, |row| &mut row.id, &mut owner);
        let starts = deal(self.starts, shards, |row| &mut row.id, &mut owner);
        let exemplars = deal(self.exemplars, shards, |row| &mut row.id, &mut owner);
        let delta_totals = deal(self.delta_totals, shards, |row| &mut row.0, &mut owner);
        let parts = samples.into_iter().zip(histograms).zip(starts).zip(exemplars).zip(delta_totals);
        let mut parts: Vec<LoggedRows<'_>> = parts
            .map(|((((samples, histograms), starts), exemplars), delta_totals)| LoggedRows {
                samples,
                histograms,
                starts,
                exemplars,
                delta_totals,
                ..LoggedRows::default()
            })
            .collect();
        parts[0].metadata = self.metadata;
        (parts, strays)
    }
}

/// Rows by the shard of their series, with its id there; rows of no known series are left out.
fn deal<R>(
    rows: Vec<R>,
    shards: usize,
    id: impl Fn(&mut R) -> &mut u32,
    owner: &mut impl FnMut(u32) -> Option<SeriesRef>,
) -> Vec<Vec<R>> {
    let mut parts: Vec<Vec<R>> = (0..shards).map(|_| Vec::new()).collect();
    let count = rows.len();
    for mut row in rows {
        let id = id(&mut row);
        if let Some(series) = owner(*id) {
            *id = series.id;
            let part = &mut parts[series.shard as usize];
            if part.is_empty() {
                // All rows, unless the number of shards has changed.
                part.reserve_exact(count);
            }
            part.push(row);
        }
    }
    parts
}

/// A payload whose checksum holds but whose content makes no sense: written by another version, or by a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable metrics payload, {left} bytes before its end: {what}")]
pub(in crate::storage) struct BadPayload {
    pub what: &'static str,
    pub left: usize,
}

pub(super) fn write_samples(rows: &[SampleRow], to: &mut Vec<u8>) {
    if rows.is_empty() {
        return;
    }
    begin(tag::SAMPLES, rows.len(), to);
    to.reserve(rows.len() * 6);
    let (mut id, mut time) = (0u32, 0i64);
    for row in rows {
        let (next_id, same_time) = (row.id == id.wrapping_add(1), row.timestamp == time);
        let (code, bytes, len) = value_code(row.value);
        to.push(u8::from(next_id) << 7 | u8::from(same_time) << 6 | code);
        if !next_id {
            write_i64(to, i64::from(row.id) - i64::from(id));
        }
        if !same_time {
            write_i64(to, row.timestamp.wrapping_sub(time));
        }
        to.extend_from_slice(&bytes[..len]);
        (id, time) = (row.id, row.timestamp);
    }
}

pub(super) fn write_histograms(rows: &[HistogramRow], to: &mut Vec<u8>) {
    if rows.is_empty() {
        return;
    }
    begin(tag::HISTOGRAMS, rows.len(), to);
    for row in rows {
        write_u64(to, row.id.into());
        write_i64(to, row.timestamp);
        histograms::encode(&row.histogram, to);
    }
}

pub(super) fn write_starts(rows: &[StartRow], to: &mut Vec<u8>) {
    if rows.is_empty() {
        return;
    }
    begin(tag::STARTS, rows.len(), to);
    for row in rows {
        write_u64(to, row.id.into());
        write_i64(to, row.timestamp);
        write_i64(to, row.start);
    }
}

pub(super) fn write_exemplars(rows: &[ExemplarRow], to: &mut Vec<u8>) {
    if rows.is_empty() {
        return;
    }
    begin(tag::EXEMPLARS, rows.len(), to);
    for ExemplarRow { id, exemplar } in rows {
        write_series(*id, exemplar.labels.iter(), to);
        write_i64(to, exemplar.timestamp);
        to.extend_from_slice(&exemplar.value.to_le_bytes());
    }
}

pub(super) fn write_metadata<'a>(
    rows: impl ExactSizeIterator<Item = (&'a str, &'a MetricMetadata)>,
    to: &mut Vec<u8>,
) {
    if rows.len() == 0 {
        return;
    }
    begin(tag::METADATA, rows.len(), to);
    for (family, metadata) in rows {
        write_text(family, to);
        to.push(type_code(metadata.metric_type));
        write_text(&metadata.help, to);
        write_text(&metadata.unit, to);
    }
}

pub(super) fn write_delta_totals<'a>(
    rows: impl ExactSizeIterator<Item = (u32, &'a DeltaState)>,
    to: &mut Vec<u8>,
) {
    if rows.len() == 0 {
        return;
    }
    begin(tag::DELTA_TOTALS, rows.len(), to);
    for (id, state) in rows {
        write_u64(to, id.into());
        write_i64(to, state.start);
        write_i64(to, state.timestamp);
        match &state.total {
            Total::Float(total) => {
                to.push(0);
                to.extend_from_slice(&total.to_le_bytes());
            }
            Total::Histogram(total) => {
                to.push(1);
                histograms::encode(total, to);
            }
        }
    }
}

/// Reads a whole payload.
pub(in crate::storage) fn read_payload(payload: &[u8]) -> Result<LoggedRows<'_>, BadPayload> {
    let mut rows = LoggedRows::default();
    let mut from = Reader(payload);
    while !from.0.is_empty() {
        let tag = from.byte()?;
        let count = from.count()?;
        match tag {
            tag::SERIES => from.series(count, &mut rows.series)?,
            tag::SAMPLES => from.samples(count, &mut rows.samples)?,
            tag::HISTOGRAMS => from.rows(count, &mut rows.histograms, Reader::histogram_row)?,
            tag::STARTS => from.rows(count, &mut rows.starts, Reader::start)?,
            tag::EXEMPLARS => from.rows(count, &mut rows.exemplars, Reader::exemplar)?,
            tag::METADATA => from.rows(count, &mut rows.metadata, Reader::metadata)?,
            tag::DELTA_TOTALS => from.rows(count, &mut rows.delta_totals, Reader::delta_total)?,
            _ => return Err(from.bad("unknown block")),
        }
    }
    Ok(rows)
}

fn begin(tag: u8, count: usize, to: &mut Vec<u8>) {
    to.push(tag);
    write_u64(to, count as u64);
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    write_u64(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

/// Codes of a value's shape, below 64: 0 is +0.0; `FLOAT + …` the bytes of the float without zero bytes at its
/// ends; `INTEGER + n - 1` a whole number of n bytes, little-endian.
const FLOAT: u8 = 1;
const INTEGER: u8 = 37;
const INTEGER_BYTES_MAX: usize = 6;

fn value_code(value: f64) -> (u8, [u8; 8], usize) {
    let bits = value.to_bits();
    if bits == 0 {
        return (0, [0; 8], 0);
    }
    // Zero bytes at the low end are common (small whole numbers), at the high end rare.
    let low = bits.trailing_zeros() as usize / 8;
    let len = 8 - bits.leading_zeros() as usize / 8 - low;
    let whole = value as u64;
    if whole > 0 && whole < 1 << (8 * INTEGER_BYTES_MAX) && (whole as f64).to_bits() == bits {
        let whole_len = 8 - whole.leading_zeros() as usize / 8;
        if whole_len < len {
            return (INTEGER + whole_len as u8 - 1, whole.to_le_bytes(), whole_len);
        }
    }
    (FLOAT + shape(len, low), (bits >> (8 * low)).to_le_bytes(), len)
}

/// Numbers the pairs (len, low) with 1 <= len, len + low <= 8: 36 of them, by `low`.
fn shape(len: usize, low: usize) -> u8 {
    // Before `low` there are 8 + 7 + … of the smaller ones.
    (low * 8 - low * low.saturating_sub(1) / 2 + len - 1) as u8
}

/// The inverse of [`shape`], as a table.
fn unshape(shape: u8) -> (usize, usize) {
    let mut first = 0;
    for low in 0..8 {
        let pairs = 8 - low;
        if (shape as usize) < first + pairs {
            return (shape as usize - first + 1, low);
        }
        first += pairs;
    }
    unreachable!("a shape is below 36")
}

fn type_code(metric_type: MetricType) -> u8 {
    METRIC_TYPES.iter().position(|&t| t == metric_type).expect("all types are listed") as u8
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bad(&self, what: &'static str) -> BadPayload {
        BadPayload { what, left: self.0.len() }
    }

    fn byte(&mut self) -> Result<u8, BadPayload> {
        Ok(self.bytes(1)?[0])
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], BadPayload> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| self.bad("cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn unsigned(&mut self) -> Result<u64, BadPayload> {
        read_u64(&mut self.0).map_err(|_| self.bad("bad integer"))
    }

    fn signed(&mut self) -> Result<i64, BadPayload> {
        read_i64(&mut self.0).map_err(|_| self.bad("bad integer"))
    }

    fn id(&mut self) -> Result<u32, BadPayload> {
        u32::try_from(self.unsigned()?).map_err(|_| self.bad("id out of range"))
    }

    /// A number of things that take at least a byte each, so that nothing is allocated that was not sent.
    fn count(&mut self) -> Result<usize, BadPayload> {
        let count = self.unsigned()? as usize;
        if count > self.0.len() { Err(self.bad("more rows than bytes")) } else { Ok(count) }
    }

    fn float(&mut self) -> Result<f64, BadPayload> {
        Ok(f64::from_le_bytes(self.bytes(8)?.try_into().expect("eight bytes")))
    }

    fn text(&mut self) -> Result<&'a str, BadPayload> {
        self.text_like(None)
    }

    /// A text, and the very one that it is like, if it is.
    fn text_like(&mut self, like: Option<&'a str>) -> Result<&'a str, BadPayload> {
        let len = self.unsigned()? as usize;
        let bytes = self.bytes(len)?;
        match like {
            Some(like) if like.as_bytes() == bytes => Ok(like),
            _ => std::str::from_utf8(bytes).map_err(|_| self.bad("text is not UTF-8")),
        }
    }

    fn rows<T>(
        &mut self,
        count: usize,
        to: &mut Vec<T>,
        row: impl Fn(&mut Reader<'a>) -> Result<T, BadPayload>,
    ) -> Result<(), BadPayload> {
        for _ in 0..count {
            to.push(row(self)?);
        }
        Ok(())
    }

    fn samples(&mut self, count: usize, to: &mut Vec<SampleRow>) -> Result<(), BadPayload> {
        to.reserve(count);
        let (mut id, mut timestamp) = (0u32, 0i64);
        for _ in 0..count {
            let mark = self.byte()?;
            id = if mark & 0x80 != 0 {
                id.wrapping_add(1)
            } else {
                u32::try_from(i64::from(id) + self.signed()?).map_err(|_| self.bad("id out of range"))?
            };
            if mark & 0x40 == 0 {
                timestamp = timestamp.wrapping_add(self.signed()?);
            }
            to.push(SampleRow { id, timestamp, value: self.value(mark & 0x3f)? });
        }
        Ok(())
    }

    fn value(&mut self, code: u8) -> Result<f64, BadPayload> {
        let (len, low) = match code {
            0 => return Ok(0.0),
            FLOAT..INTEGER => unshape(code - FLOAT),
            _ if usize::from(code - INTEGER) < INTEGER_BYTES_MAX => (usize::from(code - INTEGER) + 1, 0),
            _ => return Err(self.bad("unknown shape of value")),
        };
        let mut bytes = [0u8; 8];
        bytes[..len].copy_from_slice(self.bytes(len)?);
        let word = u64::from_le_bytes(bytes);
        Ok(if code < INTEGER { f64::from_bits(word << (8 * low)) } else { word as f64 })
    }

    fn labels(&mut self) -> Result<Labels, BadPayload> {
        let count = self.count()?;
        let mut pairs = Vec::with_capacity(count);
        for _ in 0..count {
            pairs.push((self.text()?, self.text()?));
        }
        Labels::from_pairs(pairs).map_err(|_| self.bad("duplicate label"))
    }

    fn histogram(&mut self) -> Result<Histogram, BadPayload> {
        let (histogram, len) = histograms::decode(self.0).map_err(|_| self.bad("bad histogram"))?;
        self.bytes(len)?;
        Ok(histogram)
    }

    fn histogram_row(&mut self) -> Result<HistogramRow, BadPayload> {
        Ok(HistogramRow { id: self.id()?, timestamp: self.signed()?, histogram: Box::new(self.histogram()?) })
    }

    fn start(&mut self) -> Result<StartRow, BadPayload> {
        Ok(StartRow { id: self.id()?, timestamp: self.signed()?, start: self.signed()? })
    }

    fn exemplar(&mut self) -> Result<ExemplarRow, BadPayload> {
        let (id, labels) = (self.id()?, self.labels()?);
        let timestamp: Timestamp = self.signed()?;
        Ok(ExemplarRow { id, exemplar: Exemplar { labels, value: self.float()?, timestamp } })
    }

    fn metadata(&mut self) -> Result<(String, MetricMetadata), BadPayload> {
        let family = self.text()?.to_owned();
        let metric_type =
            *METRIC_TYPES.get(self.byte()? as usize).ok_or_else(|| self.bad("unknown metric type"))?;
        let metadata =
            MetricMetadata { metric_type, help: self.text()?.to_owned(), unit: self.text()?.to_owned() };
        Ok((family, metadata))
    }

    fn delta_total(&mut self) -> Result<(u32, DeltaState), BadPayload> {
        let (id, start, timestamp) = (self.id()?, self.signed()?, self.signed()?);
        let total = match self.byte()? {
            0 => Total::Float(self.float()?),
            1 => Total::Histogram(Box::new(self.histogram()?)),
            _ => return Err(self.bad("unknown kind of total")),
        };
        Ok((id, DeltaState { start, timestamp, total }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_and_short_floats_take_few_bytes() {
        let len = |v: f64| value_code(v).2;
        assert_eq!([0.0, 1.0, 57.0, 255.0, 65_535.0, 0.5, -1.0].map(len), [0, 1, 1, 1, 2, 2, 2]);
        assert_eq!(len(0.1), 8);
    }

    proptest! {
        #[test]
        fn samples_come_back_to_the_bit(rows in prop::collection::vec((any::<u32>(), any::<i64>(), any_bits()), 0..200)) {
            let rows: Vec<_> = rows.into_iter().map(|(id, timestamp, bits)| SampleRow { id, timestamp, value: f64::from_bits(bits) }).collect();
            let mut payload = Vec::new();
            write_samples(&rows, &mut payload);
            let read = read_payload(&payload).unwrap().samples;
            let plain = |rows: &[SampleRow]| rows.iter().map(|r| (r.id, r.timestamp, r.value.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(plain(&read), plain(&rows));
        }

        #[test]
        fn any_bytes_are_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_payload(&payload);
        }
    }

    fn any_bits() -> impl Strategy<Value = u64> {
        prop_oneof![
            any::<u64>(),
            (0..70_000u32).prop_map(|n| f64::from(n).to_bits()),
            (0u32..64, 0u32..64).prop_map(|(a, b)| (u64::MAX >> a) << b),
        ]
    }
}
