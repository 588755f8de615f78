//! The metric family that a text is telling of.

use crate::model::{MetricMetadata, MetricType};

#[derive(Default)]
pub struct Family {
    pub name: String,
    pub metadata: MetricMetadata,
}

impl Family {
    pub fn new(name: &str) -> Family {
        Family { name: name.to_owned(), metadata: MetricMetadata::default() }
    }

    /// What is known of a metric, if that is one of the family. Servers find the family by the name and the type, and
    /// know no names of gauge histograms but those of classic ones.
    pub fn metadata_of(&self, metric: &str) -> Option<&MetricMetadata> {
        let suffixes: &[&str] = match self.metadata.metric_type {
            MetricType::Counter => &["", "_total"],
            MetricType::Histogram => &["_bucket", "_count", "_sum"],
            MetricType::GaugeHistogram => &["_bucket"],
            MetricType::Summary => &["", "_count", "_sum"],
            MetricType::Info => &["", "_info"],
            MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => &[""],
        };
        let suffix = metric.strip_prefix(&self.name)?;
        (suffixes.contains(&suffix) && self.metadata != MetricMetadata::default()).then_some(&self.metadata)
    }

    /// Whether the family's metrics may say since when they count.
    pub fn tells_starts(&self) -> bool {
        matches!(self.metadata.metric_type, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
    }

    /// Whether a metric of this name is no metric, but says since when its family's count.
    pub fn has_start_in(&self, metric: &str) -> bool {
        self.tells_starts() && metric.strip_prefix(&self.name) == Some("_created")
    }
}
