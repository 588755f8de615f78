//! Columns of states of floats to bytes: of each the form that seems the smallest.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use super::super::residuals::{Places, Residuals};
use super::super::scale::{IntegerScale, Scale, from_rounded_bits, to_rounded_bits};
use super::super::{parts, tellable};
use super::{EXPECTED, Filled, Forms, OF_MEAN, PLAIN, ROUNDED, SOME, STEPPED};
use super::{expected_first, expected_integer_sum, integer_end, stepped_first};
use crate::codec::{Effort, floats, integers};
use crate::model::rollup::{Columns, FloatBuckets, greater, lesser, rows_of};

/// As far as a stored sum may be from the one it stands for, in terms of its size: 2^-45. Sums are promised to 1e-12, 2^-40, of
/// what was added up; this leaves room for many merges.
const SUM_ERROR: f64 = 1.0 / (1u64 << 45) as f64;

/// Appends the states of these rows of `buckets`, without their times and counts.
pub fn encode(buckets: &FloatBuckets, rows: Range<usize>, forms: Forms, out: &mut Vec<u8>) {
    let states = states_of(buckets, &rows);
    let packer = Packer::new(&states, forms);
    parts::put(tellable(buckets.has), |column| packer.column(column), out);
}

/// Those of these rows that have samples.
fn states_of<'b>(buckets: &'b FloatBuckets, rows: &Range<usize>) -> Filled<'b, Cow<'b, [f64]>> {
    let counts = &buckets.counts[rows.clone()];
    let filled = Rows { counts, are_all_filled: !counts.contains(&0) };
    let floats = |column| filled.of(rows_of(column, rows));
    let resets = filled.of(rows_of(&buckets.resets, rows));
    let resets = resets.iter().enumerate().filter(|(_, resets)| **resets != 0);
    let changes = filled.of(rows_of(&buckets.changes, rows));
    Filled {
        counts: filled.of(counts),
        lasts: floats(&buckets.lasts),
        firsts: floats(&buckets.firsts),
        mins: floats(&buckets.mins),
        maxs: floats(&buckets.maxs),
        sums: floats(&buckets.sums),
        resets: resets.map(|(at, &resets)| (at, resets.into())).collect(),
        lost: floats(&buckets.lost),
        changes: changes.iter().map(|&changes| changes.into()).collect(),
    }
}

struct Packer<'a> {
    states: &'a Filled<'a, Cow<'a, [f64]>>,
    forms: Forms,
    /// Of all columns; most series never need it.
    scale: OnceCell<Scale>,
    /// The integers of first and last values in it.
    ends: OnceCell<Option<[Vec<i64>; 2]>>,
    lasts_bits: OnceCell<usize>,
    /// Their column, once it is written.
    sums: OnceCell<Option<Vec<u8>>>,
}

impl<'a> Packer<'a> {
    fn new(states: &'a Filled<'a, Cow<'a, [f64]>>, forms: Forms) -> Packer<'a> {
        let (scale, ends, lasts_bits, sums) = Default::default();
        Packer { states, forms, scale, ends, lasts_bits, sums }
    }

    /// The bytes of a column; none if it is as expected.
    fn column(&self, column: Columns) -> Option<Vec<u8>> {
        let states = self.states;
        match column {
            Columns::LAST => Some(self.lasts()),
            Columns::FIRST => self.firsts(),
            Columns::MIN => self.extreme(&states.mins, lesser, i64::min),
            Columns::MAX => self.extreme(&states.maxs, greater, i64::max),
            Columns::SUM => self.sums_column().clone(),
            Columns::RESETS if states.resets.is_empty() => None,
            Columns::RESETS => numbers(states.all_resets(), self.forms.effort()),
            Columns::LOST => self.lost(),
            Columns::CHANGES => {
                let pairs = states.changes.iter().zip(states.expected_changes());
                let residuals = pairs.map(|(changes, expected)| changes.wrapping_sub(expected));
                numbers(residuals.collect(), self.forms.effort())
            }
            _ => None,
        }
    }

    fn scale(&self) -> Scale {
        let Filled { lasts, firsts, mins, maxs, .. } = self.states;
        *self.scale.get_or_init(|| Scale::find(&[lasts, firsts, mins, maxs]))
    }

    /// The integers of first and last values, if every bit comes back from them: as nearly always.
    fn integer_ends(&self) -> Option<[&[i64]; 2]> {
        let Filled { firsts, lasts, .. } = self.states;
        let find = || Some([self.scale().integers_of(firsts)?, self.scale().integers_of(lasts)?]);
        self.ends.get_or_init(find).as_ref().map(|ends| ends.each_ref().map(Vec::as_slice))
    }

    fn has_ends(&self) -> bool {
        let Filled { counts, firsts, lasts, .. } = self.states;
        firsts.len() == counts.len() && lasts.len() == counts.len()
    }

    fn lasts(&self) -> Vec<u8> {
        let plain = self.plain(&self.states.lasts);
        let _ = self.lasts_bits.set(plain.cost_bits());
        plain.bytes(self.forms.effort())
    }

    fn firsts(&self) -> Option<Vec<u8>> {
        let values = &self.states.firsts;
        if !self.has_ends() {
            return Some(self.with_plain(values, []));
        }
        if same_bits(values.iter().copied(), self.states.lasts.iter().copied()) {
            return None;
        }
        let scale = self.scale();
        let [stepped, expected] = match self.integer_ends() {
            Some([firsts, lasts]) => {
                let (last, counts) = (|at: usize| lasts[at], &self.states.counts);
                let stepped = Residuals::of_integers(scale, firsts, stepped_first(last));
                [stepped, Residuals::of_integers(scale, firsts, expected_first(counts, last))].map(Some)
            }
            None => [
                self.exact(values, self.states.stepped_first(scale)),
                self.exact(values, self.states.expected_first(scale)),
            ],
        };
        Some(self.with_plain(values, [(STEPPED, stepped), (EXPECTED, expected)]))
    }

    fn extreme(
        &self,
        values: &[f64],
        of_floats: impl Fn(f64, f64) -> f64 + Copy,
        of_integers: impl Fn(i64, i64) -> i64,
    ) -> Option<Vec<u8>> {
        if !self.has_ends() {
            return Some(self.with_plain(values, []));
        }
        let ends = || self.states.ends(of_floats);
        if same_bits(values.iter().copied(), ends()) {
            return None;
        }
        let scale = self.scale();
        if scale == Scale::Bits {
            let some = some_column(values, ends(), self.forms.effort());
            return Some(self.chosen([self.plain(values), Candidate::Written(some)]));
        }
        let integers = self.integer_ends().and_then(|ends| Some((ends, scale.integers_of(values)?)));
        let residuals = match integers {
            Some(([firsts, lasts], integers)) => {
                let expected = integer_end(|at| firsts[at], |at| lasts[at], of_integers);
                Some(Residuals::of_integers(scale, &integers, expected))
            }
            None => self.exact(values, self.states.integer_end(scale, of_integers)),
        };
        Some(self.with_plain(values, [(EXPECTED, residuals)]))
    }

    /// Residuals in the scale of all columns, from which every bit comes back.
    fn exact(&self, values: &[f64], expected: impl Fn(usize) -> i64) -> Option<Residuals> {
        let scale = self.scale();
        let integer = |_: usize, value: f64| {
            let integer = scale.integer_of(value);
            (scale.value_of(integer).to_bits() == value.to_bits()).then_some(integer)
        };
        Residuals::of(scale, values, expected, integer)
    }

    fn sums_column(&self) -> &Option<Vec<u8>> {
        self.sums.get_or_init(|| self.sums())
    }

    /// None are there if they are not stored.
    fn sums_as_read(&self) -> Vec<f64> {
        let mut sums = Vec::new();
        if !self.states.sums.is_empty() {
            let places = Places::all(self.states.counts.len());
            let read = self.states.take_sums(self.sums_column().as_deref(), &places, &mut sums);
            read.expect("what was just written is read");
        }
        sums
    }

    fn sums(&self) -> Option<Vec<u8>> {
        let states = self.states;
        if !self.has_ends() {
            return Some(self.with_plain(&states.sums, []));
        }
        let mut pairs = states.sums.iter().zip(states.expected_sums()).enumerate();
        if pairs.all(|(at, (&sum, stored))| self.is_close(at, sum, stored)) {
            return None;
        }
        let scale = match self.scale() {
            Scale::Bits => Scale::near(&states.sums, SUM_ERROR),
            scale => scale,
        };
        let form = match scale {
            Scale::Decimal { .. } => {
                let integer = |at: usize, sum: f64| {
                    let scale = scale.of_sums(states.counts[at]);
                    let integer = scale.integer_of(sum);
                    self.is_close(at, sum, scale.value_of(integer)).then_some(integer)
                };
                let residuals = match self.integer_ends().filter(|_| scale == self.scale()) {
                    Some([firsts, lasts]) => {
                        let both = integer_end(|at| firsts[at], |at| lasts[at], i64::wrapping_add);
                        let expected = expected_integer_sum(&states.counts, both);
                        Residuals::of(scale, &states.sums, expected, integer)
                    }
                    None => Residuals::of(scale, &states.sums, states.expected_integer_sum(scale), integer),
                };
                (EXPECTED, residuals)
            }
            Scale::Bits => {
                let expected: Vec<f64> = states.expected_sums().collect();
                let integer = |at: usize, sum: f64| {
                    let integer = to_rounded_bits(sum);
                    self.is_close(at, sum, from_rounded_bits(integer)).then_some(integer)
                };
                (ROUNDED, Residuals::of(scale, &states.sums, |at| to_rounded_bits(expected[at]), integer))
            }
        };
        let rounded = match (self.forms, scale) {
            (Forms::Quick, Scale::Decimal { .. }) => self.rounded_sums(scale).into(),
            _ => Cow::Borrowed(&states.sums[..]),
        };
        Some(self.with_plain(&rounded, [form]))
    }

    /// Sums as the decimals that they are near, which take fewer bits.
    fn rounded_sums(&self, scale: Scale) -> Vec<f64> {
        let sums = self.states.sums.iter().zip(self.states.counts.iter()).enumerate();
        let rounded = sums.map(|(at, (&sum, &count))| {
            let scale = scale.of_sums(count);
            let near = scale.value_of(scale.integer_of(sum));
            if self.is_close(at, sum, near) { near } else { sum }
        });
        rounded.collect()
    }

    /// Whether `stored` may stand for the sum of bucket `at`.
    fn is_close(&self, at: usize, sum: f64, stored: f64) -> bool {
        let size = sum.abs().max(self.states.firsts[at].abs()).max(self.states.lasts[at].abs());
        sum.to_bits() == stored.to_bits() || (sum - stored).abs() <= size * SUM_ERROR
    }

    fn lost(&self) -> Option<Vec<u8>> {
        let states = self.states;
        let rows: Vec<usize> = states.reset_rows().collect();
        let lost: Vec<f64> = rows.iter().filter_map(|&row| states.lost.get(row).copied()).collect();
        if lost.is_empty() {
            return None;
        }
        let scale = self.scale();
        let form = |form, expected: Vec<i64>| {
            let integer = |at: usize, lost: f64| {
                let scale = scale.of_sums(states.resets[at].1 as u64);
                let integer = scale.integer_of(lost);
                (scale.value_of(integer).to_bits() == lost.to_bits()).then_some(integer)
            };
            let is_there = expected.len() == lost.len();
            (form, is_there.then(|| Residuals::of(scale, &lost, |at| expected[at], integer)).flatten())
        };
        let maxs = rows.iter().filter_map(|&row| states.maxs.get(row).copied());
        let of_max = form(EXPECTED, states.lost_of_max(maxs, scale));
        let of_mean = form(OF_MEAN, states.lost_of_mean(&self.sums_as_read(), scale));
        Some(self.with_plain(&lost, [of_max, of_mean]))
    }

    /// One of these forms, which are in order of what they take to read, and the plain one.
    fn with_plain(
        &self,
        values: &[f64],
        forms: impl IntoIterator<Item = (u8, Option<Residuals>)>,
    ) -> Vec<u8> {
        let packed =
            forms.into_iter().filter_map(|(form, residuals)| Some(Candidate::Packed(form, residuals?)));
        let packed: Vec<Candidate> = packed.collect();
        let like_lasts = self.lasts_bits() * values.len() / self.states.lasts.len().max(1);
        let seems_less = |candidate: &Candidate| candidate.cost_bits() < like_lasts;
        if self.forms == Forms::Smallest && packed.iter().any(seems_less) && !is_constant(values) {
            return self.chosen(packed);
        }
        self.chosen(std::iter::once(self.plain(values)).chain(packed))
    }

    /// About what the last values take plainly. The other columns of a series are much like them: where one seems to take less in
    /// another form, it is not looked at plainly.
    fn lasts_bits(&self) -> usize {
        *self.lasts_bits.get_or_init(|| self.plain(&self.states.lasts).cost_bits())
    }

    fn plain(&self, values: &[f64]) -> Candidate {
        Candidate::Plain(floats::Chosen::of(values, self.forms.effort()))
    }

    /// What seems the smallest, or is quicker and not much larger; the quickest comes first.
    fn chosen(&self, candidates: impl IntoIterator<Item = Candidate>) -> Vec<u8> {
        let mut candidates: Vec<Candidate> = candidates.into_iter().collect();
        let least = candidates.iter().map(Candidate::cost_bits).min().expect("there is the plain form");
        let cost_max = match self.forms {
            Forms::Smallest => least,
            Forms::Quick => least + least / 2,
        };
        let at = candidates.iter().position(|candidate| candidate.cost_bits() <= cost_max);
        candidates.swap_remove(at.expect("the smallest is one of them")).bytes(self.forms.effort())
    }
}

/// A form that a column may take. Which one is the smallest is told before any is written: that takes longer than all else.
enum Candidate {
    Plain(floats::Chosen),
    Packed(u8, Residuals),
    Written(Vec<u8>),
}

impl Candidate {
    /// About how many bits it takes.
    fn cost_bits(&self) -> usize {
        match self {
            Candidate::Plain(chosen) => 8 + chosen.cost_bits(),
            Candidate::Packed(_, residuals) => 8 + residuals.cost_bits(),
            Candidate::Written(bytes) => 8 * bytes.len(),
        }
    }

    fn bytes(self, effort: Effort) -> Vec<u8> {
        let room = 1 + self.cost_bits().div_ceil(8);
        let begun = |form: u8| {
            let mut bytes = Vec::with_capacity(room);
            bytes.push(form);
            bytes
        };
        match self {
            Candidate::Plain(chosen) => {
                let mut bytes = begun(PLAIN);
                chosen.put(effort, &mut bytes);
                bytes
            }
            Candidate::Packed(form, residuals) => {
                let mut bytes = begun(form);
                residuals.put(effort, &mut bytes);
                bytes
            }
            Candidate::Written(bytes) => bytes,
        }
    }
}

/// Some rows, most often all with samples.
struct Rows<'a> {
    counts: &'a [u64],
    are_all_filled: bool,
}

impl Rows<'_> {
    /// A column of all of them as it is of those that have samples.
    fn of<'c, T: Copy>(&self, column: &'c [T]) -> Cow<'c, [T]> {
        if column.is_empty() || self.are_all_filled {
            return column.into();
        }
        column.iter().zip(self.counts).filter(|(_, count)| **count > 0).map(|(&value, _)| value).collect()
    }
}

/// Which values are not as expected, and those.
fn some_column(values: &[f64], expected: impl Iterator<Item = f64>, effort: Effort) -> Vec<u8> {
    let is_other: Vec<bool> = values.iter().zip(expected).map(|(v, e)| v.to_bits() != e.to_bits()).collect();
    let others: Vec<f64> =
        values.iter().zip(&is_other).filter(|(_, is_other)| **is_other).map(|(&v, _)| v).collect();
    let mut bytes = vec![SOME];
    let flags: Vec<i64> = is_other.into_iter().map(i64::from).collect();
    integers::encode_with(&flags, effort, &mut bytes);
    floats::encode_with(&others, effort, &mut bytes);
    bytes
}

/// None if all are 0.
fn numbers(values: Vec<i64>, effort: Effort) -> Option<Vec<u8>> {
    if values.iter().all(|&value| value == 0) {
        return None;
    }
    let mut bytes = Vec::new();
    integers::encode_with(&values, effort, &mut bytes);
    Some(bytes)
}

fn is_constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits())
}

fn same_bits(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>) -> bool {
    a.map(f64::to_bits).eq(b.map(f64::to_bits))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::tests::{columns, folded, series, told};
    use super::*;

    proptest! {
        #[test]
        fn integers_of_all_are_written_as_those_of_each(values in series(), step_ms in 4_000i64..70_000, has in columns()) {
            let mut buckets = folded(values, step_ms);
            buckets.narrow(told(has));
            let states = states_of(&buckets, &(0..buckets.len()));
            for forms in [Forms::Smallest, Forms::Quick] {
                let ends = [OnceCell::new(), OnceCell::from(None)];
                let [of_all, of_each] = ends.map(|ends| {
                    let packer = Packer { ends, ..Packer::new(&states, forms) };
                    let mut bytes = Vec::new();
                    parts::put(tellable(buckets.has), |column| packer.column(column), &mut bytes);
                    bytes
                });
                prop_assert_eq!(of_all, of_each);
            }
        }
    }
}
