//! A whole trace: its spans by start, and the tree they form.
//!
//! What senders say about parents need not make a tree: parents are missing, or were never sent, or go round in a
//! circle. A span whose parent is not there stands at the top; a circle is cut at its earliest span.

use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::model::{Nanos, TraceId};
use crate::query::traceql::Status;
use crate::storage::traces::{Origin, StoredSpan};

/// At least one span. Indices of spans are those of `spans`.
pub struct Trace {
    pub id: TraceId,
    /// By start, then as they were given.
    pub spans: Vec<StoredSpan>,
    pub tree: Tree,
    /// The earliest span that names no parent.
    pub root: Option<usize>,
    pub start: Nanos,
    pub end: Nanos,
}

impl Trace {
    /// `None` without spans.
    pub fn new(id: TraceId, mut spans: Vec<StoredSpan>) -> Option<Trace> {
        spans.sort_by_key(|span| span.span.start_time_unix_nano);
        let start = spans.first()?.start();
        let end = spans.iter().map(|span| span.start().saturating_add(span.duration_ns())).max()?;
        let root = spans.iter().position(|span| is_root(&span.span));
        let tree = Tree::new(spans.iter().map(|span| &span.span));
        Some(Trace { id, spans, tree, root, start, end })
    }

    pub fn duration_ns(&self) -> i64 {
        self.end.saturating_sub(self.start)
    }

    pub fn root_name(&self) -> Option<&str> {
        self.root.map(|root| self.spans[root].span.name.as_str())
    }

    /// `None` without a root; a root whose resource has no name has `""`.
    pub fn root_service(&self) -> Option<&str> {
        self.root.map(|root| self.spans[root].origin.service_name().unwrap_or(""))
    }
}

impl Trace {
    /// As OTLP sends it: spans that come from one place together, by start.
    pub fn into_resource_spans(self) -> Vec<ResourceSpans> {
        let mut groups: Vec<(Arc<Origin>, Vec<Span>)> = Vec::new();
        let mut by_address: HashMap<*const Origin, usize> = HashMap::new();
        let mut by_content: HashMap<Vec<u8>, usize> = HashMap::new();
        for StoredSpan { origin, span } in self.spans {
            let group = *by_address.entry(Arc::as_ptr(&origin)).or_insert_with(|| {
                // Two sources have an origin of their own each, and both say the same.
                let content = without_spans(&origin).encode_to_vec();
                *by_content.entry(content).or_insert_with(|| {
                    groups.push((origin.clone(), Vec::new()));
                    groups.len() - 1
                })
            });
            groups[group].1.push(span);
        }
        let filled = |(origin, spans): (Arc<Origin>, Vec<Span>)| {
            let mut group = without_spans(&origin);
            group.scope_spans[0].spans = spans;
            group
        };
        groups.into_iter().map(filled).collect()
    }
}

fn without_spans(origin: &Origin) -> ResourceSpans {
    let scope_spans = ScopeSpans {
        scope: Some(origin.scope.clone()),
        spans: Vec::new(),
        schema_url: origin.scope_schema_url.clone(),
    };
    ResourceSpans {
        resource: Some(origin.resource.clone()),
        scope_spans: vec![scope_spans],
        schema_url: origin.resource_schema_url.clone(),
    }
}

/// A span without a parent is a root; some senders write eight zeros for none.
pub fn is_root(span: &Span) -> bool {
    span.parent_span_id.iter().all(|&b| b == 0)
}

pub fn status(span: &Span) -> Status {
    span.status.as_ref().map_or(Status::Unset, |status| Status::from_code(status.code))
}

/// Who is whose parent: a forest, walked once.
pub struct Tree {
    /// The span above; `None` at a top.
    parents: Vec<Option<usize>>,
    children: Vec<u32>,
    /// All spans, parents before children, children by start.
    pub preorder: Vec<usize>,
    /// Where in `preorder` each span is, and where what is below it ends.
    places: Vec<(usize, usize)>,
    nested_sets: Vec<NestedSet>,
}

/// Tempo's numbers of a span: its subtree is what lies between left and right. Zeros for spans that no root leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NestedSet {
    pub left: i64,
    pub right: i64,
    /// The left of the span above; -1 at a root.
    pub parent: i64,
}

impl Tree {
    fn new<'s>(spans: impl Iterator<Item = &'s Span>) -> Tree {
        let spans: Vec<&Span> = spans.collect();
        let mut by_id: HashMap<&[u8], usize> = HashMap::with_capacity(spans.len());
        for (i, span) in spans.iter().enumerate() {
            by_id.entry(&span.span_id).or_insert(i);
        }
        let parent_of = |(i, span): (usize, &&Span)| {
            if is_root(span) {
                None
            } else {
                by_id.get(&span.parent_span_id[..]).copied().filter(|p| *p != i)
            }
        };
        let parents: Vec<Option<usize>> = spans.iter().enumerate().map(parent_of).collect();
        let mut below: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
        for (i, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent {
                below[*parent].push(i);
            }
        }
        let mut tree = Tree {
            children: below.iter().map(|children| children.len() as u32).collect(),
            preorder: Vec::with_capacity(spans.len()),
            places: vec![(usize::MAX, 0); spans.len()],
            nested_sets: vec![NestedSet::default(); spans.len()],
            parents,
        };
        let mut counter = 0;
        for (i, _) in spans.iter().enumerate().filter(|(_, span)| is_root(span)) {
            tree.walk(i, &below, Some(&mut counter));
        }
        for i in 0..spans.len() {
            if tree.parents[i].is_none() {
                tree.walk(i, &below, None);
            }
        }
        // What is left goes round in circles.
        for i in 0..spans.len() {
            if !tree.is_placed(i) {
                tree.parents[i] = None;
                tree.walk(i, &below, None);
            }
        }
        tree
    }

    fn is_placed(&self, span: usize) -> bool {
        self.places[span].0 != usize::MAX
    }

    /// Places a span and all below it; counts the numbers of nested sets on, where there are any.
    fn walk(&mut self, top: usize, below: &[Vec<usize>], mut counter: Option<&mut i64>) {
        if self.is_placed(top) {
            return;
        }
        let count = |counter: &mut Option<&mut i64>| {
            counter.as_deref_mut().map_or(0, |counter| {
                *counter += 1;
                *counter
            })
        };
        // A span and how many of its children have been walked.
        let mut path = vec![(top, 0)];
        self.enter(top, count(&mut counter), if counter.is_some() { -1 } else { 0 });
        while let Some((span, walked)) = path.last_mut() {
            let (span, next) = (*span, below[*span].get(*walked));
            *walked += 1;
            match next {
                Some(child) if self.is_placed(*child) => {}
                Some(child) => {
                    self.enter(*child, count(&mut counter), self.nested_sets[span].left);
                    path.push((*child, 0));
                }
                None => {
                    self.nested_sets[span].right = count(&mut counter);
                    self.places[span].1 = self.preorder.len();
                    path.pop();
                }
            }
        }
    }

    fn enter(&mut self, span: usize, left: i64, parent: i64) {
        self.places[span].0 = self.preorder.len();
        self.preorder.push(span);
        self.nested_sets[span] = NestedSet { left, right: 0, parent };
    }

    pub fn parent(&self, span: usize) -> Option<usize> {
        self.parents[span]
    }

    pub fn child_count(&self, span: usize) -> i64 {
        self.children[span].into()
    }

    pub fn nested_set(&self, span: usize) -> NestedSet {
        self.nested_sets[span]
    }

    /// Where in `preorder` the spans below this one are.
    pub fn below(&self, span: usize) -> std::ops::Range<usize> {
        let (place, end) = self.places[span];
        place + 1..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::traces::fixture::{span, trace};

    fn nested(trace: &Trace, i: usize) -> (i64, i64, i64) {
        let set = trace.tree.nested_set(i);
        (set.left, set.right, set.parent)
    }

    #[test]
    fn nested_sets_number_the_tree_from_its_root() {
        // 1 is the root of 2 (with 4) and 3; 6 misses its parent.
        let trace = trace(vec![
            span(1, 0, 0, 9),
            span(2, 1, 1, 5),
            span(3, 1, 2, 3),
            span(4, 2, 3, 4),
            span(6, 5, 4, 5),
        ]);
        let sets: Vec<_> = (0..5).map(|i| nested(&trace, i)).collect();
        assert_eq!(sets, [(1, 8, -1), (2, 5, 1), (6, 7, 1), (3, 4, 2), (0, 0, 0)]);
        assert_eq!(trace.tree.preorder, [0, 1, 3, 2, 4]);
        assert_eq!(trace.tree.below(0), 1..4);
        assert_eq!([0, 1, 4].map(|i| trace.tree.child_count(i)), [2, 1, 0]);
        assert_eq!((trace.start, trace.end, trace.root), (0, 9, Some(0)));
    }

    #[test]
    fn circles_and_spans_that_are_their_own_parents_are_cut() {
        let trace = trace(vec![span(1, 3, 0, 1), span(2, 1, 1, 2), span(3, 2, 2, 3), span(4, 4, 3, 4)]);
        assert_eq!(trace.tree.preorder, [3, 0, 1, 2]);
        assert_eq!([0, 1, 2, 3].map(|i| trace.tree.parent(i)), [None, Some(0), Some(1), None]);
        assert_eq!(trace.root, None);
    }

    #[test]
    fn of_two_spans_with_one_id_the_earlier_has_the_children() {
        let trace = trace(vec![span(1, 0, 0, 1), span(1, 0, 1, 2), span(2, 1, 2, 3)]);
        assert_eq!(trace.tree.parent(2), Some(0));
        assert_eq!(nested(&trace, 1), (5, 6, -1));
    }
}
