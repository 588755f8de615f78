//! Reading: heads and segments of one instant.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;

use super::candidates::Candidates;
use super::condition::{AttributeScope, FieldValue, SpanCondition, SpanField};
use super::first_values::FirstValues;
use super::head::SpanHead;
use super::head_search;
use super::segment_reader::TracesSegment;
use super::segment_search::{self, Found};
use super::span::{Origin, StoredSpan};
use crate::model::{Lookout, NanoRange, StopSign, TimeRange, TraceId};
use crate::storage::errors::ReadError;

/// The spans at one instant. Drop it when the query ends.
pub struct TracesSnapshot {
    heads: Vec<Arc<SpanHead>>,
    segments: Vec<Arc<TracesSegment>>,
    warnings: Mutex<BTreeSet<String>>,
    pub(super) stop: StopSign,
}

impl TracesSnapshot {
    /// What could not be opened is a warning of every answer.
    pub fn new(
        heads: Vec<Arc<SpanHead>>,
        segments: impl IntoIterator<Item = Result<Arc<TracesSegment>, ReadError>>,
    ) -> TracesSnapshot {
        let (segments_open, warnings, stop) = (Vec::new(), Mutex::default(), StopSign::never());
        let mut snapshot = TracesSnapshot { heads, segments: segments_open, warnings, stop };
        for segment in segments {
            match segment {
                Ok(segment) => snapshot.segments.push(segment),
                Err(error) => snapshot.warn(&error),
            }
        }
        snapshot
    }

    /// The same, for a reader that may have had enough: what is found while the sign is up means nothing.
    pub fn until(self, stop: StopSign) -> TracesSnapshot {
        TracesSnapshot { stop, ..self }
    }

    /// For loops over what was read.
    pub fn lookout(&self) -> Lookout<'_> {
        Lookout::new(&self.stop)
    }

    /// The spans of a trace by their start; empty if there are none. What was sent twice, the same in every byte, is here
    /// once.
    pub fn trace(&self, id: TraceId) -> Result<Vec<StoredSpan>, ReadError> {
        let (mut spans, lookout) = (Vec::new(), self.lookout());
        for segment in &self.segments {
            if let Err(error) = segment.trace(id, &lookout, &mut spans) {
                self.warn(&error.into());
            }
        }
        for head in &self.heads {
            for (encoded, origin) in head.trace(id) {
                if lookout.gives_up_before(encoded.len()) {
                    break;
                }
                let span = Span::decode(&*encoded).expect("receivers and replay check what they hand over");
                spans.push(StoredSpan { origin, span });
            }
        }
        settle(&mut spans);
        Ok(spans)
    }

    /// Traces with a span that overlaps `range` and, as far as storage can tell, meets all conditions of one of the lists; the
    /// newest first. An empty list of conditions is met by every span; without any list nothing is found.
    /// Where the sign is up they may end before they should.
    pub fn candidates<'s>(&'s self, range: NanoRange, any_of: &'s [Vec<SpanCondition>]) -> Candidates<'s> {
        let (mut found, lookout) = (Vec::new(), self.lookout());
        for head in &self.heads {
            head_search::candidates(head, range, any_of, &lookout, &mut found);
        }
        Candidates::new(self, self.segments_in(range), found, range, any_of)
    }

    /// Sorted keys of the attributes that spans in `range` have, and perhaps some of those near it.
    pub fn attribute_keys(&self, range: NanoRange, scope: AttributeScope) -> Result<Vec<String>, ReadError> {
        let segments = self.segments_in(range);
        let parts = self.with_warnings(segment_search::keys(&segments, range, scope, &self.stop));
        let mut keys: BTreeSet<String> = parts.into_iter().flatten().collect();
        let lookout = self.lookout();
        self.heads.iter().for_each(|head| head_search::keys(head, range, scope, &lookout, &mut keys));
        Ok(keys.into_iter().collect())
    }

    /// Values of a field on spans in `range`, sorted; the first `limit` of them where there are more.
    pub fn values(
        &self,
        field: &SpanField,
        range: NanoRange,
        limit: usize,
    ) -> Result<Vec<FieldValue>, ReadError> {
        self.values_where(field, &[], range, limit)
    }

    /// Sorted names of the services that sent spans in `range`.
    pub fn services(&self, range: NanoRange) -> Result<Vec<String>, ReadError> {
        let key = super::span::SERVICE_NAME.to_owned();
        let field = SpanField::Attribute { scope: AttributeScope::Resource, key };
        Ok(texts(self.values(&field, range, usize::MAX)?))
    }

    /// Sorted names of a service's spans in `range`.
    pub fn operations(&self, service: &str, range: NanoRange) -> Result<Vec<String>, ReadError> {
        let of_service = [SpanCondition::service(service)];
        Ok(texts(self.values_where(&SpanField::Name, &of_service, range, usize::MAX)?))
    }

    /// Values of a field on spans in `range` that meet all conditions.
    fn values_where(
        &self,
        field: &SpanField,
        conditions: &[SpanCondition],
        range: NanoRange,
        limit: usize,
    ) -> Result<Vec<FieldValue>, ReadError> {
        let segments = self.segments_in(range);
        let parts = segment_search::values(&segments, range, field, conditions, limit, &self.stop);
        let parts = self.with_warnings(parts);
        let mut values = FirstValues::new(limit);
        let sorted = parts.into_iter().flat_map(FirstValues::into_sorted);
        sorted.for_each(|value| values.add(value.as_ref()));
        let lookout = self.lookout();
        for head in &self.heads {
            head_search::values(head, range, field, conditions, &lookout, &mut values);
        }
        Ok(values.into_sorted())
    }

    /// Damage met while reading this snapshot: the answers lack what these segments held.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().iter().cloned().collect()
    }

    fn segments_in(&self, range: NanoRange) -> Vec<Arc<TracesSegment>> {
        let overlaps = |segment: &&Arc<TracesSegment>| {
            let meta = segment.meta();
            TimeRange::closed(meta.min_time, meta.max_time).overlaps(&range.to_millis())
        };
        self.segments.iter().filter(overlaps).cloned().collect()
    }

    /// Damage costs what it hit, not the query: it is noted and the rest goes on.
    pub(super) fn with_warnings<T>(&self, found: Found<T>) -> Vec<T> {
        found.damage.into_iter().for_each(|error| self.warn(&error.into()));
        found.found
    }

    fn warn(&self, error: &ReadError) {
        self.warnings.lock().insert(error.to_string());
    }
}

fn texts(values: Vec<FieldValue>) -> Vec<String> {
    let text = |value| if let FieldValue::Text(text) = value { Some(text) } else { None };
    values.into_iter().filter_map(text).collect()
}

/// By start, each span once. Compared as bytes, so that a NaN is the same as itself.
fn settle(spans: &mut Vec<StoredSpan>) {
    spans.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut is_first = Vec::with_capacity(spans.len());
    for same_place in spans.chunk_by(|a, b| order(a) == order(b)) {
        if same_place.len() == 1 {
            is_first.push(true);
            continue;
        }
        // A sender that gives all its spans one id must not cost the square of their number.
        let mut origins: HashMap<Vec<u8>, Vec<&Arc<Origin>>, RandomState> = HashMap::default();
        for span in same_place {
            let seen = origins.entry(span.span.encode_to_vec()).or_default();
            let is_new = !seen.iter().any(|other| Arc::ptr_eq(other, &span.origin) || **other == span.origin);
            if is_new {
                seen.push(&span.origin);
            }
            is_first.push(is_new);
        }
    }
    let mut is_first = is_first.into_iter();
    spans.retain(|_| is_first.next().expect("one for each span"));
}

fn order(span: &StoredSpan) -> (u64, &[u8]) {
    (span.span.start_time_unix_nano, &span.span.span_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::traces::SpansWriter;
    use crate::storage::traces::test_spans::{any_span, rows};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_head_gives_back_the_spans_of_a_trace(sent in prop::collection::vec((any_span(), 0..2usize), 1..40)) {
            let head = Arc::new(SpanHead::new());
            let mut writer = SpansWriter::new(head.clone());
            for (span, service) in &sent {
                writer.append(rows(["a", "b"][*service], std::slice::from_ref(span)), &mut Vec::new());
            }
            let snapshot = TracesSnapshot::new(vec![head], []);
            for trace in 1..9u8 {
                let found = snapshot.trace(TraceId([trace; 16])).unwrap();
                let mut expected: Vec<_> = sent.iter().filter(|(s, _)| s.trace_id == [trace; 16]).collect();
                expected.sort_by_key(|(span, service)| {
                    (span.start_time_unix_nano, span.span_id.clone(), *service, span.encode_to_vec())
                });
                expected.dedup_by_key(|(span, service)| (span.encode_to_vec(), *service));
                prop_assert_eq!(found.len(), expected.len());
                for (span, service) in expected {
                    prop_assert!(found.iter().any(|f| f.span.encode_to_vec() == span.encode_to_vec()
                        && f.origin.service_name() == Some(["a", "b"][*service])));
                }
                prop_assert!(found.is_sorted_by_key(|f| f.start()));
            }
        }
    }
}
