//! `and`, `or`, `unless`: which series are there, step by step; of one side only the steps are held.

use std::collections::HashMap;

use crate::model::Labels;
use crate::query::QueryError;
use crate::query::promql::ast::BinaryOp;

use super::context::Context;
use super::matching::Signature;
use super::row::{OutputSeries, Row};
use super::source::{BoxedSource, Source};
use super::step_set::StepSet;

/// A set operator. The right side is read first for `and` and `unless`, the left first for `or`.
pub struct SetOperation<'q> {
    context: &'q Context<'q>,
    op: BinaryOp,
    left: BoxedSource<'q>,
    right: BoxedSource<'q>,
    announced: Vec<OutputSeries>,
    left_groups: Vec<usize>,
    right_groups: Vec<usize>,
    /// For each match group the steps at which the side that was read first has a series.
    present: Vec<StepSet>,
    steps: usize,
    given: usize,
}

impl<'q> SetOperation<'q> {
    pub fn new(
        context: &'q Context<'q>,
        op: BinaryOp,
        left: BoxedSource<'q>,
        right: BoxedSource<'q>,
        signature: &Signature,
        steps: usize,
    ) -> Result<SetOperation<'q>, QueryError> {
        let mut groups: HashMap<Labels, usize> = HashMap::new();
        let mut number = |s: &OutputSeries| {
            let next = groups.len();
            *groups.entry(signature.of(&s.labels)).or_insert(next)
        };
        let left_groups: Vec<usize> = left.series().iter().map(&mut number).collect();
        let right_groups: Vec<usize> = right.series().iter().map(&mut number).collect();
        let mut announced = left.series().to_vec();
        if op == BinaryOp::Or {
            announced.extend_from_slice(right.series());
        }
        let present = vec![StepSet::new(steps); groups.len()];
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
