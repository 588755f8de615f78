//! The histogram functions over vectors: where native histograms and the buckets of classic ones meet.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::rc::Rc;

use foldhash::fast::RandomState;

use crate::model::{Histogram, Labels, LabelsBuilder};
use crate::query::QueryError;
use crate::query::promql::ast::{Call, PositionRange};
use crate::query::promql::classic_histogram::{ClassicBucket, classic_fraction, classic_quantile};
use crate::query::promql::functions_table::Function;
use crate::query::promql::histogram_functions::{
    histogram_avg, histogram_fraction, histogram_quantile, histogram_variance,
};

use super::annotations::{ForcedMonotonicity, Note};
use super::announced::Announced;
use super::build::{Builder, string_argument};
use super::context::{Context, Held};
use super::row::{Grid, OutputSeries, Row};
use super::scalar::Scalar;
use super::source::{BoxedSource, Mapped, Source};
use super::step_set::StepSet;

const BUCKET_LABEL: &str = "le";

impl<'q> Builder<'q> {
    pub fn histogram_call(
        &self,
        function: Function,
        call: &Call,
        grid: Grid,
    ) -> Result<BoxedSource<'q>, QueryError> {
        let arg = |i: usize| self.scalar(&call.args[i], grid);
        let (questions, vector) = match function {
            Function::HistogramCount => return self.of_totals(call, grid, |h| h.count),
            Function::HistogramSum => return self.of_totals(call, grid, |h| h.sum),
            Function::HistogramAvg => return self.of_totals(call, grid, histogram_avg),
            Function::HistogramStdvar => return self.of_histograms(call, grid, histogram_variance),
            Function::HistogramStddev => {
                return self.of_histograms(call, grid, |h| histogram_variance(h).sqrt());
            }
            Function::HistogramFraction => {
                (vec![Question { label: None, kind: Kind::Fraction { lower: arg(0)?, upper: arg(1)? } }], 2)
            }
            Function::HistogramQuantile => {
                let q = arg(0)?;
                self.note_quantile(&q, call.args[0].position);
                (vec![Question { label: None, kind: Kind::Quantile(q) }], 1)
            }
            Function::HistogramQuantiles => (self.quantile_questions(call, grid)?, 0),
            function => {
                return Err(QueryError::Execution(format!("function {} is not supported", function.name())));
            }
        };
        let argument = call.args[vector].unwrap_parens();
        let input = self.vector(argument, grid)?;
        let source = BucketGroups::new(self.context, input, questions, grid, argument.position)?;
        self.united(Box::new(source), grid)
    }

    /// A number of the totals of each histogram.
    fn of_totals(
        &self,
        call: &Call,
        grid: Grid,
        f: impl Fn(&Histogram) -> f64 + 'q,
    ) -> Result<BoxedSource<'q>, QueryError> {
        self.context.telling_resets(|| self.of_histograms(call, grid, f))
    }

    /// A number of each histogram; floats are dropped.
    fn of_histograms(
        &self,
        call: &Call,
        grid: Grid,
        f: impl Fn(&Histogram) -> f64 + 'q,
    ) -> Result<BoxedSource<'q>, QueryError> {
        let input = self.vector(&call.args[0], grid)?;
        let series = self.unnamed(&*input)?;
        let map = move |steps: Range<usize>, row: &mut Row| {
            for step in steps {
                match row.histogram(step).map(|h| f(h)) {
                    Some(value) => row.set_float(step, value),
                    None => row.clear(step),
                }
            }
        };
        self.united(Box::new(Mapped::new(input, series, map)), grid)
    }

    fn note_quantile(&self, values: &[f64], position: PositionRange) {
        for &q in values.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            self.context.note(Note::InvalidQuantile { q }, position);
        }
    }

    /// histogram_quantiles: one question for each value that a quantile takes at some step.
    fn quantile_questions(&self, call: &Call, grid: Grid) -> Result<Vec<Question<'q>>, QueryError> {
        let name = string_argument(&call.args[1])?;
        let mut questions = Vec::new();
        for arg in &call.args[2..] {
            let values = self.scalar(arg, grid)?;
            self.note_quantile(&values, arg.position);
            let mut by_text: BTreeMap<String, (StepSet, Held<'q>)> = BTreeMap::new();
            for (step, &q) in values.iter().enumerate() {
                self.context.check_every(step)?;
                match by_text.entry(openmetrics_float(q)) {
                    Entry::Occupied(mut known) => known.get_mut().0.insert(step),
                    Entry::Vacant(new) => {
                        let held = self.context.hold((size_of::<Question>() + grid.len / 8) as u64)?;
                        new.insert((StepSet::new(grid.len), held)).0.insert(step)
                    }
                };
            }
            let values = Rc::new(values);
            questions.extend(by_text.into_iter().map(|(text, (steps, held))| Question {
                label: Some((name.to_owned(), text)),
                kind: Kind::QuantileAt { values: values.clone(), steps, _held: held },
            }));
        }
        Ok(questions)
    }
}

/// As OpenMetrics writes floats: whole numbers have a `.0`.
fn openmetrics_float(value: f64) -> String {
    let text = super::math::go_g(value);
    let is_plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if is_plain { text + ".0" } else { text }
}

/// What is asked of every histogram.
struct Question<'q> {
    /// The label that tells its answers from those of other questions.
    label: Option<(String, String)>,
    kind: Kind<'q>,
}

enum Kind<'q> {
    Quantile(Scalar<'q>),
    /// Asked at some steps only.
    QuantileAt {
        values: Rc<Scalar<'q>>,
        steps: StepSet,
        _held: Held<'q>,
    },
    Fraction {
        lower: Scalar<'q>,
        upper: Scalar<'q>,
    },
}

/// The series that make one histogram, classic or native.
#[derive(Default)]
struct Group {
    labels: Labels,
    drop_name: bool,
    /// Numbers of input series and their upper bounds.
    buckets: Vec<(usize, f64)>,
    /// Input series that may hold native histograms of these labels.
    natives: Vec<usize>,
    /// The last of its series; the group is answered when it has come.
    last: usize,
}

/// histogram_quantile and its kin. A group is answered and let go as soon as its last series has come.
struct BucketGroups<'q> {
    context: &'q Context<'q>,
    input: BoxedSource<'q>,
    questions: Vec<Question<'q>>,
    groups: Vec<Group>,
    announced: Announced<'q>,
    grid: Grid,
    position: PositionRange,
    /// Rows of groups that wait for more, and in how many groups each still takes part.
    waiting: HashMap<usize, (Row, usize), RandomState>,
    uses: Vec<usize>,
    read: usize,
    given: usize,
    held: Held<'q>,
}

impl<'q> BucketGroups<'q> {
    fn new(
        context: &'q Context<'q>,
        input: BoxedSource<'q>,
        questions: Vec<Question<'q>>,
        grid: Grid,
        position: PositionRange,
    ) -> Result<BucketGroups<'q>, QueryError> {
        let mut announced = Announced::none(context);
        let (groups, uses) = group(input.series(), &mut announced)?;
        for group in &groups {
            let series = OutputSeries { labels: group.labels.clone(), drop_name: group.drop_name };
            let renamed = context.without_name(&series);
            for question in &questions {
                let mut series = renamed.clone();
                if let Some((name, value)) = &question.label {
                    series.labels = LabelsBuilder::from_labels(&series.labels).set(name, value).build();
                }
                announced.push_made_from(&group.labels, series)?;
            }
        }
        let held = context.hold(0)?;
        Ok(BucketGroups {
            context,
            input,
            questions,
            groups,
            announced,
            grid,
            position,
            waiting: HashMap::default(),
            uses,
            read: 0,
            given: 0,
            held,
        })
    }

    fn read_until(&mut self, last: usize) -> Result<(), QueryError> {
        while self.read <= last {
            self.context.budget.check()?;
            let mut row = Row::default();
            self.input.next(&mut row)?;
            self.held.grow(row.bytes())?;
            self.note_bad_label(self.read, &row);
            if self.uses[self.read] > 0 {
                self.waiting.insert(self.read, (row, self.uses[self.read]));
            }
            self.read += 1;
        }
        Ok(())
    }

    /// A float without a bound is no bucket.
    fn note_bad_label(&self, series: usize, row: &Row) {
        let labels = &self.input.series()[series].labels;
        let value = labels.get(BUCKET_LABEL);
        if value.parse::<f64>().is_err() && (0..row.len()).any(|step| row.float(step).is_some()) {
            let metric = self.context.told_metric(labels).to_owned();
            self.context.note(Note::BadBucketLabel { metric, value: value.to_owned() }, self.position);
        }
    }

    fn answer(&self, group: &Group, question: &Question<'q>, row: &mut Row) -> Result<(), QueryError> {
        let metric = self.context.told_metric(&group.labels);
        let note = |note| self.context.note(note, self.position);
        let row_of = |series: &usize| self.waiting.get(series).map(|(row, _)| row);
        let mut buckets: Vec<ClassicBucket> = Vec::new();
        for step in 0..self.grid.len {
            // A group may have as many buckets as there are series.
            if step.is_multiple_of(1 + 1_000 / (1 + group.buckets.len())) {
                self.context.budget.check()?;
            }
            buckets.clear();
            buckets.extend(group.buckets.iter().filter_map(|(series, upper_bound)| {
                let count = row_of(series)?.float(step)?;
                Some(ClassicBucket { upper_bound: *upper_bound, count })
            }));
            let native = group.natives.iter().find_map(|series| row_of(series)?.histogram(step));
            let value = match (native, buckets.is_empty()) {
                (None, true) => None,
                (Some(_), false) => {
                    note(Note::MixedClassicNative { metric: metric.to_owned() });
                    None
                }
                (Some(histogram), true) => question.of_native(histogram, step).map(|(value, told)| {
                    told.into_iter()
                        .for_each(|told| note(Note::of_histogram(told, group.labels.metric_name())));
                    value
                }),
                (None, false) => question.of_classic(&mut buckets, step).map(|(value, forced)| {
                    if let Some(forced) = forced {
                        let at = self.grid.at(step);
                        note(Note::ForcedMonotonicity(ForcedMonotonicity {
                            metric: metric.to_owned(),
                            first_ms: at,
                            last_ms: at,
                            bucket_min: forced.bucket_min,
                            bucket_max: forced.bucket_max,
                            diff_max: forced.diff_max,
                            count: 1,
                        }));
                    }
                    value
                }),
            };
            if let Some(value) = value {
                row.set_float(step, value);
            }
        }
        Ok(())
    }

    fn let_go(&mut self, group: usize) {
        let group = &self.groups[group];
        for series in group.buckets.iter().map(|(series, _)| series).chain(&group.natives) {
            if let Some((_, uses)) = self.waiting.get_mut(series) {
                *uses -= 1;
                if *uses == 0 {
                    self.waiting.remove(series);
                }
            }
        }
    }
}

impl Question<'_> {
    fn quantile(&self, step: usize) -> Option<f64> {
        match &self.kind {
            Kind::Quantile(values) => Some(values[step]),
            Kind::QuantileAt { values, steps, .. } => steps.contains(step).then(|| values[step]),
            Kind::Fraction { .. } => None,
        }
    }

    fn of_native(
        &self,
        histogram: &Histogram,
        step: usize,
    ) -> Option<(f64, Option<crate::query::promql::histogram_functions::HistogramNote>)> {
        match &self.kind {
            Kind::Quantile(_) | Kind::QuantileAt { .. } => {
                Some(histogram_quantile(self.quantile(step)?, histogram))
            }
            Kind::Fraction { lower, upper } => Some(histogram_fraction(lower[step], upper[step], histogram)),
        }
    }

    fn of_classic(
        &self,
        buckets: &mut Vec<ClassicBucket>,
        step: usize,
    ) -> Option<(f64, Option<crate::query::promql::classic_histogram::ForcedMonotonic>)> {
        match &self.kind {
            Kind::Quantile(_) | Kind::QuantileAt { .. } => {
                Some(classic_quantile(self.quantile(step)?, buckets))
            }
            Kind::Fraction { lower, upper } => {
                Some((classic_fraction(lower[step], upper[step], buckets), None))
            }
        }
    }
}

/// Groups in the order in which their last series comes, and in how many groups each series takes part: its
/// floats are buckets of the labels without `le`, its histograms belong to all its labels. `payer` holds the memory.
fn group(series: &[OutputSeries], payer: &mut Announced<'_>) -> Result<(Vec<Group>, Vec<usize>), QueryError> {
    let mut index: HashMap<Labels, usize, RandomState> = HashMap::default();
    let mut groups: Vec<Group> = Vec::new();
    let mut uses = vec![0; series.len()];
    let mut join = |number: usize, labels: Labels, bound: Option<f64>, drop_name: bool| {
        payer.context.check_every(number)?;
        payer.hold(size_of::<(usize, f64)>())?;
        let at = match index.get(&labels) {
            Some(&known) => known,
            None => {
                payer.hold(size_of::<Group>() + size_of::<(Labels, usize)>() + labels.text_len())?;
                index.insert(labels.clone(), groups.len());
                groups.push(Group { labels, ..Group::default() });
                groups.len() - 1
            }
        };
        match bound {
            Some(bound) => groups[at].buckets.push((number, bound)),
            None => groups[at].natives.push(number),
        }
        groups[at].last = number;
        groups[at].drop_name |= drop_name;
        uses[number] += 1;
        Ok::<(), QueryError>(())
    };
    for (number, OutputSeries { labels, drop_name }) in series.iter().enumerate() {
        if let Ok(bound) = labels.get(BUCKET_LABEL).parse::<f64>() {
            join(number, labels.without(&[BUCKET_LABEL]), Some(bound), *drop_name)?;
        }
        join(number, labels.clone(), None, *drop_name)?;
    }
    groups.sort_by_key(|group| group.last);
    Ok((groups, uses))
}

impl Source for BucketGroups<'_> {
    fn series(&self) -> &[OutputSeries] {
        &self.announced
    }

    fn next(&mut self, row: &mut Row) -> Result<(), QueryError> {
        let (group, question) = (self.given / self.questions.len(), self.given % self.questions.len());
        self.given += 1;
        self.read_until(self.groups[group].last)?;
        row.reset(self.grid.len);
        self.answer(&self.groups[group], &self.questions[question], row)?;
        if question + 1 == self.questions.len() {
            self.let_go(group);
        }
        Ok(())
    }
}
