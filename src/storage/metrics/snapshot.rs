//! Reading: heads and segments of one instant.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::found::Found;
use super::merge::{merge_floats, merge_histograms};
use super::parts::{Part, Parts};
use super::registry::SharedRegistry;
use super::sample_buffer::SampleBuffer;
use super::united::{Known, united};
use super::visible::VisibleSegment;
use super::writer::SharedMetadata;
use crate::model::{Exemplar, Labels, Lookout, Matcher, MetricMetadata, StopSign, TimeRange, Timestamp};
use crate::storage::errors::ReadError;
use crate::storage::live::{LiveSegment, View};
use crate::storage::signal::Signal;

/// The metrics at one instant. Holding it keeps the segments it reads alive; drop it when the query ends.
pub struct MetricsSnapshot {
    pub(super) view: Arc<View>,
    pub(super) registries: Vec<SharedRegistry>,
    metadata: SharedMetadata,
    warnings: Mutex<BTreeSet<String>>,
    stop: StopSign,
}

/// One series that a selection found, and where its samples lie.
#[derive(Clone, Debug)]
pub struct Series {
    pub labels: Labels,
    /// About how many samples are in the selected range, from the index alone.
    pub sample_count_estimate: u64,
    pub(super) parts: Parts,
}

/// The exemplars of one series, in time order.
#[derive(Clone, Debug)]
pub struct SeriesExemplars {
    pub labels: Labels,
    pub exemplars: Vec<Exemplar>,
}

impl MetricsSnapshot {
    pub(in crate::storage) fn new(
        view: &Arc<View>,
        registries: &[SharedRegistry],
        metadata: &SharedMetadata,
    ) -> MetricsSnapshot {
        MetricsSnapshot {
            view: view.clone(),
            registries: registries.to_vec(),
            metadata: metadata.clone(),
            warnings: Mutex::default(),
            stop: StopSign::never(),
        }
    }

    /// The same, for a reader that may have had enough: what is found while the sign is up means nothing.
    pub fn until(self, stop: StopSign) -> MetricsSnapshot {
        MetricsSnapshot { stop, ..self }
    }

    pub(super) fn lookout(&self) -> Lookout<'_> {
        Lookout::new(&self.stop)
    }

    /// The series that all `matchers` let through and that may have samples as sent in `range`, each once, in storage
    /// order (no promise). Damaged segments are skipped and reported by [`MetricsSnapshot::warnings`].
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Series>, ReadError> {
        let (mut found, lookout) = (Found::default(), self.lookout());
        for (index, segment) in self.segments_in(range).filter(|(_, segment)| !segment.is_rollup()) {
            self.or_warn(found.add_segment(segment, index, matchers, (&[range], &[]), &lookout));
        }
        found.add_heads(self, matchers, &[range], &lookout);
        Ok(found.series)
    }

    /// The labels of series that all `matchers` let through and that may have anything in `range`, in any resolution.
    pub fn series_labels(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Labels>, ReadError> {
        let (mut found, lookout) = (Found::default(), self.lookout());
        for (index, segment) in self.listed_in(range) {
            self.or_warn(found.add_segment(segment, index, matchers, (&[], &[range]), &lookout));
        }
        found.add_heads(self, matchers, &[range], &lookout);
        Ok(found.series.into_iter().map(|series| series.labels).collect())
    }

    /// Replaces the content of `samples` by the series' samples in `range`; a series may turn out to have none.
    pub fn read(
        &self,
        series: &Series,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), ReadError> {
        samples.clear();
        self.read_samples(series, range, |_| true, samples);
        Ok(())
    }

    /// As [`MetricsSnapshot::read`], but only the newest sample in `range` is promised; of older ones some are there. What is
    /// older than that is mostly not looked at.
    pub fn read_newest(
        &self,
        series: &Series,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), ReadError> {
        samples.clear();
        for part in series.parts.iter().rev() {
            // Of two samples at one time the later part has the right one.
            let newer = TimeRange { after: range.after.max(samples.last_timestamp()), ..range };
            if newer.is_empty() {
                break;
            }
            match *part {
                Part::Segment { index, ordinal } => {
                    let segment = &self.view.segments[index as usize];
                    if !segment.is_rollup() && segment.time_range().overlaps(&newer) {
                        let read = opened(segment);
                        self.or_warn(read.and_then(|read| Ok(read.read_newest(ordinal, newer, samples)?)));
                    }
                }
                Part::Head { generation, shard, id } => {
                    self.view.generations[generation as usize].metrics[shard as usize]
                        .read(id, newer, samples);
                }
            }
        }
        Ok(())
    }

    /// Adds the series' samples in `range` to what is there, of heads and of the segments that `takes` lets through.
    pub(super) fn read_samples(
        &self,
        series: &Series,
        range: TimeRange,
        takes: impl Fn(&LiveSegment) -> bool,
        samples: &mut SampleBuffer,
    ) {
        let mut run = SampleBuffer::default();
        for part in series.parts.iter() {
            match *part {
                Part::Segment { index, ordinal } => {
                    let segment = &self.view.segments[index as usize];
                    if segment.is_rollup() || !segment.time_range().overlaps(&range) || !takes(segment) {
                        continue;
                    }
                    // Most segments follow one another in time; only late data overlap.
                    let follows = samples.last_timestamp() < segment.entry.min_time;
                    let target = if follows { &mut *samples } else { &mut run };
                    self.or_warn(read_from_segment(segment, ordinal, range, target));
                    if !follows {
                        merge_floats(samples, &run.float_timestamps, &run.floats);
                        merge_histograms(samples, &run.histogram_timestamps, &run.histograms);
                        run.clear();
                    }
                }
                Part::Head { generation, shard, id } => {
                    self.view.generations[generation as usize].metrics[shard as usize]
                        .read(id, range, samples);
                }
            }
        }
    }

    /// Since when the series counts, of all the parts it was found in, in order of times: from a time on it counts since
    /// that start, 0 if nobody said. Starts are told once, with the first sample that has them.
    pub fn starts(&self, series: &Series) -> Vec<(Timestamp, Timestamp)> {
        let mut starts = Vec::new();
        for part in series.parts.iter() {
            match *part {
                Part::Segment { index, ordinal } => {
                    let segment = &self.view.segments[index as usize];
                    self.or_warn(starts_from_segment(segment, ordinal, &mut starts));
                }
                Part::Head { generation, shard, id } => {
                    let heads = &self.view.generations[generation as usize].metrics;
                    starts.extend(heads[shard as usize].starts(id));
                }
            }
        }
        starts.sort_by_key(|(timestamp, _)| *timestamp);
        starts
    }

    /// Sorted names of the labels on series that match (all series, if no matcher is given).
    pub fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>, ReadError> {
        let (mut names, lookout) = (BTreeSet::new(), self.lookout());
        for (_, segment) in self.listed_in(range) {
            self.or_warn(label_names_in_segment(segment, matchers, &lookout, &mut names));
        }
        self.registries_in(&[range]).for_each(|(_, registry)| {
            registry.label_names(matchers, &lookout, |name| {
                names.insert(name.to_owned());
            });
        });
        Ok(names.into_iter().collect())
    }

    /// Sorted values of one label on series that match.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, ReadError> {
        let lookout = self.lookout();
        let in_segments = self.listed_in(range).map(|(_, segment)| {
            self.or_warn(label_values_in_segment(segment, name, matchers, &lookout)).unwrap_or_default()
        });
        let values = united(in_segments, &lookout);
        let ranges = [range];
        let registries = || self.registries_in(&ranges).map(|(_, registry)| registry);
        let known =
            Known::of(&values, registries().map(|registry| registry.value_count(name)).sum(), &lookout);
        let in_heads = registries().map(|registry| {
            let mut new = Vec::new();
            registry.label_values(name, matchers, &lookout, |value| {
                if !known.contains(value) {
                    new.push(value.to_owned());
                }
            });
            new.sort_unstable();
            new
        });
        let new = united(in_heads, &lookout);
        Ok(united([values, new], &lookout))
    }

    pub fn exemplars(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<SeriesExemplars>, ReadError> {
        let (mut found, lookout) = (Vec::new(), self.lookout());
        for series in self.select(matchers, range)? {
            if lookout.gives_up_before(EXEMPLARS_BYTES) {
                break;
            }
            let mut exemplars = Vec::new();
            for part in series.parts.iter() {
                exemplars.extend(self.exemplars_of(*part, range));
            }
            exemplars.sort_by_key(|e| e.timestamp);
            exemplars.dedup();
            if !exemplars.is_empty() {
                found.push(SeriesExemplars { labels: series.labels, exemplars });
            }
        }
        Ok(found)
    }

    /// What is known of metric families, sorted by name.
    pub fn metadata(&self) -> Vec<(String, Vec<MetricMetadata>)> {
        self.metadata.read().iter().map(|(family, list)| (family.clone(), list.clone())).collect()
    }

    /// Damage met while reading this snapshot: the answers lack what these segments held.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().iter().cloned().collect()
    }

    /// Segments that tell which series there were: rollups where the samples are gone.
    fn listed_in(&self, range: TimeRange) -> impl Iterator<Item = (u32, &LiveSegment)> {
        let floor = self.view.floor(0);
        self.segments_in(range).filter(move |(_, s)| !s.is_rollup() || s.entry.min_time <= floor)
    }

    /// The registries of shards whose heads may have something in one of the ranges. They know all series that were written
    /// lately, and history is mostly asked for when it is sealed.
    pub(super) fn registries_in(
        &self,
        ranges: &[TimeRange],
    ) -> impl Iterator<Item = (usize, &SharedRegistry)> {
        self.registries.iter().enumerate().filter(|(shard, _)| {
            let mut heads = self.view.generations.iter().map(|heads| heads.metrics[*shard].time_range());
            heads.any(|head| ranges.iter().any(|wanted| wanted.overlaps(&head)))
        })
    }

    pub(super) fn segments_in(&self, range: TimeRange) -> impl Iterator<Item = (u32, &LiveSegment)> {
        let all = self.view.segments_of(Signal::Metrics);
        all.filter(move |(_, s)| s.time_range().overlaps(&range)).map(|(i, s)| (i as u32, &**s))
    }

    fn exemplars_of(&self, part: Part, range: TimeRange) -> Vec<Exemplar> {
        match part {
            Part::Segment { index, ordinal } => {
                let segment = &self.view.segments[index as usize];
                let read = opened(segment).and_then(|s| Ok(s.exemplars(ordinal, range)?));
                self.or_warn(read).unwrap_or_default()
            }
            Part::Head { generation, shard, id } => {
                self.view.generations[generation as usize].metrics[shard as usize].exemplars(id, range)
            }
        }
    }

    /// Damage costs what it hit, not the query: it is noted and the rest goes on.
    pub(super) fn or_warn<T>(&self, result: Result<T, ReadError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.warnings.lock().insert(error.to_string());
                None
            }
        }
    }
}

/// Looking for the exemplars of a series takes about as long as looking at so many bytes.
const EXEMPLARS_BYTES: usize = 256;

fn opened(segment: &LiveSegment) -> Result<&Arc<VisibleSegment>, ReadError> {
    segment.visible()
}

fn read_from_segment(
    live: &LiveSegment,
    ordinal: u32,
    range: TimeRange,
    samples: &mut SampleBuffer,
) -> Result<(), ReadError> {
    Ok(opened(live)?.read(ordinal, range, samples)?)
}

fn starts_from_segment(
    live: &LiveSegment,
    ordinal: u32,
    starts: &mut Vec<(Timestamp, Timestamp)>,
) -> Result<(), ReadError> {
    starts.extend(live.metrics()?.starts(ordinal)?);
    Ok(())
}

fn label_names_in_segment(
    live: &LiveSegment,
    matchers: &[Matcher],
    lookout: &Lookout<'_>,
    names: &mut BTreeSet<String>,
) -> Result<(), ReadError> {
    names.extend(opened(live)?.label_names(matchers, lookout)?);
    Ok(())
}

fn label_values_in_segment(
    live: &LiveSegment,
    name: &str,
    matchers: &[Matcher],
    lookout: &Lookout<'_>,
) -> Result<Vec<String>, ReadError> {
    Ok(opened(live)?.label_values(name, matchers, lookout)?)
}
