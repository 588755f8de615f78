//! Sums that keep the bits a plain addition would drop.

/// A running sum by Kahan's method as Neumaier improved it: what rounding took off is added up beside the sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompensatedSum {
    pub value: f64,
    pub compensation: f64,
}

impl CompensatedSum {
    pub fn new(value: f64) -> CompensatedSum {
        CompensatedSum { value, compensation: 0.0 }
    }

    pub fn add(&mut self, term: f64) {
        let sum = self.value + term;
        if sum.is_infinite() {
            // Inf - Inf would turn the compensation, and with it the total, into NaN.
            self.compensation = 0.0;
        } else if self.value.abs() >= term.abs() {
            self.compensation += (self.value - sum) + term;
        } else {
            self.compensation += (term - sum) + self.value;
        }
        self.value = sum;
    }

    /// Adds another sum with what it holds beside itself.
    pub fn add_sum(&mut self, other: CompensatedSum) {
        self.add(other.value);
        self.add(other.compensation);
    }

    pub fn scale(self, f: impl Fn(f64) -> f64) -> CompensatedSum {
        CompensatedSum { value: f(self.value), compensation: f(self.compensation) }
    }

    pub fn total(self) -> f64 {
        self.value + self.compensation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(terms: &[f64]) -> f64 {
        let mut sum = CompensatedSum::default();
        terms.iter().for_each(|&t| sum.add(t));
        sum.total()
    }

    #[test]
    fn small_terms_survive_between_large_ones() {
        assert_eq!(total(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(total(&[0.1; 10]), 1.0);
    }

    #[test]
    fn an_infinite_sum_stays_infinite() {
        assert_eq!(total(&[f64::MAX, f64::MAX, 1.0]), f64::INFINITY);
        assert_eq!(total(&[1.0, f64::NEG_INFINITY, 1.0]), f64::NEG_INFINITY);
        assert!(total(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }
}
