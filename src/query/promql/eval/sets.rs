//! `and`, `or`, `unless`: which series are there, step by step; of one side only the steps are held.

use crate::query::QueryError;
use crate::query::promql::ast::{BinaryOp, VectorMatching};

use super::announced::Announced;
use super::context::{Context, Held};
use super::matching::Signatures;
use super::row::{OutputSeries, Row};
use super::source::{BoxedSource, Source};
use super::step_set::StepSet;

/// A set operator. The right side is read first for `and` and `unless`, the left first for `or`.
pub struct SetOperation<'q> {
    context: &'q Context<'q>,
    op: BinaryOp,
    left: BoxedSource<'q>,
    right: BoxedSource<'q>,
    announced: Announced<'q>,
    left_groups: Vec<usize>,
    right_groups: Vec<usize>,
    /// For each match group the steps at which the side that was read first has a series.
    present: Vec<StepSet>,
    steps: usize,
    given: usize,
    _held: Held<'q>,
}

impl<'q> SetOperation<'q> {
    pub fn new(
        context: &'q Context<'q>,
        op: BinaryOp,
        matching: &VectorMatching,
        left: BoxedSource<'q>,
        right: BoxedSource<'q>,
        steps: usize,
    ) -> Result<SetOperation<'q>, QueryError> {
        let mut signatures = Signatures::new(context, matching);
        let left_groups = signatures.number(left.series())?;
        let right_groups = signatures.number(right.series())?;
        let mut announced = Announced::copy(context, left.series())?;
        for series in right.series().iter().filter(|_| op == BinaryOp::Or) {
            announced.push_made_from(&series.labels, series.clone())?;
        }
        let groups = signatures.len();
        drop(signatures);
        let _held = context.hold((groups * (size_of::<StepSet>() + steps / 8)) as u64)?;
        let present = vec![StepSet::new(steps); groups];
        let mut operation = SetOperation {
            context,
            op,
            left,
            right,
            announced,
            left_groups,
            right_groups,
            present,
            steps,
            given: 0,
            _held,
        };
        if op != BinaryOp::Or {
            operation.read_right()?;
        }
        Ok(operation)
    }

    fn read_right(&mut self) -> Result<(), QueryError> {
        let mut row = Row::default();
        for &group in &self.right_groups {
            self.context.budget.check()?;
            self.right.next(&mut row)?;
            mark(&mut self.present[group], &row);
        }
        Ok(())
    }
}

fn mark(present: &mut StepSet, row: &Row) {
    for step in (0..row.len()).filter(|&step| row.has(step)) {
        present.insert(step);
    }
}

impl Source for SetOperation<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        let given = self.given;
        self.given += 1;
        if given >= self.left_groups.len() {
            self.right.next(row)?;
            let present = &self.present[self.right_groups[given - self.left_groups.len()]];
            (0..self.steps).filter(|&step| present.contains(step)).for_each(|step| row.clear(step));
            return Ok(());
        }
        self.left.next(row)?;
        let present = &mut self.present[self.left_groups[given]];
        if self.op == BinaryOp::Or {
            mark(present, row);
            return Ok(());
        }
        let stays = self.op == BinaryOp::And;
        (0..self.steps).filter(|&step| present.contains(step) != stays).for_each(|step| row.clear(step));
        Ok(())
    }
}
