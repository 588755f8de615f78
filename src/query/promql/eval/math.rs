//! Floating-point building blocks that must give Prometheus's results to the last compensated bit.

use super::row::is_absent;

/// One step of a Neumaier sum: adds `value` to `sum` with compensation `c`. An infinite sum has none, or it would
/// turn into NaN.
#[inline]
pub fn kahan_add(value: f64, sum: f64, c: f64) -> (f64, f64) {
    let t = sum + value;
    // The compensation is what was lost of the smaller of the two.
    let (larger, smaller) = if sum.abs() >= value.abs() { (sum, value) } else { (value, sum) };
    (t, if t.is_infinite() { 0.0 } else { c + ((larger - t) + smaller) })
}

/// As many are looked at at once for whether any is absent; where none is, adding takes half as long.
pub const STEPS_AT_ONCE: usize = 128;

/// Adds a row to sums, some of which may be absent, as some of its values may. There may be millions of these, so none takes a
/// branch.
pub fn add_floats(sums: &mut [f64], compensations: &mut [f64], values: &[f64]) {
    let has_absent = |floats: &[f64]| floats.iter().fold(false, |any, float| any | is_absent(*float));
    let is_whole = !has_absent(values) && !has_absent(sums);
    let places = sums.iter_mut().zip(compensations).zip(values);
    if is_whole {
        return places.for_each(|((sum, c), &value)| (*sum, *c) = kahan_add(value, *sum, *c));
    }
    for ((sum, c), &value) in places {
        // All is computed and the right one taken.
        let added = kahan_add(value, *sum, *c);
        let next = if is_absent(*sum) { (value, 0.0) } else { added };
        (*sum, *c) = if is_absent(value) { (*sum, *c) } else { next };
    }
}

/// A compensated sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct KahanSum {
    pub sum: f64,
    pub c: f64,
}

impl KahanSum {
    pub fn add(&mut self, value: f64) {
        (self.sum, self.c) = kahan_add(value, self.sum, self.c);
    }

    pub fn total(&self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.c }
    }
}

/// A mean that sums directly as long as the sum is finite and turns to the incremental mean when it would
/// overflow.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    /// The sum so far, or the mean so far once `incremental`.
    value: f64,
    c: f64,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub fn of(first: f64) -> Mean {
        Mean { value: first, c: 0.0, count: 1.0, incremental: false }
    }

    /// Of values that were added up, their compensated sum being finite or that of a single one.
    pub fn of_sum(sum: f64, c: f64, count: f64) -> Mean {
        Mean { value: sum, c, count, incremental: false }
    }

    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let (sum, c) = kahan_add(value, self.value, self.c);
            if !sum.is_infinite() {
                (self.value, self.c) = (sum, c);
                return;
            }
            self.incremental = true;
            self.value /= self.count - 1.0;
            self.c /= self.count - 1.0;
        }
        let q = (self.count - 1.0) / self.count;
        (self.value, self.c) = kahan_add(value / self.count, q * self.value, q * self.c);
    }

    pub fn get(&self) -> f64 {
        if self.incremental { self.value + self.c } else { self.value / self.count + self.c / self.count }
    }
}

/// The `q`-quantile of values in any order, interpolated between neighbours; NaN counts as the lowest value.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(nan_lowest);
    let rank = q * (values.len() - 1) as f64;
    let lower = (rank.floor().max(0.0)) as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// Orders numbers with NaN before all of them.
pub fn nan_lowest(a: &f64, b: &f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(b).expect("neither is NaN"),
        (a_nan, b_nan) => b_nan.cmp(&a_nan),
    }
}

/// A number as Go's `%g` prints it, which annotation texts use: shortest form, exponents below -4 and from 21 on.
pub fn go_g(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("LowerExp writes an e");
    let exponent: i32 = exponent.parse().expect("LowerExp writes an integer exponent");
    if value != 0.0 && !(-4..21).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// A number as Go's `FormatFloat(v, 'f', -1, 64)`: shortest digits, never an exponent.
pub fn go_f(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { go_g(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compensated_sum_keeps_what_plain_addition_loses() {
        let mut sum = KahanSum::default();
        for value in [1.0, 1e100, 1.0, -1e100] {
            sum.add(value);
        }
        assert_eq!(sum.total(), 2.0);
        sum.add(f64::INFINITY);
        assert_eq!(sum.total(), f64::INFINITY);
    }

    #[test]
    fn a_mean_survives_a_sum_that_overflows() {
        let mut mean = Mean::of(f64::MAX);
        mean.add(f64::MAX);
        assert_eq!(mean.get(), f64::MAX);
    }

    #[test]
    fn quantiles_interpolate_and_saturate() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(0.25, &mut [1.0, 2.0]), 1.25);
        assert_eq!(quantile(-1.0, &mut [1.0]), f64::NEG_INFINITY);
        assert_eq!(quantile(2.0, &mut [1.0]), f64::INFINITY);
        assert!(quantile(f64::NAN, &mut [1.0]).is_nan() && quantile(0.5, &mut []).is_nan());
        assert_eq!(quantile(1.0, &mut [f64::NAN, 1.0]), 1.0);
    }

    #[test]
    fn numbers_print_as_go_prints_them() {
        assert_eq!([1.5, 1e21, 1e-7, 0.0, 0.0001].map(go_g), ["1.5", "1e+21", "1e-07", "0", "0.0001"]);
        assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(go_g), ["NaN", "+Inf", "-Inf"]);
        assert_eq!(go_f(1e21), "1000000000000000000000");
    }
}
