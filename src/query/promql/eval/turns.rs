//! Series of the "one" side of a join that share a signature must take turns: two with values at the same step are
//! refused, but only where the other side has a value, too.

use std::collections::HashMap;

use crate::model::Labels;
use crate::query::QueryError;

use super::context::Context;
use super::matching::Signature;
use super::row::Row;
use super::source::{BoxedSource, Rows};
use super::step_set::StepSet;

/// The "one" side, read.
pub struct Turns<'a, 'q> {
    pub context: &'q Context<'q>,
    pub ones: &'a Rows<'q>,
    /// The number of each series' signature.
    pub groups: &'a [usize],
    pub steps: usize,
}

impl Turns<'_, '_> {
    /// Steps at which some signature has two series.
    pub fn ambiguous_steps(&self) -> Result<StepSet, QueryError> {
        let mut held = self.context.hold_nothing();
        let mut present: HashMap<usize, StepSet> = HashMap::new();
        let mut ambiguous = StepSet::new(self.steps);
        for (row, &group) in self.ones.rows.iter().zip(self.groups) {
            self.context.budget.check()?;
            if !present.contains_key(&group) {
                held.grow((size_of::<(usize, StepSet)>() + self.steps / 8) as u64)?;
            }
            let present = present.entry(group).or_insert_with(|| StepSet::new(self.steps));
            for step in (0..self.steps).filter(|&step| row.has(step)) {
                if !present.insert(step) {
                    ambiguous.insert(step);
                }
            }
        }
        Ok(ambiguous)
    }

    /// Names the first two series of one signature at an ambiguous step.
    pub fn error(&self, step: usize, side: &str, signature: &Signature) -> QueryError {
        let mut seen: HashMap<usize, usize> = HashMap::new();
        let mut present = self.groups.iter().enumerate().filter(|(one, _)| self.ones.rows[*one].has(step));
        let pair = present.find_map(|(one, &group)| Some([seen.insert(group, one)?, one]));
        let pair = pair.expect("at an ambiguous step some signature has two series");
        let labels = pair.map(|one| &self.ones.series[one].labels);
        let group = error_text(&signature.of(labels[0]));
        let mut texts = labels.map(error_text);
        texts.sort();
        let [first, second] = texts;
        QueryError::Execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
             [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        ))
    }
}

/// Labels as error texts print them: the name is a label like any other.
fn error_text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Whether the "many" side has a value at some ambiguous step.
pub enum Met<'q> {
    /// This is the first.
    At(usize),
    /// The side was read in vain; here it is.
    Never(Rows<'q>),
}

pub fn first_met<'q>(
    context: &'q Context<'q>,
    mut many: BoxedSource<'q>,
    ambiguous: &StepSet,
    steps: usize,
) -> Result<Met<'q>, QueryError> {
    let series = many.series().to_vec();
    let mut held = context.hold(size_of_val(&series[..]) as u64)?;
    let mut rows = Vec::new();
    let mut met: Option<usize> = None;
    for _ in &series {
        context.budget.check()?;
        let mut row = Row::default();
        many.next(&mut row)?;
        let mut earlier = 0..met.unwrap_or(steps);
        met = earlier.find(|&step| row.has(step) && ambiguous.contains(step)).or(met);
        if met.is_some() && met == ambiguous.first() {
            break;
        }
        if met.is_none() {
            held.grow(row.bytes())?;
            rows.push(row);
        }
    }
    Ok(met.map_or_else(|| Met::Never(Rows::new(series, rows, Some(held))), Met::At))
}
