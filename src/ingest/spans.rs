//! Spans on their way in: admitted or refused one by one, and kept as the bytes they came in.

use crate::model::{SpanId, Timestamp, TraceId};
use crate::storage::traces::SpanBatch;

use super::admission::{Echo, Reason, Rejection, Window};
use super::refusals::Refusals;
use super::{Options, Outcome};

/// What is checked of a span and not of its shape.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SpanHead<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_span_id: &'a [u8],
    pub name: &'a [u8],
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    pub end: u64,
}

pub(super) struct SpanIntake<'a> {
    options: &'a Options,
    window: Window,
    batch: SpanBatch,
    /// Where the spans that follow come from, encoded.
    origin: Vec<u8>,
    /// The place of `origin` in each shard that has a span of it.
    origin_places: Vec<Option<u32>>,
    span_count: u64,
    pub refusals: Refusals,
}

impl<'a> SpanIntake<'a> {
    pub fn new(options: &'a Options, shard_count: usize, now: Timestamp) -> SpanIntake<'a> {
        SpanIntake {
            options,
            window: Window::new(now, options.behind_max_ms.traces, options.ahead_max_ms),
            batch: SpanBatch::new(shard_count),
            origin: Vec::new(),
            origin_places: vec![None; shard_count],
            span_count: 0,
            refusals: Refusals::default(),
        }
    }

    /// Spans that follow come from here: an encoded `ResourceSpans` without spans.
    pub fn set_origin(&mut self, origin: &[u8]) {
        if self.origin != origin {
            origin.clone_into(&mut self.origin);
            self.origin_places.fill(None);
        }
    }

    /// Admits a span, of which `encoded` was found to be well shaped, or refuses it alone.
    pub fn span(&mut self, head: &SpanHead<'_>, encoded: &[u8]) {
        if let Err(rejection) = self.admit(head, encoded) {
            self.refusals.refuse(rejection, 1);
        }
    }

    fn admit(&mut self, head: &SpanHead<'_>, encoded: &[u8]) -> Result<(), Rejection> {
        let bytes_max = self.options.span_bytes_max;
        if encoded.len() > bytes_max {
            let message = format!(
                "span \"{}\" {} B > {bytes_max} (--limits.max-span-bytes)",
                Echo(head.name),
                encoded.len()
            );
            return Err(Rejection::new(Reason::SpanBytes, message));
        }
        let bad_id = |which, wanted, id: &[u8]| {
            let found = match id.len() {
                len if len == wanted => "only zeros".to_owned(),
                len => format!("{len} bytes"),
            };
            let message = format!("{which} of span \"{}\" is {found}, not {wanted} bytes", Echo(head.name));
            Rejection::new(Reason::SpanIds, message)
        };
        let trace_id =
            TraceId::from_bytes(head.trace_id).ok_or_else(|| bad_id("trace id", 16, head.trace_id))?;
        SpanId::from_bytes(head.span_id).ok_or_else(|| bad_id("span id", 8, head.span_id))?;
        // All zeros is how some say that there is no parent.
        if !matches!(head.parent_span_id.len(), 0 | 8) {
            return Err(bad_id("parent span id", 8, head.parent_span_id));
        }
        let start = self.window.admit_nanos(head.start)?;
        if head.end < head.start {
            let message = format!("span \"{}\" ends before it starts", Echo(head.name));
            return Err(Rejection::new(Reason::SpanTimes, message));
        }
        let end = self.window.admit_nanos(head.end)?;
        self.push(trace_id, start, end, encoded);
        Ok(())
    }

    fn push(&mut self, trace_id: TraceId, start: i64, end: i64, encoded: &[u8]) {
        let shard = self.batch.shard_of(trace_id);
        let rows = &mut self.batch.shards[shard];
        let place = *self.origin_places[shard].get_or_insert_with(|| {
            rows.origins.push(self.origin.clone());
            rows.origins.len() as u32 - 1
        });
        rows.push(trace_id, place, start, end, encoded);
        self.span_count += 1;
    }

    /// What was admitted, and what was refused.
    pub fn finish(self) -> (SpanBatch, Outcome, Refusals) {
        let outcome = Outcome { spans: self.span_count, ..Outcome::default() };
        (self.batch, outcome, self.refusals)
    }
}
