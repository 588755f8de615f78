//! Native histograms: exponential or custom buckets with float counts.

/// What is known about counter resets between a histogram and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ResetHint {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

/// A run of `length` consecutive buckets, `offset` buckets after the end of the run before it (or, for the
/// first run, the index of its first bucket).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

/// The schema of histograms whose bounds are listed one by one.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// One native histogram sample. `schema` -4..=8: bucket `i` holds observations in
/// `(2^((i-1)/2^schema), 2^(i/2^schema)]`; [`CUSTOM_BUCKETS_SCHEMA`]: bucket `i` ends at `custom_bounds[i]`.
/// Counts are absolute, one per bucket of the spans. A stale histogram is one whose sum is the stale marker.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    pub hint: ResetHint,
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub positive_buckets: Vec<f64>,
    pub negative_spans: Vec<Span>,
    pub negative_buckets: Vec<f64>,
    pub custom_bounds: Vec<f64>,
    /// True where the sender counted in integers; kept so that it can be told again.
    pub is_integer: bool,
}
