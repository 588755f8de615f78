//! What metrics write into a frame of the log (`storage-format.md` §2.1), and read back.
//!
//! A payload is a run of blocks: tag, count, rows. Values stand for themselves, never as differences from another
//! frame, so a damaged frame costs nothing but what is in it.

mod declare;
mod reader;
mod samples;
mod series;

pub(super) use declare::declare_series;
pub(in crate::storage) use reader::read_payload;
pub(super) use samples::write_samples;
pub(in crate::storage) use series::DeclaredSeries;

use crate::codec::histograms;
use crate::codec::varint::{write_i64, write_u64};
use crate::model::{MetricMetadata, MetricType};

use super::deltas::{DeltaState, Total};
use super::segment_layout::METRIC_TYPES;
use super::{ExemplarRow, HistogramRow, SampleRow, SeriesRef, StartRow};
use series::LoggedSeries;

mod tag {
    /// No longer written.
    pub const SERIES_IN_FULL: u8 = 1;
    pub const SAMPLES: u8 = 2;
    pub const HISTOGRAMS: u8 = 3;
    pub const STARTS: u8 = 4;
    pub const EXEMPLARS: u8 = 5;
    pub const METADATA: u8 = 6;
    pub const DELTA_TOTALS: u8 = 7;
    pub const SERIES: u8 = 8;
}

/// What a label of a declared series has of the one in its place in the series before.
mod mark {
    pub const SAME: u8 = 0;
    /// With another value.
    pub const SAME_NAME: u8 = 1;
    pub const OTHER: u8 = 2;
}

const MARK_BITS: usize = 2;
/// Those of one byte. Not many, since bytes pay for what is read.
const LABELS_PER_MARKS: usize = 4;

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
        write_in_full(*id, exemplar.labels.iter(), to);
        write_i64(to, exemplar.timestamp);
        to.extend_from_slice(&exemplar.value.to_le_bytes());
    }
}

/// Appends an id and labels, whatever is before them.
fn write_in_full<'a>(id: u32, labels: impl Iterator<Item = (&'a str, &'a str)> + Clone, to: &mut Vec<u8>) {
    write_u64(to, id.into());
    write_u64(to, labels.clone().count() as u64);
    for (name, value) in labels {
        write_text(name, to);
        write_text(value, to);
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

fn begin(tag: u8, count: usize, to: &mut Vec<u8>) {
    to.push(tag);
    write_u64(to, count as u64);
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    write_u64(to, text.len() as u64);
    to.extend_from_slice(text.as_bytes());
}

fn type_code(metric_type: MetricType) -> u8 {
    METRIC_TYPES.iter().position(|&t| t == metric_type).expect("all types are listed") as u8
}
