//! `a or b or c`: all series of the first operand, and of each later one what no operand before it has at that step.
//!
//! A chain of them is one operator: were it one for each `or`, the last would number the series of all operands, the
//! one before it those of all but one, and so on.

use crate::query::QueryError;
use crate::query::promql::ast::VectorMatching;

use super::announced::Announced;
use super::context::{Context, Held};
use super::matching::Signatures;
use super::row::{OutputSeries, Row};
use super::source::{BoxedSource, Source};
use super::step_set::StepSet;

pub struct Union<'q> {
    operands: std::vec::IntoIter<Operand<'q>>,
    current: Option<Operand<'q>>,
    announced: Announced<'q>,
    /// For each match group that several operands have series of, the steps at which those before the current one have some.
    taken: Vec<StepSet>,
    /// The same with the current one, as far as it was read: series of one operand do not stand in each other's way.
    present: Vec<StepSet>,
    _held: Held<'q>,
}

struct Operand<'q> {
    source: BoxedSource<'q>,
    /// Which of the shared match groups each of its series belongs to; `None` where no other operand has any of its group.
    shared_groups: std::vec::IntoIter<Option<usize>>,
}

impl<'q> Union<'q> {
    pub fn new(
        context: &'q Context<'q>,
        matching: &VectorMatching,
        sources: Vec<BoxedSource<'q>>,
        steps: usize,
    ) -> Result<Union<'q>, QueryError> {
        let mut signatures = Signatures::new(context, matching);
        let mut announced = Announced::none(context);
        let mut groups = Vec::with_capacity(sources.len());
        for source in &sources {
            groups.push(signatures.number(source.series())?);
            for series in source.series() {
                announced.push_made_from(&series.labels, series.clone())?;
            }
        }
        let (numbers, shared_count) = number_shared(&groups, signatures.len());
        drop(signatures);
        let _held = context.hold((2 * shared_count * (size_of::<StepSet>() + steps / 8)) as u64)?;
        let operand = |(source, groups): (_, Vec<usize>)| {
            let shared_groups: Vec<_> = groups.into_iter().map(|group| numbers[group]).collect();
            Operand { source, shared_groups: shared_groups.into_iter() }
        };
        let mut operands = sources.into_iter().zip(groups).map(operand).collect::<Vec<_>>().into_iter();
        let current = operands.next();
        let taken = vec![StepSet::new(steps); shared_count];
        Ok(Union { operands, current, announced, present: taken.clone(), taken, _held })
    }

    /// Takes the next row of its operand; answers with its shared group.
    fn take(&mut self, row: &mut Row) -> Result<Option<usize>, QueryError> {
        loop {
            let current = self.current.as_mut().expect("no more series are asked for than were announced");
            if let Some(shared_group) = current.shared_groups.next() {
                current.source.next(row)?;
                return Ok(shared_group);
            }
            self.current = self.operands.next();
            self.taken.clone_from(&self.present);
        }
    }
}

/// The operands of a chain of `or`, given the sides of the last one; `sides` are those of an expression that goes on with the chain:
/// an `or`, too, which matches alike.
pub fn operands<'e, E>(
    (mut first, last): (&'e E, &'e E),
    sides: impl Fn(&'e E) -> Option<(&'e E, &'e E)>,
) -> Vec<&'e E> {
    let mut operands = vec![last];
    while let Some((before, operand)) = sides(first) {
        operands.push(operand);
        first = before;
    }
    operands.push(first);
    operands.reverse();
    operands
}

/// New numbers for those of so many groups that several operands have series of; and how many there are.
fn number_shared(groups: &[Vec<usize>], group_count: usize) -> (Vec<Option<usize>>, usize) {
    let (mut first_operands, mut is_shared) = (vec![None; group_count], vec![false; group_count]);
    for (operand, groups) in groups.iter().enumerate() {
        for &group in groups {
            is_shared[group] |= *first_operands[group].get_or_insert(operand) != operand;
        }
    }
    let mut shared = 0..;
    let numbers =
        is_shared.into_iter().map(|is_shared| if is_shared { shared.next() } else { None }).collect();
    (numbers, shared.start)
}

impl Source for Union<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        if let Some(group) = self.take(row)? {
            for step in 0..row.len() {
                if self.taken[group].contains(step) {
                    row.clear(step);
                } else if row.has(step) {
                    self.present[group].insert(step);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn groups_are_shared_that_two_operands_have(groups in prop::collection::vec(prop::collection::vec(0usize..12, 0..6), 1..5)) {
            let (numbers, count) = number_shared(&groups, 12);
            let has = |group| groups.iter().filter(|groups| groups.contains(&group)).count();
            let shared: Vec<usize> = (0..12).filter(|&group| has(group) > 1).collect();
            prop_assert_eq!(count, shared.len());
            for (group, number) in numbers.into_iter().enumerate() {
                prop_assert_eq!(number, shared.iter().position(|&s| s == group));
            }
        }
    }
}
