//! Which series of two vectors belong together: a matter of labels alone, settled before any value is read.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, LabelsBuilder};
use crate::query::QueryError;
use crate::query::promql::ast::{Cardinality, VectorMatching};

use super::binary::{Operator, changes_metric};
use super::context::{Context, Held, strip_name};
use super::row::OutputSeries;

/// The labels by which two series match.
pub struct Signature {
    on: bool,
    names: Vec<String>,
}

impl Signature {
    pub fn new(matching: &VectorMatching) -> Signature {
        let mut names = matching.labels.clone();
        if !matching.on {
            names.push(METRIC_NAME.to_owned());
        }
        Signature { on: matching.on, names }
    }

    pub fn of(&self, labels: &Labels) -> Labels {
        let named = |name: &str| self.names.iter().any(|n| n == name);
        Labels::from_sorted(labels.iter().filter(|(name, _)| named(name) == self.on))
    }
}

/// Numbers the signatures of series in the order in which they come.
pub struct Signatures<'q> {
    context: &'q Context<'q>,
    signature: Signature,
    numbers: HashMap<Labels, usize, RandomState>,
    held: Held<'q>,
}

impl<'q> Signatures<'q> {
    pub fn new(context: &'q Context<'q>, matching: &VectorMatching) -> Signatures<'q> {
        let signature = Signature::new(matching);
        Signatures { context, signature, numbers: HashMap::default(), held: context.hold_nothing() }
    }

    /// The number of each series' signature.
    pub fn number(&mut self, series: &[OutputSeries]) -> Result<Vec<usize>, QueryError> {
        self.held.grow(size_of_val(series) as u64)?;
        self.numbers.reserve(series.len());
        let mut numbers = Vec::with_capacity(series.len());
        for (i, member) in series.iter().enumerate() {
            self.context.check_every(i)?;
            let labels = self.signature.of(&member.labels);
            let next = self.numbers.len();
            if let Some(&known) = self.numbers.get(&labels) {
                numbers.push(known);
                continue;
            }
            self.held.grow((size_of::<(Labels, usize)>() + labels.text_len()) as u64)?;
            self.numbers.insert(labels, next);
            numbers.push(next);
        }
        Ok(numbers)
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The signatures by their numbers, and what pays for them.
    pub fn into_labels(self) -> (Vec<Labels>, Held<'q>) {
        let mut labels = vec![Labels::empty(); self.numbers.len()];
        for (signature, number) in self.numbers {
            labels[number] = signature;
        }
        (labels, self.held)
    }
}

/// The labels of a result: those of the "many" side, less what the operator and the matching take away, plus what
/// is included of the "one" side.
pub fn result_labels(
    context: &Context<'_>,
    operator: &Operator,
    matching: &VectorMatching,
    many: &Labels,
    one: &Labels,
) -> Labels {
    let names: Vec<&str> = matching.labels.iter().map(String::as_str).collect();
    let drops_name = operator.return_bool && !context.query.delayed_name_removal;
    let mut labels = many.clone();
    if changes_metric(operator.op) || drops_name {
        labels = strip_name(&labels);
    }
    if matching.cardinality == Cardinality::OneToOne {
        labels = if matching.on { labels.keep(&names) } else { labels.without(&names) };
    }
    if matching.include.is_empty() {
        return labels;
    }
    let mut builder = LabelsBuilder::from_labels(&labels);
    for name in &matching.include {
        builder.set(name, one.get(name));
    }
    builder.build()
}
