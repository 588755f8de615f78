//! `and`, `unless`: which series are there, step by step; of the right side only the steps are held.

use crate::query::QueryError;
use crate::query::promql::ast::{BinaryOp, VectorMatching};

use super::announced::Announced;
use super::context::{Context, Held};
use super::matching::Signatures;
use super::row::{OutputSeries, Row};
use super::source::{BoxedSource, Source};
use super::step_set::StepSet;

/// What of the left side stays. The right side is read first.
pub struct Filtered<'q> {
    left: BoxedSource<'q>,
    announced: Announced<'q>,
    left_groups: std::vec::IntoIter<usize>,
    /// For each match group the steps at which the right side has a series.
    present: Vec<StepSet>,
    /// Those steps stay, or all others.
    stays: bool,
    _held: Held<'q>,
}

impl<'q> Filtered<'q> {
    /// `op` is `and` or `unless`.
    pub fn new(
        context: &'q Context<'q>,
        op: BinaryOp,
        matching: &VectorMatching,
        left: BoxedSource<'q>,
        mut right: BoxedSource<'q>,
        steps: usize,
    ) -> Result<Filtered<'q>, QueryError> {
        let mut signatures = Signatures::new(context, matching);
        let left_groups = signatures.number(left.series())?.into_iter();
        let right_groups = signatures.number(right.series())?;
        let announced = Announced::copy(context, left.series())?;
        let groups = signatures.len();
        drop(signatures);
        let _held = context.hold((groups * (size_of::<StepSet>() + steps / 8)) as u64)?;
        let mut present = vec![StepSet::new(steps); groups];
        let mut row = Row::default();
        for group in right_groups {
            context.budget.check()?;
            right.next(&mut row)?;
            for step in (0..row.len()).filter(|&step| row.has(step)) {
                present[group].insert(step);
            }
        }
        Ok(Filtered { left, announced, left_groups, present, stays: op == BinaryOp::And, _held })
    }
}

impl Source for Filtered<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        let group = self.left_groups.next().expect("no more series are asked for than were announced");
        self.left.next(row)?;
        let leaves = |step: &usize| self.present[group].contains(*step) != self.stays;
        (0..row.len()).filter(leaves).for_each(|step| row.clear(step));
        Ok(())
    }
}
