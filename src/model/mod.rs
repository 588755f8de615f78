//! The nouns of the domain: time, labels, matchers, samples, ids of traces. No I/O, no serde, no protobuf.

pub mod bounded_regex;
pub mod histogram;
pub mod labels;
pub mod line_filter;
pub mod line_regex;
pub mod matcher;
pub mod metrics;
pub mod nanos;
pub mod re2;
pub mod regex;
mod regex_cache;
pub mod rollup;
pub mod stop;
pub mod sum;
pub mod threads;
pub mod time;
pub mod traces;

pub use histogram::Histogram;
pub use labels::{Labels, LabelsBuilder};
pub use line_filter::{LineFilter, LinePattern};
pub use matcher::{MatchOp, Matcher, RegexCache, RegexError};
pub use metrics::{Exemplar, MetricMetadata, MetricType, Value};
pub use nanos::{NanoRange, Nanos};
pub use stop::{Asker, Lookout, StopSign};
pub use sum::CompensatedSum;
pub use threads::thread_count;
pub use time::{TimeRange, Timestamp};
pub use traces::{SpanId, TraceId};
