//! Means of many series at each step. As long as no sum grows beyond all floats they are sums and counts, and several steps are
//! added up side by side.

use super::math::{Mean, STEPS_AT_ONCE, add_floats};
use super::row::is_absent;
use crate::model::metrics::stale_marker;

pub enum Means {
    Direct(DirectMeans),
    /// Once a sum would be infinite, for all steps and for good: that takes longer.
    Incremental(Vec<Option<Mean>>),
}

/// The parts of a [`Mean`] that sums directly.
pub struct DirectMeans {
    /// Absent as long as there is no value.
    sums: Vec<f64>,
    compensations: Vec<f64>,
    counts: Vec<f64>,
}

impl Means {
    pub fn new(steps: usize) -> Means {
        let sums = vec![stale_marker(); steps];
        Means::Direct(DirectMeans { sums, compensations: vec![0.0; steps], counts: vec![0.0; steps] })
    }

    pub fn has(&self, step: usize) -> bool {
        match self {
            Means::Direct(direct) => !is_absent(direct.sums[step]),
            Means::Incremental(means) => means[step].is_some(),
        }
    }

    pub fn get(&self, step: usize) -> Option<f64> {
        match self {
            Means::Direct(direct) => direct.mean(step).map(|mean| mean.get()),
            Means::Incremental(means) => means[step].map(|mean| mean.get()),
        }
    }

    /// Adds the values of the steps from this one on; some may be absent.
    pub fn add(&mut self, first: usize, values: &[f64]) {
        let steps = (first..first + values.len()).step_by(STEPS_AT_ONCE);
        for (first, values) in steps.zip(values.chunks(STEPS_AT_ONCE)) {
            if let Means::Direct(direct) = self {
                if direct.add(first, values) {
                    continue;
                }
                *self = Means::Incremental((0..direct.sums.len()).map(|step| direct.mean(step)).collect());
            }
            let Means::Incremental(means) = self else { unreachable!("they are not direct any more") };
            for (mean, &value) in means[first..].iter_mut().zip(values).filter(|(_, v)| !is_absent(**v)) {
                match mean {
                    Some(mean) => mean.add(value),
                    None => *mean = Some(Mean::of(value)),
                }
            }
        }
    }
}

impl DirectMeans {
    /// Adds nothing and answers with false if a sum would be infinite.
    fn add(&mut self, first: usize, values: &[f64]) -> bool {
        let steps = first..first + values.len();
        let (sums, counts) = (&mut self.sums[steps.clone()], &mut self.counts[steps.clone()]);
        let overflows = |any: bool, (sum, value): (&f64, &f64)| any | (sum + value).is_infinite();
        if sums.iter().zip(values).fold(false, overflows) {
            return false;
        }
        add_floats(sums, &mut self.compensations[steps], values);
        for (count, value) in counts.iter_mut().zip(values) {
            *count += if is_absent(*value) { 0.0 } else { 1.0 };
        }
        true
    }

    fn mean(&self, step: usize) -> Option<Mean> {
        let (sum, c, count) = (self.sums[step], self.compensations[step], self.counts[step]);
        (!is_absent(sum)).then(|| Mean::of_sum(sum, c, count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            60 => (-1000i32..1000).prop_map(|v| f64::from(v) / 7.0),
            2 => prop::sample::select(vec![0.0, -0.0, 1e308, -1e308, f64::NAN]),
            1 => Just(stale_marker()),
            1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::MAX]),
        ]
    }

    proptest! {
        #[test]
        fn means_of_many_steps_are_those_of_one_at_a_time(
            rows in prop::collection::vec((prop::collection::vec(value(), 150), 0usize..150), 1..8),
        ) {
            let (mut means, mut expected) = (Means::new(150), vec![None::<Mean>; 150]);
            for (row, piece) in rows {
                means.add(0, &row[..piece]);
                means.add(piece, &row[piece..]);
                for (mean, value) in expected.iter_mut().zip(row).filter(|(_, value)| !is_absent(*value)) {
                    match mean {
                        Some(mean) => mean.add(value),
                        None => *mean = Some(Mean::of(value)),
                    }
                }
            }
            for (step, expected) in expected.into_iter().enumerate() {
                prop_assert_eq!(means.has(step), expected.is_some());
                let (found, expected) = (means.get(step), expected.map(|mean| mean.get()));
                let is_nan = found.zip(expected).is_some_and(|(a, b)| a.is_nan() && b.is_nan());
                prop_assert!(is_nan || found.map(f64::to_bits) == expected.map(f64::to_bits));
            }
        }
    }
}
