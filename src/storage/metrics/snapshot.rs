//! Reading: heads and segments of one instant.

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{Exemplar, Histogram, Labels, Matcher, MetricMetadata, TimeRange, Timestamp};

/// Stored bytes that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error("{}: damaged at byte {offset}: {what}", path.display())]
    Damaged { path: PathBuf, offset: u64, what: String },
}

/// The metrics at one instant. Holding it keeps the segments it reads alive; drop it when the query ends.
pub struct MetricsSnapshot {
    memory: Arc<parking_lot::Mutex<crate::storage::store::Memory>>,
}

/// One series that a selection found, and where its samples lie.
#[derive(Clone, Debug)]
pub struct Series {
    pub labels: Labels,
    /// An upper estimate of the samples in the selected range, from the index alone.
    pub sample_count_estimate: u64,
    id: u32,
}

/// Samples of one series in time order, floats and histograms apart (a series may hold both; no timestamp
/// occurs twice across the two). Reused from series to series, so that reading allocates nothing.
#[derive(Default, Debug)]
pub struct SampleBuffer {
    pub float_timestamps: Vec<Timestamp>,
    pub floats: Vec<f64>,
    pub histogram_timestamps: Vec<Timestamp>,
    pub histograms: Vec<Arc<Histogram>>,
}

impl SampleBuffer {
    pub fn clear(&mut self) {
        self.float_timestamps.clear();
        self.floats.clear();
        self.histogram_timestamps.clear();
        self.histograms.clear();
    }
}

/// The exemplars of one series, in time order.
#[derive(Clone, Debug)]
pub struct SeriesExemplars {
    pub labels: Labels,
    pub exemplars: Vec<Exemplar>,
}

impl MetricsSnapshot {
    pub(crate) fn of_memory(
        memory: Arc<parking_lot::Mutex<crate::storage::store::Memory>>,
    ) -> MetricsSnapshot {
        MetricsSnapshot { memory }
    }

    /// The series that all `matchers` let through and that may have samples in `range`, each once, in storage
    /// order (no promise). Damaged segments are skipped and reported by [`MetricsSnapshot::warnings`].
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Series>, ReadError> {
        let memory = self.memory.lock();
        let mut found = Vec::new();
        for (id, (labels, samples)) in memory.series.iter().enumerate() {
            let n = samples
                .range(range.after.saturating_add(1)..=range.until.max(range.after.saturating_add(1)))
                .count() as u64;
            if n > 0 && matchers.iter().all(|m| m.matches(labels.get(&m.name))) {
                found.push(Series { labels: labels.clone(), sample_count_estimate: n, id: id as u32 });
            }
        }
        Ok(found)
    }

    /// Replaces the content of `samples` by the series' samples in `range`; a series may turn out to have none.
    pub fn read(
        &self,
        series: &Series,
        range: TimeRange,
        samples: &mut SampleBuffer,
    ) -> Result<(), ReadError> {
        samples.clear();
        for (&t, value) in &self.memory.lock().series[series.id as usize].1 {
            match value {
                _ if !range.contains(t) => {}
                crate::model::Value::Float(v) => {
                    samples.float_timestamps.push(t);
                    samples.floats.push(*v);
                }
                crate::model::Value::Histogram(h) => {
                    samples.histogram_timestamps.push(t);
                    samples.histograms.push(h.clone());
                }
            }
        }
        Ok(())
    }

    /// Sorted names of the labels on series that match (all series, if no matcher is given).
    pub fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<String>, ReadError> {
        let series = self.select(matchers, range)?;
        let names: std::collections::BTreeSet<_> =
            series.iter().flat_map(|s| s.labels.iter().map(|l| l.0.to_owned())).collect();
        Ok(names.into_iter().collect())
    }

    /// Sorted values of one label on series that match.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<String>, ReadError> {
        let series = self.select(matchers, range)?;
        let values: std::collections::BTreeSet<_> =
            series.iter().map(|s| s.labels.get(name).to_owned()).filter(|v| !v.is_empty()).collect();
        Ok(values.into_iter().collect())
    }

    pub fn exemplars(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<Vec<SeriesExemplars>, ReadError> {
        let memory = self.memory.lock();
        let mut found = Vec::new();
        for (&id, exemplars) in &memory.exemplars {
            let labels = &memory.series[id as usize].0;
            if matchers.iter().all(|m| m.matches(labels.get(&m.name))) {
                let exemplars = exemplars.iter().filter(|e| range.contains(e.timestamp)).cloned().collect();
                found.push(SeriesExemplars { labels: labels.clone(), exemplars });
            }
        }
        Ok(found)
    }

    /// What is known of metric families, sorted by name.
    pub fn metadata(&self) -> Vec<(String, Vec<MetricMetadata>)> {
        self.memory.lock().metadata.clone().into_iter().collect()
    }

    /// Damage met while reading this snapshot: the answers lack what these segments held.
    pub fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}
