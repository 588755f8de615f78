//! What becomes of a request.

use super::options::BodyFormat;
use super::protobuf::WireError;
use crate::storage::Busy;

/// What became of an admissible request: the good rows are in the queues, the bad ones are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
    pub log_entries: u64,
    pub spans: u64,
    pub rejected: u64,
    /// The first few reasons, each naming what, where and the limit.
    pub reasons: Vec<String>,
    /// True if every reason will pass by waiting (a rate or series limit): the sender may retry.
    pub retryable: bool,
}

impl Outcome {
    /// What is a row of its own; exemplars come with their samples.
    pub fn rows(&self) -> u64 {
        self.samples + self.histograms + self.log_entries + self.spans
    }
}

/// Why a whole request was refused; nothing of it is stored. New series that stood before what is malformed count against the limit of
/// series until they are idle.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IngestError {
    #[error("decoded size {size} > {max} (--limits.max-decoded-bytes)")]
    TooLarge { size: u64, max: u64 },
    /// Of a format that does not declare its size.
    #[error("decompressed more than {} (--limits.max-decoded-bytes)", mebibytes(*max))]
    DecompressesTooFar { max: u64 },
    #[error("invalid {what} at byte {offset}: {reason}")]
    Malformed { what: &'static str, offset: usize, reason: String },
    /// What was said well, but is too much.
    #[error("invalid {what}: {reason}")]
    TooMuch { what: &'static str, reason: &'static str },
    /// JSON, but not the protocol's.
    #[error("{field} is not {expected}")]
    BadField { field: &'static str, expected: &'static str },
    #[error("no streams in the request: at least one is needed")]
    NoStreams,
    #[error(transparent)]
    Busy(#[from] Busy),
}

impl From<WireError> for IngestError {
    fn from(error: WireError) -> IngestError {
        IngestError::Malformed { what: "protobuf", offset: error.offset, reason: error.reason.to_owned() }
    }
}

impl BodyFormat {
    /// What is wrong with the protobuf that a body is, or was written as: then its bytes are not the sender's.
    pub(super) fn refusal(self, error: WireError) -> IngestError {
        match self {
            BodyFormat::Protobuf => error.into(),
            BodyFormat::Json => IngestError::TooMuch { what: "JSON", reason: error.reason },
        }
    }
}

/// A size as the limits are usually given.
fn mebibytes(bytes: u64) -> String {
    match bytes % (1 << 20) {
        0 => format!("{} MiB", bytes >> 20),
        _ => format!("{bytes} bytes"),
    }
}
