//! Samples into rollups of all resolutions in one walk, and rollups into one.

use std::io::Write;
use std::mem::swap;
use std::sync::Arc;

use super::SampleBuffer;
use super::merge::{merge_floats, merge_histograms};
use super::merged_index::{MergedIndex, WholeIndex};
use super::rollup_columns::{float_columns, histogram_columns};
use super::segment_reader::LookUp;
use super::segment_writer::MetricsSegmentWriter;
use super::visible::VisibleSegment;
use super::walk::{Places, Walk};
use crate::model::rollup::{BucketRuns, Columns, FloatBuckets, HistogramBuckets};
use crate::model::{MetricType, TimeRange};
use crate::storage::errors::MergeError;
use crate::storage::segment::SegmentMeta;

/// What is rolled up.
pub struct RollUp<'a> {
    /// Segments of samples in order of sequence.
    pub raw: &'a [Arc<VisibleSegment>],
    /// Rollups of one resolution, in order of sequence, of samples that are gone. They are of other samples than `raw`, and
    /// the states of both are united.
    pub older: &'a [Arc<VisibleSegment>],
    pub older_resolution: i64,
    /// Buckets that end in it; its edges are multiples of all resolutions.
    pub range: TimeRange,
    /// Finest first; each a multiple of the one before, and of that of `older`.
    pub resolutions: &'a [i64],
    /// The type of a metric family.
    pub types: &'a dyn Fn(&str) -> MetricType,
    /// Lowest and highest sequence number of what goes in.
    pub seqs: (u64, u64),
}

/// Finished files, one for each resolution; none if there was nothing to write.
pub type RolledUp<W> = Vec<Option<(W, SegmentMeta)>>;

/// Writes a segment of each resolution, `to` in the same order. `is_stopping` is asked before each series.
pub fn roll_up<W: Write>(
    plan: &RollUp<'_>,
    to: Vec<W>,
    is_stopping: impl Fn() -> bool,
) -> Result<RolledUp<W>, MergeError> {
    assert_eq!(plan.resolutions.len(), to.len(), "a file for each resolution");
    let mut writers = to
        .into_iter()
        .zip(plan.resolutions)
        .map(|(to, &resolution)| MetricsSegmentWriter::new(to, disk_resolution(resolution), 0))
        .collect::<Result<Vec<_>, _>>()
        .map_err(MergeError::Write)?;
    let (mut walk, mut found) = (Walk::new(plan.raw.iter().chain(plan.older))?, Places::new());
    // All resolutions have the same series.
    let mut index = MergedIndex::of(&walk);
    let mut look_ups: Vec<LookUp> = plan.raw.iter().map(|raw| raw.segment().look_up()).collect();
    let mut buffers = Buffers::default();
    let mut levels: Vec<Level> = writers.iter().map(|_| Level::default()).collect();
    while walk.next(&mut found)? {
        if is_stopping() {
            return Err(MergeError::Stopped);
        }
        let mut histograms = finest(plan, walk.metric_name()?, &found, &mut look_ups, &mut buffers)?;
        let mut floats = &buffers.floats;
        if floats.is_empty() && histograms.is_empty() {
            continue;
        }
        index.add(&mut walk, found[0])?;
        for ((writer, level), &resolution) in writers.iter_mut().zip(&mut levels).zip(plan.resolutions) {
            if resolution != plan.older_resolution {
                floats = level.coarsen(floats, resolution);
                if !histograms.is_empty() {
                    histograms = histograms.coarsen(resolution);
                }
            }
            writer.unlabelled_buckets(floats, &histograms).map_err(MergeError::Write)?;
        }
    }
    let index = index.finish(walk)?;
    writers.into_iter().map(|writer| finish(writer, &index, plan.seqs)).collect()
}

/// The samples of a series, those of one segment, and their buckets; kept from one series to the next.
#[derive(Default)]
struct Buffers {
    samples: SampleBuffer,
    run: SampleBuffer,
    runs: BucketRuns,
    new: FloatBuckets,
    /// In the finest resolution.
    floats: FloatBuckets,
}

/// The buckets of a series in a coarser resolution; kept in the same way.
#[derive(Default)]
struct Level {
    runs: BucketRuns,
    floats: FloatBuckets,
}

impl Level {
    fn coarsen(&mut self, finer: &FloatBuckets, resolution_ms: i64) -> &FloatBuckets {
        self.runs.find(&finer.ends, resolution_ms);
        finer.coarsen_runs(&self.runs, &mut self.floats);
        &self.floats
    }
}

/// Puts the buckets of a series, in the resolution of `plan.older`, into the buffers; those of histograms are the answer. `found` says
/// where in `plan.raw`, which `look_ups` are for, and then `plan.older` it is.
fn finest(
    plan: &RollUp<'_>,
    metric_name: &str,
    found: &[(usize, u32)],
    look_ups: &mut [LookUp<'_>],
    Buffers { samples, run, runs, new, floats }: &mut Buffers,
) -> Result<HistogramBuckets, MergeError> {
    let resolution = plan.older_resolution;
    samples.clear();
    floats.clear(Columns::ALL);
    let mut histograms = HistogramBuckets::new(Columns::ALL);
    for &(place, ordinal) in found {
        match plan.raw.get(place) {
            Some(raw) if samples.is_empty() => {
                raw.read_by(&mut look_ups[place], ordinal, plan.range, samples)?
            }
            Some(raw) => {
                run.clear();
                raw.read_by(&mut look_ups[place], ordinal, plan.range, run)?;
                merge_floats(samples, &run.float_timestamps, &run.floats);
                merge_histograms(samples, &run.histogram_timestamps, &run.histograms);
            }
            None => {
                let older = &plan.older[place - plan.raw.len()];
                replace_from(older, ordinal, plan.range, floats, &mut histograms)?;
            }
        }
    }
    new.clear(Columns::ALL);
    runs.find(&samples.float_timestamps, resolution);
    new.fold_runs(&samples.float_timestamps, &samples.floats, runs);
    new.narrow(float_columns(metric_name, plan.types, new));
    match floats.is_empty() && !new.is_empty() {
        true => swap(floats, new),
        false => floats.unite_with(new),
    }
    if !samples.histograms.is_empty() {
        let mut new = HistogramBuckets::new(histogram_columns(&samples.histograms));
        new.fold(&samples.histogram_timestamps, &samples.histograms, resolution);
        histograms.unite_with(&new);
    }
    Ok(histograms)
}

/// Writes a segment of what segments of rollups of one resolution hold, given in order of sequence: where two have a
/// bucket of a series, the later one is right. `is_stopping` is asked before each series.
pub(super) fn merge_rollups<W: Write>(
    inputs: &[Arc<VisibleSegment>],
    seqs: (u64, u64),
    to: W,
    is_stopping: impl Fn() -> bool,
) -> Result<Option<(W, SegmentMeta)>, MergeError> {
    let resolution = inputs.first().map_or(0, |input| input.segment().resolution_ms());
    assert!(
        inputs.iter().all(|input| input.segment().resolution_ms() == resolution),
        "rollups of one resolution"
    );
    let mut to = MetricsSegmentWriter::new(to, disk_resolution(resolution), 0).map_err(MergeError::Write)?;
    let (mut walk, mut found) = (Walk::new(inputs)?, Places::new());
    let mut index = MergedIndex::of(&walk);
    while walk.next(&mut found)? {
        if is_stopping() {
            return Err(MergeError::Stopped);
        }
        let (mut floats, mut histograms) =
            (FloatBuckets::new(Columns::ALL), HistogramBuckets::new(Columns::ALL));
        for &(place, ordinal) in &found {
            replace_from(&inputs[place], ordinal, TimeRange::ALL, &mut floats, &mut histograms)?;
        }
        if !floats.is_empty() || !histograms.is_empty() {
            index.add(&mut walk, found[0])?;
            to.unlabelled_buckets(&floats, &histograms).map_err(MergeError::Write)?;
        }
    }
    finish(to, &index.finish(walk)?, seqs)
}

/// Puts the buckets of a later segment in the place of those that are there.
fn replace_from(
    segment: &VisibleSegment,
    ordinal: u32,
    range: TimeRange,
    floats: &mut FloatBuckets,
    histograms: &mut HistogramBuckets,
) -> Result<(), MergeError> {
    let (mut later, mut later_histograms) =
        (FloatBuckets::new(Columns::ALL), HistogramBuckets::new(Columns::ALL));
    segment.read_buckets(ordinal, range, Columns::ALL, &mut later, &mut later_histograms)?;
    floats.replace_with(&later);
    histograms.replace_with(&later_histograms);
    Ok(())
}

fn finish<W: Write>(
    writer: MetricsSegmentWriter<W>,
    index: &WholeIndex<'_>,
    (min_seq, max_seq): (u64, u64),
) -> Result<Option<(W, SegmentMeta)>, MergeError> {
    if writer.series_count() == 0 {
        return Ok(None);
    }
    assert_eq!(index.series_count(), writer.series_count(), "an index of other series");
    writer.finish_with_index(min_seq, max_seq, |to| index.write(to)).map(Some).map_err(MergeError::Write)
}

fn disk_resolution(resolution_ms: i64) -> u32 {
    u32::try_from(resolution_ms).expect("a resolution divides a day")
}
