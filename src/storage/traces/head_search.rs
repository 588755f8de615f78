//! Looking through the spans of a head: every span is taken apart, since what is not sealed yet is little.

use std::collections::BTreeSet;

use super::condition::{AttributeScope, SpanCondition, SpanField, ValueRef};
use super::first_values::FirstValues;
use super::head::SpanHead;
use super::span::Origin;
use super::view::SpanView;
use crate::model::{Lookout, NanoRange, Nanos, TraceId};

/// Calls `visit` for the spans that overlap `range`, until the lookout gives up.
fn for_each_span(
    head: &SpanHead,
    range: NanoRange,
    lookout: &Lookout<'_>,
    mut visit: impl FnMut(&SpanView<'_>, &Origin),
) {
    if !head.time_range().overlaps(&range.to_millis()) {
        return;
    }
    let rows = head.all_rows();
    for (row, encoded) in rows.chunks.iter().flat_map(|chunk| chunk.rows()) {
        if lookout.gives_up_before(encoded.len()) {
            return;
        }
        if !NanoRange::closed(row.start, row.end.max(row.start)).overlaps(&range) {
            continue;
        }
        let span = SpanView::parse(encoded).expect("receivers and replay check what they hand over");
        visit(&span, &rows.origins[row.origin as usize].decoded);
    }
}

/// Adds the traces with a span that overlaps `range` and meets all conditions of one of the lists, each with the
/// earliest start of its spans.
pub(super) fn candidates(
    head: &SpanHead,
    range: NanoRange,
    any_of: &[Vec<SpanCondition>],
    lookout: &Lookout<'_>,
    found: &mut Vec<(TraceId, Nanos)>,
) {
    let mut ids = BTreeSet::new();
    for_each_span(head, range, lookout, |span, origin| {
        if !ids.contains(&span.trace_id)
            && any_of.iter().any(|conditions| conditions.iter().all(|c| span.meets(c, origin, lookout)))
        {
            ids.insert(span.trace_id);
        }
    });
    found.extend(ids.into_iter().filter_map(|id| Some((id, head.first_start(id)?))));
}

pub(super) fn keys(
    head: &SpanHead,
    range: NanoRange,
    scope: AttributeScope,
    lookout: &Lookout<'_>,
    keys: &mut BTreeSet<String>,
) {
    let mut add = |key: &str| {
        if !keys.contains(key) {
            keys.insert(key.to_owned());
        }
    };
    for_each_span(head, range, lookout, |span, origin| {
        let of_span = span.attributes.iter().filter(|_| scope.holds_span()).map(|a| a.key);
        of_span.for_each(&mut add);
        origin.attributes(scope).iter().for_each(|a| add(&a.key));
    });
}

/// Adds the values of a field on spans that overlap `range` and meet all conditions.
pub(super) fn values(
    head: &SpanHead,
    range: NanoRange,
    field: &SpanField,
    conditions: &[SpanCondition],
    lookout: &Lookout<'_>,
    values: &mut FirstValues,
) {
    for_each_span(head, range, lookout, |span, origin| {
        if !conditions.iter().all(|c| span.meets(c, origin, lookout)) {
            return;
        }
        match field {
            SpanField::Attribute { scope, key } => {
                let of_span = span.attributes.iter().filter(|a| scope.holds_span() && a.key == key);
                let of_origin = origin.attributes(*scope).iter().filter(|a| a.key == *key);
                of_span.for_each(|a| a.value.show(|value| value.into_iter().for_each(|v| values.add(v))));
                of_origin.filter_map(ValueRef::of).for_each(|value| values.add(value));
            }
            field => values.add(span.intrinsic(field)),
        }
    });
}
