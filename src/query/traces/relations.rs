//! Spans that stand in a relation to others of their trace, all found in one walk over the tree.

use super::trace::{Trace, is_root};
use crate::query::traceql::ast::Relation;

/// Which spans of a trace are meant.
pub type Marks = Vec<bool>;

/// The spans that are a child, ancestor and so on of one of these.
pub fn related(trace: &Trace, relation: Relation, to: &Marks) -> Marks {
    let count = trace.spans.len();
    let parent = |span: usize| trace.tree.parent(span);
    match relation {
        Relation::Child => (0..count).map(|span| parent(span).is_some_and(|above| to[above])).collect(),
        Relation::Descendant => {
            let mut found = vec![false; count];
            // Parents come first, so what they know is known.
            for &span in &trace.tree.preorder {
                found[span] = parent(span).is_some_and(|above| to[above] || found[above]);
            }
            found
        }
        Relation::Parent => {
            let mut found = vec![false; count];
            (0..count).filter(|span| to[*span]).filter_map(parent).for_each(|above| found[above] = true);
            found
        }
        Relation::Ancestor => {
            let mut found = vec![false; count];
            for &span in trace.tree.preorder.iter().rev() {
                if let Some(above) = parent(span) {
                    found[above] |= to[span] || found[span];
                }
            }
            found
        }
        Relation::Sibling => siblings(trace, to),
    }
}

/// Those that name the same parent, be it there or not, as another one of these.
fn siblings(trace: &Trace, to: &Marks) -> Marks {
    let parent_id = |span: usize| trace.spans[span].span.parent_span_id.as_slice();
    let has_parent = |span: &usize| !is_root(&trace.spans[*span].span);
    let mut counts = std::collections::HashMap::new();
    for span in (0..to.len()).filter(|span| to[*span]).filter(has_parent) {
        *counts.entry(parent_id(span)).or_insert(0usize) += 1;
    }
    let others = |span: usize| counts.get(parent_id(span)).map_or(0, |count| count - usize::from(to[span]));
    (0..to.len()).map(|span| has_parent(&span) && others(span) > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::traces::fixture::{span, trace};

    /// 1 has 2 and 3; 2 has 4 and 5; 7 and 8 miss their parent.
    fn family() -> Trace {
        let parents = [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (7, 6), (8, 6)];
        trace(parents.iter().enumerate().map(|(i, (id, parent))| span(*id, *parent, i as u64, 99)).collect())
    }

    fn found(relation: Relation, to: &[usize]) -> Vec<usize> {
        let trace = family();
        let marks = (0..trace.spans.len()).map(|span| to.contains(&span)).collect();
        let found = related(&trace, relation, &marks);
        (0..found.len()).filter(|span| found[*span]).collect()
    }

    #[test]
    fn relatives_are_found_up_down_and_beside() {
        assert_eq!(found(Relation::Child, &[0]), [1, 2]);
        assert_eq!(found(Relation::Descendant, &[0]), [1, 2, 3, 4]);
        assert_eq!(found(Relation::Parent, &[3, 2]), [0, 1]);
        assert_eq!(found(Relation::Ancestor, &[4]), [0, 1]);
        assert_eq!(found(Relation::Sibling, &[3]), [4]);
        assert_eq!(found(Relation::Sibling, &[3, 4]), [3, 4]);
        assert_eq!(found(Relation::Sibling, &[5]), [6], "of a parent that has not come");
        assert_eq!(found(Relation::Sibling, &[0]), [] as [usize; 0]);
    }
}
