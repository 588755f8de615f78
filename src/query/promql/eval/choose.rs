//! Aggregations that choose among the series of a group: topk, bottomk, limitk, limit_ratio; and count_values.

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh64::xxh64;

use crate::model::{Histogram, Labels, LabelsBuilder};
use crate::query::QueryError;
use crate::query::promql::ast::{AggregateOp, PositionRange};

use super::annotations::Note;
use super::context::Context;
use super::grouping::Grouping;
use super::math::{go_f, go_g};
use super::row::{Cell, OutputSeries, Row};
use super::source::{BoxedSource, Rows};

/// Where the choosing operators stand in the text.
#[derive(Clone, Copy)]
pub struct ChoosePositions {
    pub aggregate: PositionRange,
    pub param: PositionRange,
}

/// Series kept at one step of one group.
#[derive(Default)]
struct Kept(Vec<(f64, usize)>);

/// topk, bottomk, limitk and limit_ratio: the chosen series keep all their labels. The input is read at once,
/// because the order of an instant result is the order of the values.
pub fn choose<'q>(
    context: &'q Context<'q>,
    mut input: BoxedSource<'q>,
    grouping: &Grouping,
    op: AggregateOp,
    params: &[f64],
    positions: ChoosePositions,
) -> Result<Rows<'q>, QueryError> {
    let limits = if op == AggregateOp::LimitRatio {
        ratios(context, params, positions.param)?
    } else {
        counts(params, input.series().len())?
    };
    let Some(limits) = limits else { return Ok(Rows::empty()) };
    let groups = grouping.groups(context, input.series())?;
    let steps = params.len();
    let mut held = context.hold((groups.announced.len() * steps * size_of::<Kept>()) as u64)?;
    let mut kept: Vec<Kept> = (0..groups.announced.len() * steps).map(|_| Kept::default()).collect();
    // Histograms are chosen only by the limiting operators, and then at once.
    let mut histograms: BTreeMap<usize, Row> = BTreeMap::new();
    let mut row = Row::default();
    for (series, &group) in groups.of_series.iter().enumerate() {
        context.budget.check()?;
        input.next(&mut row)?;
        let share =
            if op == AggregateOp::LimitRatio { hash_share(&input.series()[series].labels) } else { 0.0 };
        let mut added = 0;
        for step in 0..steps {
            if !row.has(step) {
                continue;
            }
            let value = row.float(step);
            let slot = &mut kept[group * steps + step];
            let before = slot.0.len();
            match op {
                AggregateOp::Topk | AggregateOp::Bottomk => match value {
                    Some(value) => slot.offer(op, value, series, limits[step] as usize),
                    None => {
                        let note = Note::HistogramIgnoredInAggregation { aggregation: op.text() };
                        context.note(note, positions.aggregate);
                    }
                },
                _ if op == AggregateOp::Limitk && before as f64 >= limits[step] => {}
                _ if op == AggregateOp::LimitRatio && !in_ratio(limits[step], share) => {}
                _ => slot.0.push((value.unwrap_or(0.0), series)),
            }
            let is_new = slot.0.len() > before;
            added += u64::from(is_new);
            if let (true, Some(histogram)) = (is_new, row.histogram(step)) {
                if !histograms.contains_key(&series) {
                    held.grow(Row::default().bytes() + 16 * steps as u64)?;
                }
                let chosen = histograms.entry(series).or_insert_with(|| Row::new(steps));
                chosen.set_histogram(step, histogram.clone());
            }
        }
        held.grow(added * size_of::<(f64, usize)>() as u64)?;
    }
    let mut rows: HashMap<usize, Row> = HashMap::new();
    let mut order: Vec<usize> = Vec::new();
    for (at, slot) in kept.into_iter().enumerate() {
        context.check_every(at)?;
        for (i, (value, series)) in slot.sorted(op).into_iter().enumerate() {
            context.check_every(i + 1)?;
            if !rows.contains_key(&series) {
                held.grow(Row::default().bytes() + 8 * steps as u64)?;
                order.push(series);
            }
            let row = rows.entry(series).or_insert_with(|| Row::new(steps));
            let step = at % steps;
            match histograms.get(&series).and_then(|h| h.histogram(step)) {
                Some(histogram) => row.set_histogram(step, histogram.clone()),
                None => row.set_float(step, value),
            }
        }
    }
    let rows_in_order: Vec<Row> = order.iter().filter_map(|s| rows.remove(s)).collect();
    let series = order.iter().map(|&s| input.series()[s].clone()).collect();
    Ok(Rows::new(series, rows_in_order, Some(held)))
}

/// How many to keep at each step; `None` if never any.
fn counts(params: &[f64], series: usize) -> Result<Option<Vec<f64>>, QueryError> {
    if params.iter().all(|&k| k < 1.0) {
        return Ok(None);
    }
    if params.iter().any(|k| k.is_nan()) {
        return Err(QueryError::Execution("Parameter value is NaN".into()));
    }
    for &k in params {
        if k <= i64::MIN as f64 {
            return Err(QueryError::Execution(format!("Scalar value {} underflows int64", go_g(k))));
        }
        if k >= i64::MAX as f64 {
            return Err(QueryError::Execution(format!("Scalar value {} overflows int64", go_g(k))));
        }
    }
    Ok(Some(params.iter().map(|k| k.trunc().clamp(0.0, series as f64)).collect()))
}

fn ratios(
    context: &Context<'_>,
    params: &[f64],
    position: PositionRange,
) -> Result<Option<Vec<f64>>, QueryError> {
    if params.iter().all(|&r| r == 0.0) {
        return Ok(None);
    }
    if params.iter().any(|r| r.is_nan()) {
        return Err(QueryError::Execution("Ratio value is NaN".into()));
    }
    let (min, max) =
        params.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), &r| (min.min(r), max.max(r)));
    if max > 1.0 {
        context.note(Note::InvalidRatio { ratio: max, capped_to: 1.0 }, position);
    }
    if min < -1.0 {
        context.note(Note::InvalidRatio { ratio: min, capped_to: -1.0 }, position);
    }
    Ok(Some(params.iter().map(|r| r.clamp(-1.0, 1.0)).collect()))
}

/// A negative ratio chooses exactly what its complement leaves.
fn in_ratio(ratio: f64, share: f64) -> bool {
    if ratio >= 0.0 { share < ratio } else { share >= 1.0 + ratio }
}

/// A number in 0..1 that depends on the labels alone: their hash as Prometheus computes it, over its own
/// encoding (each string behind its length: one byte, or 0xFF and three).
fn hash_share(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(labels.text_len() + 8);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(text.len()) {
            Ok(len) if len < u8::MAX => bytes.push(len),
            _ => {
                bytes.push(u8::MAX);
                bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

/// The order of topk and bottomk: the worst first, NaN the worst of all.
fn is_worse(op: AggregateOp, a: f64, b: f64) -> bool {
    a.is_nan() || if op == AggregateOp::Bottomk { a > b } else { a < b }
}

impl Kept {
    /// A binary heap with the worst on top. Among equals it keeps what the same heap keeps in Prometheus, so it
    /// is written out here step by step.
    fn offer(&mut self, op: AggregateOp, value: f64, series: usize, limit: usize) {
        if self.0.len() < limit {
            self.0.push((value, series));
            self.sift_up(op, self.0.len() - 1);
            return;
        }
        let Some(&(worst, _)) = self.0.first() else { return };
        let is_better = if op == AggregateOp::Bottomk { worst > value } else { worst < value };
        if is_better || worst.is_nan() && !value.is_nan() {
            self.0[0] = (value, series);
            self.sift_down(op);
        }
    }

    fn sift_up(&mut self, op: AggregateOp, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !is_worse(op, self.0[at].0, self.0[parent].0) {
                return;
            }
            self.0.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self, op: AggregateOp) {
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= self.0.len() {
                return;
            }
            if child + 1 < self.0.len() && is_worse(op, self.0[child + 1].0, self.0[child].0) {
                child += 1;
            }
            if !is_worse(op, self.0[child].0, self.0[at].0) {
                return;
            }
            self.0.swap(at, child);
            at = child;
        }
    }

    /// Best first for topk and bottomk, as they came for the limiting operators.
    fn sorted(mut self, op: AggregateOp) -> Vec<(f64, usize)> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        if matches!(op, AggregateOp::Topk | AggregateOp::Bottomk) {
            self.0.sort_by(|a, b| match (a.0.is_nan(), b.0.is_nan()) {
                (true, true) => Equal,
                (true, false) => Greater,
                (false, true) => Less,
                _ if is_worse(op, b.0, a.0) => Less,
                _ if is_worse(op, a.0, b.0) => Greater,
                _ => Equal,
            });
        }
        self.0
    }
}

/// `count_values("label", input)`: one series for each value that occurs in a group.
pub fn count_values<'q>(
    context: &'q Context<'q>,
    mut input: BoxedSource<'q>,
    grouping: &[String],
    without: bool,
    label: &str,
    steps: usize,
) -> Result<Rows<'q>, QueryError> {
    let mut names = grouping.to_vec();
    if !without {
        names.push(label.to_owned());
    }
    let grouping = Grouping::new(&names, without);
    let mut held = context.hold(0)?;
    let mut place_of: HashMap<Labels, usize> = HashMap::new();
    let (mut series, mut rows): (Vec<OutputSeries>, Vec<Row>) = (Vec::new(), Vec::new());
    let mut row = Row::default();
    for i in 0..input.series().len() {
        context.budget.check()?;
        input.next(&mut row)?;
        // Neighbouring steps often have the same value, and then the same labels.
        let mut last: Option<(u64, usize)> = None;
        for step in 0..steps {
            context.check_every(step)?;
            let Some(cell) = row.cell(step) else { continue };
            let bits = cell.float().map(f64::to_bits);
            let place = match last {
                Some((known, place)) if bits == Some(known) => place,
                _ => {
                    let mut builder = LabelsBuilder::from_labels(&input.series()[i].labels);
                    builder.set(label, &value_text(&cell));
                    let key = grouping.key(&builder.build());
                    match place_of.get(&key) {
                        Some(&place) => place,
                        None => {
                            let entry = size_of::<OutputSeries>() + size_of::<(Labels, usize)>();
                            held.grow((size_of::<Row>() + steps * 8 + entry + key.text_len()) as u64)?;
                            place_of.insert(key.clone(), rows.len());
                            series.push(OutputSeries::new(key));
                            rows.push(Row::new(steps));
                            rows.len() - 1
                        }
                    }
                }
            };
            last = bits.map(|bits| (bits, place));
            let count = rows[place].float(step).unwrap_or(0.0);
            rows[place].set_float(step, count + 1.0);
        }
    }
    Ok(Rows::new(series, rows, Some(held)))
}

fn value_text(cell: &Cell) -> String {
    match cell {
        Cell::Float(value) => go_f(*value),
        Cell::Histogram(histogram) => histogram_text(histogram),
    }
}

/// A histogram as Prometheus prints it, populated buckets in ascending order.
fn histogram_text(histogram: &Histogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", go_g(histogram.count), go_g(histogram.sum));
    for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(go_g);
        text += &format!(", {open}{lower},{upper}{close}:{count}");
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(op: AggregateOp, k: usize, values: &[f64]) -> Vec<usize> {
        let mut kept = Kept::default();
        values.iter().enumerate().for_each(|(i, &v)| kept.offer(op, v, i, k));
        kept.sorted(op).into_iter().map(|(_, series)| series).collect()
    }

    #[test]
    fn the_best_come_first_and_nan_loses_to_every_number() {
        let values = [3.0, f64::NAN, 1.0, 2.0];
        assert_eq!(chosen(AggregateOp::Topk, 2, &values), [0, 3]);
        assert_eq!(chosen(AggregateOp::Bottomk, 2, &values), [2, 3]);
        assert_eq!(chosen(AggregateOp::Topk, 9, &values), [0, 3, 2, 1]);
        assert!(chosen(AggregateOp::Topk, 0, &values).is_empty());
    }

    #[test]
    fn an_equal_value_does_not_replace_one_that_is_kept() {
        assert_eq!(chosen(AggregateOp::Topk, 1, &[5.0, 5.0]), [0]);
        assert_eq!(chosen(AggregateOp::Bottomk, 1, &[5.0, 5.0]), [0]);
    }

    #[test]
    fn a_parameter_is_cut_to_whole_numbers_and_checked() {
        assert_eq!(counts(&[0.9, 0.0], 5).unwrap(), None);
        assert_eq!(counts(&[2.9, -1.0, 1e9], 5).unwrap(), Some(vec![2.0, 0.0, 5.0]));
        assert!(counts(&[1.0, f64::NAN], 5).is_err());
        assert!(counts(&[1e19], 5).unwrap_err().to_string().contains("overflows int64"));
    }

    #[test]
    fn ratio_and_complement_share_out_every_series() {
        for share in [0.0, 0.25, 0.7, 0.999] {
            assert_ne!(in_ratio(0.25, share), in_ratio(-0.75, share));
        }
    }
}
