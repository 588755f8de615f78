//! The series that one point writes to: one of the metric's name, or several with suffixes and a label more.

use std::borrow::Cow;

/// A series of a point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Member {
    /// The only one of its point.
    Itself,
    Count,
    Sum,
    /// The samples up to a bound.
    Bucket(f64),
    /// All samples of a histogram.
    LastBucket,
    Quantile(f64),
}

impl Member {
    /// What no other member of the same point has.
    pub fn spelling(self) -> [u8; 9] {
        let (member, number) = match self {
            Member::Itself => (0, 0.0),
            Member::Count => (1, 0.0),
            Member::Sum => (2, 0.0),
            Member::Bucket(bound) => (3, bound),
            Member::LastBucket => (4, 0.0),
            Member::Quantile(quantile) => (5, quantile),
        };
        let mut spelling = [member; 9];
        spelling[1..].copy_from_slice(&number.to_bits().to_le_bytes());
        spelling
    }

    /// What its name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Member::Itself | Member::Quantile(_) => "",
            Member::Count => "_count",
            Member::Sum => "_sum",
            Member::Bucket(_) | Member::LastBucket => "_bucket",
        }
    }

    /// The label that it has beside those of its point.
    pub fn label(self) -> Option<(&'static str, Cow<'static, str>)> {
        match self {
            Member::Itself | Member::Count | Member::Sum => None,
            Member::Bucket(bound) => Some(("le", bound.to_string().into())),
            Member::LastBucket => Some(("le", "+Inf".into())),
            Member::Quantile(quantile) => Some(("quantile", quantile.to_string().into())),
        }
    }
}
