//! Samples of series: the metrics room of the storage hall.

mod batch;
mod changes;
mod deltas;
mod flush;
mod found;
mod head;
mod holders;
mod kept_order;
mod label_order;
pub(in crate::storage) mod log;
mod merge;
mod merged_index;
mod packed_labels;
mod parts;
mod postings;
mod registered_index;
mod registry;
mod rollup;
mod rollup_columns;
mod sample_buffer;
mod sealed_series;
mod segment_layout;
mod segment_reader;
mod segment_writer;
mod snapshot;
mod stream;
mod symbols;
mod tiers;
mod united;
mod visible;
mod walk;
mod words;
mod writer;
mod written_index;

#[cfg(test)]
mod rollup_tests;
#[cfg(test)]
pub(in crate::storage) mod segment_tests;
#[cfg(test)]
mod tiers_tests;

pub use batch::{
    DeltaHistogramRow, DeltaRow, ExemplarRow, HistogramRow, MetricBatch, MetricRows, SampleRow, StartRow,
};
pub use changes::{Changes, Mark};
pub(in crate::storage) use deltas::DeltaTotals;
pub(in crate::storage) use flush::{merge_segments, write_generation};
pub(in crate::storage) use head::Head;
pub(in crate::storage) use log::LoggedRows;
pub(in crate::storage) use registry::SharedRegistry;
pub use rollup::{RollUp, RolledUp, roll_up};
pub use sample_buffer::{SampleBuffer, SeenTimes, Whole};
pub(in crate::storage) use sealed_series::SealedSeries;
pub use segment_layout::section_name;
pub use segment_reader::{BlockSummary, MetricsSegment, SeriesCursor, StatesSummary};
pub use segment_writer::{MetricsSegmentWriter, SeriesData};
pub use snapshot::{MetricsSnapshot, Series, SeriesExemplars};
pub use tiers::{ReadPlan, Reading, Stretch, TierCounts};
pub use visible::{Cause, VisibleSegment};
pub(in crate::storage) use writer::{MetricsWriter, SharedMetadata, WriterCounters};

/// A registered series: its shard and its id there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef {
    pub shard: u32,
    pub id: u32,
}

/// Why a new series was not registered. Existing series are still written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("series limit {max} reached (--limits.max-series); existing series are still written")]
    SeriesLimit { max: usize },
    #[error(
        "more than {per_second} new series a second after a burst of {burst} (--limits.new-series-per-second); existing series are still written"
    )]
    SeriesRate { per_second: u64, burst: u64 },
}
