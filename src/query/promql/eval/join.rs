//! Operators between two vectors: which series belong together is settled once, from labels; then one side is
//! held and the other streams past it.

use std::collections::HashMap;

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, LabelsBuilder};
use crate::query::QueryError;
use crate::query::promql::ast::{Cardinality, VectorMatching};

use super::binary::{Operator, cells, changes_metric};
use super::context::{Context, strip_name};
use super::row::{Cell, OutputSeries, Row};
use super::source::{BoxedSource, Rows, Source};
use super::step_set::StepSet;

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

/// The series of the "one" side that share a signature; more than one is fine as long as they take turns.
struct MatchGroup {
    labels: Labels,
    ones: Vec<usize>,
    /// Steps at which something of the "many" side met something of the "one" side.
    matched: StepSet,
}

/// One announced output: a series of the "many" side with one of the "one" side; either may be missing where a
/// fill value stands in for it.
#[derive(Clone, Copy)]
struct Pair {
    many: Option<usize>,
    one: Option<usize>,
    group: usize,
}

/// `left op on(…) group_left(…) right`.
pub struct Join<'q> {
    context: &'q Context<'q>,
    operator: Operator,
    matching: VectorMatching,
    many: BoxedSource<'q>,
    ones: Option<BoxedSource<'q>>,
    one_rows: Option<Rows<'q>>,
    groups: Vec<MatchGroup>,
    many_groups: Vec<usize>,
    pairs: Vec<Pair>,
    announced: Vec<OutputSeries>,
    /// For results whose labels come more than once in a match group: the steps that have one already.
    shared_results: HashMap<(usize, Labels), StepSet>,
    /// At which steps the "one" side has two series of one signature, and which.
    ambiguous: Vec<Option<[usize; 2]>>,
    many_row: Row,
    many_at: Option<usize>,
    steps: usize,
    given: usize,
}

impl<'q> Join<'q> {
    pub fn new(
        context: &'q Context<'q>,
        operator: Operator,
        matching: &VectorMatching,
        left: BoxedSource<'q>,
        right: BoxedSource<'q>,
        steps: usize,
    ) -> Join<'q> {
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, ones) = if swapped { (right, left) } else { (left, right) };
        let mut join = Join {
            context,
            operator,
            matching: matching.clone(),
            many,
            ones: None,
            one_rows: None,
            groups: Vec::new(),
            many_groups: Vec::new(),
            pairs: Vec::new(),
            announced: Vec::new(),
            shared_results: HashMap::new(),
            ambiguous: Vec::new(),
            many_row: Row::default(),
            many_at: None,
            steps,
            given: 0,
        };
        join.group(&*ones);
        join.announce(&*ones);
        join.ones = Some(ones);
        join
    }

    fn is_swapped(&self) -> bool {
        self.matching.cardinality == Cardinality::OneToMany
    }

    /// What stands in for a missing element of the "one" side and of the "many" side. With `group_right`, too,
    /// Prometheus takes `fill_left` for the "many" side, which then is the right one.
    fn fills(&self) -> (Option<f64>, Option<f64>) {
        (self.matching.fill_right.map(|n| n.value), self.matching.fill_left.map(|n| n.value))
    }

    fn group(&mut self, ones: &dyn Source) {
        let signature = Signature::new(&self.matching);
        let mut numbers: HashMap<Labels, usize> = HashMap::new();
        let groups = &mut self.groups;
        let mut number = |labels: &Labels| {
            let key = signature.of(labels);
            *numbers.entry(key.clone()).or_insert_with(|| {
                groups.push(MatchGroup { labels: key, ones: Vec::new(), matched: StepSet::default() });
                groups.len() - 1
            })
        };
        let many_groups: Vec<usize> = self.many.series().iter().map(|s| number(&s.labels)).collect();
        let one_groups: Vec<usize> = ones.series().iter().map(|s| number(&s.labels)).collect();
        for (one, group) in one_groups.into_iter().enumerate() {
            self.groups[group].ones.push(one);
        }
        self.many_groups = many_groups;
        for group in &mut self.groups {
            group.matched = StepSet::new(self.steps);
        }
    }

    fn announce(&mut self, ones: &dyn Source) {
        let (fill_one, fill_many) = self.fills();
        let many_series = self.many.series().to_vec();
        for (many, series) in many_series.iter().enumerate() {
            let group = self.many_groups[many];
            for i in 0..self.groups[group].ones.len() {
                let one = self.groups[group].ones[i];
                let labels = self.result_labels(&series.labels, &ones.series()[one].labels);
                self.push(Pair { many: Some(many), one: Some(one), group }, labels);
            }
            if fill_one.is_some() {
                let labels = self.result_labels(&series.labels, &self.groups[group].labels);
                self.push(Pair { many: Some(many), one: None, group }, labels);
            }
        }
        if fill_many.is_some() {
            for group in 0..self.groups.len() {
                for i in 0..self.groups[group].ones.len() {
                    let one = self.groups[group].ones[i];
                    let labels = self.result_labels(&self.groups[group].labels, &ones.series()[one].labels);
                    self.push(Pair { many: None, one: Some(one), group }, labels);
                }
            }
        }
    }

    fn push(&mut self, pair: Pair, labels: Labels) {
        self.pairs.push(pair);
        self.announced.push(OutputSeries { labels, drop_name: self.operator.return_bool });
    }

    /// The labels of the "many" side, less what the operator and the matching take away, plus what is included.
    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let names: Vec<&str> = self.matching.labels.iter().map(String::as_str).collect();
        let drops_name = self.operator.return_bool && !self.context.query.delayed_name_removal;
        let mut labels = many.clone();
        if changes_metric(self.operator.op) || drops_name {
            labels = strip_name(&labels);
        }
        if self.matching.cardinality == Cardinality::OneToOne {
            labels = if self.matching.on { labels.keep(&names) } else { labels.without(&names) };
        }
        if self.matching.include.is_empty() {
            return labels;
        }
        let mut builder = LabelsBuilder::from_labels(&labels);
        for name in &self.matching.include {
            builder.set(name, one.get(name));
        }
        builder.build()
    }

    /// Reads the "one" side and finds where a match group has two of it.
    fn read_ones(&mut self, ones: BoxedSource<'q>) -> Result<(), QueryError> {
        let rows = Rows::collect(self.context, ones, self.steps)?;
        self.ambiguous = vec![None; self.steps];
        for group in &self.groups {
            let mut holder: Vec<Option<usize>> =
                vec![None; if group.ones.len() > 1 { self.steps } else { 0 }];
            for &one in group.ones.iter().filter(|_| group.ones.len() > 1) {
                for step in (0..self.steps).filter(|&step| rows.rows[one].has(step)) {
                    match holder[step] {
                        Some(other) => self.ambiguous[step] = Some([other, one]),
                        None => holder[step] = Some(one),
                    }
                }
            }
        }
        self.one_rows = Some(rows);
        // With a fill value the sides are compared even where one of them is empty.
        if self.fills() != (None, None)
            && let Some(pair) = self.ambiguous.iter().flatten().next()
        {
            return Err(self.ambiguity(*pair));
        }
        self.find_shared_results();
        Ok(())
    }

    /// With `group_left`, two results of one match group may get the same labels; only those are watched.
    fn find_shared_results(&mut self) {
        if self.matching.cardinality == Cardinality::OneToOne {
            return;
        }
        let mut counts: HashMap<(usize, &Labels), usize> = HashMap::new();
        for (pair, series) in self.pairs.iter().zip(&self.announced) {
            *counts.entry((pair.group, &series.labels)).or_default() += 1;
        }
        let shared = counts.into_iter().filter(|(_, count)| *count > 1);
        self.shared_results =
            shared.map(|((group, labels), _)| ((group, labels.clone()), StepSet::new(self.steps))).collect();
    }

    fn ambiguity(&self, [a, b]: [usize; 2]) -> QueryError {
        let rows = self.one_rows.as_ref().expect("found while reading them");
        let texts = [a, b].map(|i| error_text(&rows.series[i].labels));
        let [first, second] = if texts[0] <= texts[1] { texts } else { [texts[1].clone(), texts[0].clone()] };
        let side = if self.is_swapped() { "left" } else { "right" };
        let group = error_text(&Signature::new(&self.matching).of(&rows.series[a].labels));
        QueryError::Execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
             [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        ))
    }

    /// Moves the "many" side to the series of the pair.
    fn load_many(&mut self, many: usize) -> Result<(), QueryError> {
        while self.many_at.is_none_or(|at| at < many) {
            self.context.budget.check()?;
            self.many.next(&mut self.many_row)?;
            self.many_at = Some(self.many_at.map_or(0, |at| at + 1));
            for step in (0..self.steps).filter(|&step| self.many_row.has(step)) {
                if let Some(pair) = self.ambiguous[step] {
                    return Err(self.ambiguity(pair));
                }
            }
        }
        Ok(())
    }

    /// The two values of a pair at a step, the "many" side first.
    fn values(&self, pair: Pair, step: usize) -> Option<(Cell, Cell)> {
        let rows = self.one_rows.as_ref().expect("read before the first pair");
        let (fill_one, fill_many) = self.fills();
        match (pair.many, pair.one) {
            (Some(_), Some(one)) => Some((self.many_row.cell(step)?, rows.rows[one].cell(step)?)),
            (Some(_), None) => {
                let alone = !self.groups[pair.group].ones.iter().any(|&one| rows.rows[one].has(step));
                Some((self.many_row.cell(step)?, Cell::Float(fill_one.filter(|_| alone)?)))
            }
            (None, Some(one)) => {
                let alone = !self.groups[pair.group].matched.contains(step);
                Some((Cell::Float(fill_many.filter(|_| alone)?), rows.rows[one].cell(step)?))
            }
            (None, None) => None,
        }
    }

    /// Refuses a second result of a match group where there may be only one.
    fn claim(&mut self, pair: Pair, labels: &Labels, step: usize) -> Result<(), QueryError> {
        let is_first = self.groups[pair.group].matched.insert(step);
        if self.matching.cardinality == Cardinality::OneToOne {
            return is_first.then_some(()).ok_or_else(|| {
                QueryError::Execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        .into(),
                )
            });
        }
        if self.shared_results.is_empty() {
            return Ok(());
        }
        let shared = self.shared_results.get_mut(&(pair.group, labels.clone()));
        if shared.is_none_or(|steps| steps.insert(step)) {
            return Ok(());
        }
        Err(QueryError::Execution(
            "multiple matches for labels: grouping labels must ensure unique matches".into(),
        ))
    }
}

/// Labels as error texts print them: the name is a label like any other.
fn error_text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

impl Source for Join<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        if let Some(ones) = self.ones.take() {
            self.read_ones(ones)?;
        }
        let pair = self.pairs[self.given];
        let labels = self.announced[self.given].labels.clone();
        self.given += 1;
        row.reset(self.steps);
        // The results for elements missing on the "many" side come last, when all of it is read: it may have none.
        if let Some(many) = pair.many.or(self.many_groups.len().checked_sub(1)) {
            self.load_many(many)?;
        }
        let Operator { op, return_bool, position } = self.operator;
        for step in 0..self.steps {
            let Some((many, one)) = self.values(pair, step) else { continue };
            let (a, b) = if self.is_swapped() { (&one, &many) } else { (&many, &one) };
            let context = self.context;
            let Some(outcome) = cells(op, a, b, &mut |note| context.note(note, position)) else { continue };
            self.claim(pair, &labels, step)?;
            if return_bool {
                row.set_float(step, f64::from(u8::from(outcome.keep)));
            } else if outcome.keep {
                row.set(step, Some(outcome.value));
            }
        }
        Ok(())
    }
}
