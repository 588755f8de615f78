//! The series that points write to: what they are known by, and the labels they have.
//!
//! Known are they by what was sent, hashed in three steps, so that what many share is hashed once: the metric with what
//! its resource adds, the attributes of a point, and which of the point's series it is. Names and labels are only made
//! where a series is met the first time.

use std::borrow::Cow;
use std::cell::OnceCell;

use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality as Temporality;

use super::Options;
use super::attributes::{Pairs, ResourceLabels, decoded};
use super::naming::{Kind, metric_name};
use super::walk::Metric;
use crate::ingest::protobuf::{Message, WireError};

// What spellings begin with. No protobuf field starts so, hence no spelling of remote write 1; those of 2.0 are keyed
// hashes.
pub(super) const OF_POINT: u8 = 0xFF;
const OF_MEMBER: u8 = 0xFE;
pub(super) const OF_TARGET_INFO: u8 = 0xF7;
pub(super) const OF_FAMILY: u8 = 0xFC;

/// What all points of one metric share.
pub(super) struct Family<'m> {
    pub metric: &'m Metric<'m>,
    pub temporality: Temporality,
    /// The hash of the metric and of what its resource adds to labels.
    pub spelling: u128,
    pub kind: Kind,
    name: OnceCell<String>,
}

impl<'m> Family<'m> {
    pub fn new(metric: &'m Metric<'m>, kind: Kind, temporality: Temporality, spelling: u128) -> Family<'m> {
        Family { metric, temporality, spelling, kind, name: OnceCell::new() }
    }

    pub fn name(&self, options: &Options) -> &str {
        let Metric { name, unit, .. } = self.metric;
        self.name.get_or_init(|| metric_name(name, unit, self.kind, options.translation))
    }
}

/// What all series of a point share.
pub(super) struct PointLabels<'p> {
    /// The hash of the metric and of the attributes.
    pub spelling: u128,
    attributes: &'p [Message<'p>],
    pairs: OnceCell<Result<Pairs<'static>, WireError>>,
}

impl<'p> PointLabels<'p> {
    pub fn new(attributes: &'p [Message<'p>], spelling: u128) -> PointLabels<'p> {
        PointLabels { spelling, attributes, pairs: OnceCell::new() }
    }

    /// What a member is known by that is not the only one.
    #[inline]
    pub fn spelling_of(&self, member: Member) -> [u8; 26] {
        let mut spelling = [OF_MEMBER; 26];
        spelling[1..17].copy_from_slice(&self.spelling.to_le_bytes());
        spelling[17..].copy_from_slice(&member.spelling());
        spelling
    }

    /// All but the name and a member's own.
    pub fn pairs(
        &self,
        resource: &ResourceLabels<'_>,
        options: &Options,
    ) -> Result<&Pairs<'static>, WireError> {
        let make = || {
            let attributes = decoded(self.attributes)?;
            let pairs = resource.of_point(&attributes, options.translation);
            Ok(pairs.into_iter().map(|(name, value)| (owned(name), owned(value))).collect())
        };
        self.pairs.get_or_init(make).as_ref().map_err(|error| *error)
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

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
    fn spelling(self) -> [u8; 9] {
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
