//! A pipeline over one whole trace: spansets in, spansets out.

use std::collections::BTreeMap;

use super::fields::{holds, value};
use super::relations::{Marks, related};
use super::trace::Trace;
use crate::model::Lookout;
use crate::query::budget::{Budget, Exceeded};
use crate::query::traceql::Value;
use crate::query::traceql::ast::{
    AggregateOp, BinaryOp, FieldExpr, Pipeline, Relation, ScalarExpr, ScalarFilter, SpansetExpr, SpansetOp,
    Stage,
};

/// Spans of one trace that belong together, and what was found out about them on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanset {
    /// In order of their start; at least one.
    pub spans: Vec<usize>,
    /// `by(name)`, `count()` and so on, each once.
    pub attributes: Vec<(String, Value<'static>)>,
}

/// Spans that are asked between two looks at the budget: each may have to do with an expression that takes milliseconds.
const SPANS_PER_CHECK: usize = 16;

/// The spansets that come out of the pipeline's end; none where the trace does not match.
pub fn evaluate(pipeline: &Pipeline, trace: &Trace, budget: &Budget) -> Result<Vec<Spanset>, Exceeded> {
    let all = Spanset { spans: (0..trace.spans.len()).collect(), attributes: Vec::new() };
    let stop = budget.stop_sign();
    let lookout = &Lookout::new(&stop);
    let spansets = Evaluation { trace, budget, lookout }.run(pipeline, vec![all])?;
    if lookout.has_given_up() {
        budget.check()?;
    }
    Ok(spansets)
}

struct Evaluation<'t> {
    trace: &'t Trace,
    budget: &'t Budget,
    lookout: &'t Lookout<'t>,
}

impl Evaluation<'_> {
    fn run(&self, pipeline: &Pipeline, mut sets: Vec<Spanset>) -> Result<Vec<Spanset>, Exceeded> {
        for stage in &pipeline.0 {
            let mut left = Vec::new();
            match stage {
                Stage::Spansets(expr) => {
                    for set in sets {
                        left.extend(self.select(expr, set)?);
                    }
                }
                Stage::ScalarFilter(filter) => {
                    for set in sets {
                        self.budget.check()?;
                        left.extend(filtered(filter, self.trace, set, self.lookout));
                    }
                }
                Stage::By(key) => {
                    for set in sets {
                        self.budget.check()?;
                        left.extend(groups(key, self.trace, set, self.lookout));
                    }
                }
                Stage::Coalesce => left.extend(coalesced(sets)),
                // What is selected is read for the answer; a bare number is refused before it runs.
                Stage::Select(_) | Stage::Scalar(_) => left = sets,
            }
            sets = left;
        }
        Ok(sets)
    }

    /// The part of the set that the expression leaves, unless it leaves nothing.
    fn select(&self, expr: &SpansetExpr, set: Spanset) -> Result<Option<Spanset>, Exceeded> {
        let mut input = vec![false; self.trace.spans.len()];
        set.spans.iter().for_each(|span| input[*span] = true);
        let marks = self.marked(expr, &input)?;
        let spans: Vec<usize> = (0..marks.len()).filter(|span| marks[*span]).collect();
        Ok((!spans.is_empty()).then_some(Spanset { spans, attributes: set.attributes }))
    }

    fn marked(&self, expr: &SpansetExpr, input: &Marks) -> Result<Marks, Exceeded> {
        match expr {
            SpansetExpr::Filter(None) => Ok(input.clone()),
            SpansetExpr::Filter(Some(condition)) => {
                let mut marks = input.clone();
                for (span, mark) in marks.iter_mut().enumerate() {
                    if span % SPANS_PER_CHECK == 0 {
                        self.budget.check()?;
                    }
                    *mark = *mark && holds(condition, self.trace, span, self.lookout);
                }
                Ok(marks)
            }
            SpansetExpr::Pipeline(pipeline) => {
                let spans = (0..input.len()).filter(|span| input[*span]).collect();
                let mut marks = vec![false; input.len()];
                for set in self.run(pipeline, vec![Spanset { spans, attributes: Vec::new() }])? {
                    set.spans.iter().for_each(|span| marks[*span] = true);
                }
                Ok(marks)
            }
            SpansetExpr::Binary { op, left, right } => {
                let (left, right) = (self.marked(left, input)?, self.marked(right, input)?);
                Ok(joined(*op, self.trace, left, right))
            }
        }
    }
}

fn joined(op: SpansetOp, trace: &Trace, left: Marks, right: Marks) -> Marks {
    match op {
        SpansetOp::Or => each(&left, &right, |a, b| a | b),
        SpansetOp::And if left.contains(&true) && right.contains(&true) => each(&left, &right, |a, b| a | b),
        SpansetOp::And => vec![false; left.len()],
        SpansetOp::Related(relation) => each(&right, &related(trace, relation, &left), |a, b| a & b),
        SpansetOp::NotRelated(relation) => each(&right, &related(trace, relation, &left), |a, b| a & !b),
        SpansetOp::Union(relation) => {
            let found = each(&right, &related(trace, relation, &left), |a, b| a & b);
            let back = related(trace, inverse(relation), &found);
            each(&found, &each(&left, &back, |a, b| a & b), |a, b| a | b)
        }
    }
}

fn each(a: &Marks, b: &Marks, test: impl Fn(bool, bool) -> bool) -> Marks {
    a.iter().zip(b).map(|(a, b)| test(*a, *b)).collect()
}

/// What the one on the left is to the one on the right.
fn inverse(relation: Relation) -> Relation {
    use Relation::*;
    match relation {
        Child => Parent,
        Parent => Child,
        Descendant => Ancestor,
        Ancestor => Descendant,
        Sibling => Sibling,
    }
}

/// The set, if the comparison holds for it, with the aggregates that were compared.
fn filtered(
    filter: &ScalarFilter,
    trace: &Trace,
    mut set: Spanset,
    lookout: &Lookout<'_>,
) -> Option<Spanset> {
    let left = scalar(&filter.left, trace, &mut set, lookout);
    let right = scalar(&filter.right, trace, &mut set, lookout);
    left.compare(filter.op, &right).then_some(set)
}

fn scalar(expr: &ScalarExpr, trace: &Trace, set: &mut Spanset, lookout: &Lookout<'_>) -> Value<'static> {
    match expr {
        ScalarExpr::Static(value) => value.clone(),
        ScalarExpr::Aggregate { op, of, .. } => {
            let result = aggregate(*op, of.as_ref(), trace, &set.spans, lookout);
            let name = format!("{}({})", op.name(), of.as_ref().map_or(String::new(), ToString::to_string));
            set.note(name, result.clone());
            result
        }
        ScalarExpr::Binary { op, left, right, .. } => {
            let left = scalar(left, trace, set, lookout);
            left.calculate(*op, &scalar(right, trace, set, lookout))
        }
        // Refused before it runs.
        ScalarExpr::Pipeline { .. } => Value::Nil,
    }
}

impl Spanset {
    fn note(&mut self, name: String, value: Value<'static>) {
        match self.attributes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.attributes.push((name, value)),
        }
    }
}

/// Over the spans that have a number; nil where none has.
fn aggregate(
    op: AggregateOp,
    of: Option<&FieldExpr>,
    trace: &Trace,
    spans: &[usize],
    lookout: &Lookout<'_>,
) -> Value<'static> {
    let Some(of) = of else { return Value::Int(spans.len() as i64) };
    let values: Vec<Value> = spans
        .iter()
        .map(|span| value(of, trace, *span, lookout))
        .filter(|value| value.as_number().is_some())
        .collect();
    let Some(first) = values.first() else { return Value::Nil };
    let sum = || values.iter().filter_map(Value::as_number).sum::<f64>();
    // Durations stay durations, whole numbers whole where the result is one.
    let like_first = |number: f64| match first {
        Value::Duration(_) => Value::Duration(number.round() as i64),
        _ => Value::Float(number),
    };
    let best = |op| {
        values.iter().skip(1).fold(first, |best, value| if value.compare(op, best) { value } else { best })
    };
    match op {
        AggregateOp::Count => Value::Int(values.len() as i64),
        AggregateOp::Min => best(BinaryOp::Less).clone().into_owned(),
        AggregateOp::Max => best(BinaryOp::Greater).clone().into_owned(),
        AggregateOp::Avg => like_first(sum() / values.len() as f64),
        AggregateOp::Sum => match first {
            Value::Int(_) => values[1..]
                .iter()
                .fold(first.clone().into_owned(), |sum, value| sum.calculate(BinaryOp::Add, value)),
            _ => like_first(sum()),
        },
    }
}

/// One set for each value of the key, in order of the values' texts.
fn groups(key: &FieldExpr, trace: &Trace, set: Spanset, lookout: &Lookout<'_>) -> Vec<Spanset> {
    let mut groups: BTreeMap<String, (Value<'static>, Vec<usize>)> = BTreeMap::new();
    for span in set.spans {
        let found = value(key, trace, span, lookout).into_owned();
        // The kind is part of the key, so that 1 and "1" stay apart.
        let (_, spans) = groups.entry(format!("{found:?}")).or_insert_with(|| (found, Vec::new()));
        spans.push(span);
    }
    let named = |(value, spans)| {
        let mut group = Spanset { spans, attributes: set.attributes.clone() };
        group.note(format!("by({key})"), value);
        group
    };
    groups.into_values().map(named).collect()
}

/// All sets as one.
fn coalesced(sets: Vec<Spanset>) -> Vec<Spanset> {
    let mut spans: Vec<usize> = sets.into_iter().flat_map(|set| set.spans).collect();
    spans.sort_unstable();
    spans.dedup();
    if spans.is_empty() { Vec::new() } else { vec![Spanset { spans, attributes: Vec::new() }] }
}
