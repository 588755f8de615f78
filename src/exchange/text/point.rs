//! The samples of one metric at one instant: they wait for the line that may say since when they count, `_created`.

use std::rc::Rc;

use super::family::Family;
use super::series::Series;
use crate::exchange::Batch;
use crate::model::{Exemplar, Labels, Timestamp};

/// A histogram has some ten buckets; what has more of them, or longer labels, goes on without its start.
const SAMPLES_MAX: usize = 4_096;
const TEXT_BYTES_MAX: usize = 4 << 20;

pub struct HeldSample {
    pub series: Rc<Series>,
    pub timestamp: Timestamp,
    pub value: f64,
    pub exemplar: Option<Exemplar>,
}

impl HeldSample {
    pub fn give(&self, start: Timestamp, family: &Family, batch: &mut Batch) {
        let labels = &self.series.labels;
        batch.float(labels, self.timestamp, self.value, start);
        if let Some(metadata) = family.metadata_of(self.series.name()) {
            batch.metadata(metadata);
        }
        if let Some(exemplar) = &self.exemplar {
            batch.exemplar(labels, exemplar);
        }
    }
}

#[derive(Default)]
pub struct Point {
    labels: Labels,
    timestamp: Timestamp,
    samples: Vec<HeldSample>,
    /// Of the labels of its samples and exemplars.
    text_bytes: usize,
    /// 0 as long as none was told.
    pub start: Timestamp,
}

impl Point {
    /// Gives what it holds to the batch, unless that is of the same metric at the same instant.
    pub fn begin(&mut self, labels: &Labels, timestamp: Timestamp, family: &Family, batch: &mut Batch) {
        let goes_on = self.timestamp == timestamp && self.labels == *labels;
        if goes_on && self.samples.len() < SAMPLES_MAX && self.text_bytes < TEXT_BYTES_MAX {
            return;
        }
        self.flush(family, batch);
        (self.labels, self.timestamp) = (labels.clone(), timestamp);
    }

    pub fn hold(&mut self, sample: HeldSample) {
        let of_exemplar = sample.exemplar.as_ref().map_or(0, |exemplar| exemplar.labels.text_len());
        self.text_bytes += sample.series.labels.text_len() + of_exemplar;
        self.samples.push(sample);
    }

    pub fn flush(&mut self, family: &Family, batch: &mut Batch) {
        self.samples.drain(..).for_each(|sample| sample.give(self.start, family, batch));
        (self.start, self.text_bytes) = (0, 0);
    }
}
