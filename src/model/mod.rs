//! The nouns of the domain: time, labels, matchers, samples. No I/O, no serde, no protobuf.

pub mod histogram;
pub mod labels;
pub mod matcher;
pub mod metrics;
pub mod re2;
pub mod regex;
pub mod sum;
pub mod time;

pub use histogram::Histogram;
pub use labels::{Labels, LabelsBuilder};
pub use matcher::{MatchOp, Matcher, RegexCache, RegexError};
pub use metrics::{Exemplar, MetricMetadata, MetricType, Value};
pub use sum::CompensatedSum;
pub use time::{TimeRange, Timestamp};
