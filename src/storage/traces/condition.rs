//! What a search asks of one span. Storage answers with a superset, so that a query language may be stricter than
//! these tests, but must not be more lenient.

use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;

use prost::Message;

use super::span::{Origin, SERVICE_NAME};
use crate::model::Lookout;
use crate::model::regex::LabelRegex;

/// A property of a span.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SpanField {
    Name,
    /// In nanoseconds; 0 where a span ends before it starts.
    Duration,
    /// OTLP's number of the status code: 0 unset, 1 ok, 2 error.
    Status,
    StatusMessage,
    /// OTLP's number of the kind.
    Kind,
    Attribute {
        scope: AttributeScope,
        key: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttributeScope {
    Span,
    Resource,
    /// Those of the instrumentation scope.
    Instrumentation,
    /// The span's or the resource's.
    Any,
}

impl AttributeScope {
    pub(super) fn holds_span(self) -> bool {
        matches!(self, AttributeScope::Span | AttributeScope::Any)
    }
}

/// A value that a field may have; other types (arrays, maps, bytes) can be read but not asked for.
#[derive(Clone, Debug)]
pub enum FieldValue {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
}

/// A [`FieldValue`] in somebody else's memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueRef<'a> {
    Text(&'a str),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Of a type that can only be read.
    Other,
}

/// A condition on one field. A field that is not there meets no test, not even `NotEquals`; of a key that a span has more
/// than once, one value is enough.
#[derive(Clone, Debug)]
pub struct SpanCondition {
    pub field: SpanField,
    pub test: Test,
}

#[derive(Clone, Debug)]
pub enum Test {
    Exists,
    Equals(FieldValue),
    /// Met by values of other types as well.
    NotEquals(FieldValue),
    Less(FieldValue),
    LessOrEqual(FieldValue),
    Greater(FieldValue),
    GreaterOrEqual(FieldValue),
    /// The whole text.
    Matches(Arc<LabelRegex>),
    NotMatches(Arc<LabelRegex>),
}

impl Test {
    /// Whether a value meets the test. Integers and floats are compared as numbers. What can only be read meets every
    /// test: whoever asks has to look.
    pub fn is_met_by(&self, value: ValueRef<'_>) -> bool {
        self.is_met(value, LabelRegex::is_match)
    }

    fn is_met(&self, value: ValueRef<'_>, is_match: impl Fn(&LabelRegex, &str) -> bool) -> bool {
        if value == ValueRef::Other {
            return true;
        }
        let compared = |to: &FieldValue| value.compare(to.as_ref());
        match self {
            Test::Exists => true,
            Test::Equals(to) => compared(to) == Some(Ordering::Equal),
            Test::NotEquals(to) => compared(to) != Some(Ordering::Equal),
            Test::Less(to) => compared(to) == Some(Ordering::Less),
            Test::LessOrEqual(to) => compared(to).is_some_and(Ordering::is_le),
            Test::Greater(to) => compared(to) == Some(Ordering::Greater),
            Test::GreaterOrEqual(to) => compared(to).is_some_and(Ordering::is_ge),
            Test::Matches(regex) => matches!(value, ValueRef::Text(text) if is_match(regex, text)),
            Test::NotMatches(regex) => !matches!(value, ValueRef::Text(text) if is_match(regex, text)),
        }
    }

    /// The integers that meet the test, where they are a range: a column is compared with that in no time.
    pub(super) fn integers(&self) -> Option<RangeInclusive<i64>> {
        Some(match self {
            Test::Exists => i64::MIN..=i64::MAX,
            Test::Equals(FieldValue::Integer(to)) => *to..=*to,
            Test::Less(FieldValue::Integer(to)) => i64::MIN..=to.checked_sub(1)?,
            Test::LessOrEqual(FieldValue::Integer(to)) => i64::MIN..=*to,
            Test::Greater(FieldValue::Integer(to)) => to.checked_add(1)?..=i64::MAX,
            Test::GreaterOrEqual(FieldValue::Integer(to)) => *to..=i64::MAX,
            _ => return None,
        })
    }
}

impl Test {
    /// The same, but false once the lookout has given up: a regular expression may take its time for a long text.
    pub(super) fn is_met_within(&self, value: ValueRef<'_>, lookout: &Lookout<'_>) -> bool {
        let bytes = if let ValueRef::Text(text) = value { text.len() } else { 0 };
        !lookout.gives_up_before(bytes)
            && self.is_met(value, |regex, text| regex.is_match_within(text, lookout))
    }
}

impl<'a> ValueRef<'a> {
    /// `None` for values that are not of one kind, and NaN.
    fn compare(self, other: ValueRef<'_>) -> Option<Ordering> {
        match (self, other) {
            (ValueRef::Text(a), ValueRef::Text(b)) => Some(a.cmp(b)),
            (ValueRef::Bool(a), ValueRef::Bool(b)) => Some(a.cmp(&b)),
            (ValueRef::Integer(a), ValueRef::Integer(b)) => Some(a.cmp(&b)),
            (ValueRef::Float(a), ValueRef::Float(b)) => a.partial_cmp(&b),
            (ValueRef::Integer(a), ValueRef::Float(b)) => (a as f64).partial_cmp(&b),
            (ValueRef::Float(a), ValueRef::Integer(b)) => a.partial_cmp(&(b as f64)),
            _ => None,
        }
    }

    /// In lists: by type, then by value; floats by their bits' order, so that equal means the same bits.
    pub(super) fn order(self, other: ValueRef<'_>) -> Ordering {
        match (self, other) {
            (ValueRef::Text(a), ValueRef::Text(b)) => a.cmp(b),
            (ValueRef::Integer(a), ValueRef::Integer(b)) => a.cmp(&b),
            (ValueRef::Float(a), ValueRef::Float(b)) => a.total_cmp(&b),
            (ValueRef::Bool(a), ValueRef::Bool(b)) => a.cmp(&b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    /// Where a type stands among the others.
    fn rank(self) -> u8 {
        match self {
            ValueRef::Text(_) => 0,
            ValueRef::Integer(_) => 1,
            ValueRef::Float(_) => 2,
            ValueRef::Bool(_) => 3,
            ValueRef::Other => 4,
        }
    }

    /// `None` for what can only be read.
    pub fn to_owned(self) -> Option<FieldValue> {
        match self {
            ValueRef::Text(text) => Some(FieldValue::Text(text.to_owned())),
            ValueRef::Integer(value) => Some(FieldValue::Integer(value)),
            ValueRef::Float(value) => Some(FieldValue::Float(value)),
            ValueRef::Bool(value) => Some(FieldValue::Bool(value)),
            ValueRef::Other => None,
        }
    }

    /// Shows the value of an encoded `KeyValue`, if it has one; what does not decode may be anything.
    pub(super) fn of_encoded<T>(bytes: &[u8], show: impl FnOnce(&str, Option<ValueRef<'_>>) -> T) -> T {
        match KeyValue::decode(bytes) {
            Ok(attribute) => show(&attribute.key, ValueRef::of(&attribute)),
            Err(_) => show("", Some(ValueRef::Other)),
        }
    }

    /// The value of an attribute; `None` where it has none.
    pub fn of(attribute: &'a KeyValue) -> Option<ValueRef<'a>> {
        Some(match attribute.value.as_ref()?.value.as_ref()? {
            AnyValue::StringValue(text) => ValueRef::Text(text),
            AnyValue::IntValue(value) => ValueRef::Integer(*value),
            AnyValue::DoubleValue(value) => ValueRef::Float(*value),
            AnyValue::BoolValue(value) => ValueRef::Bool(*value),
            _ => ValueRef::Other,
        })
    }
}

impl FieldValue {
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            FieldValue::Text(text) => ValueRef::Text(text),
            FieldValue::Integer(value) => ValueRef::Integer(*value),
            FieldValue::Float(value) => ValueRef::Float(*value),
            FieldValue::Bool(value) => ValueRef::Bool(*value),
        }
    }
}

impl Ord for FieldValue {
    fn cmp(&self, other: &FieldValue) -> Ordering {
        self.as_ref().order(other.as_ref())
    }
}

impl PartialOrd for FieldValue {
    fn partial_cmp(&self, other: &FieldValue) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FieldValue {
    fn eq(&self, other: &FieldValue) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for FieldValue {}

impl SpanCondition {
    /// `resource.service.name = name`, what every search form asks first.
    pub fn service(name: &str) -> SpanCondition {
        let field = SpanField::Attribute { scope: AttributeScope::Resource, key: SERVICE_NAME.to_owned() };
        SpanCondition { field, test: Test::Equals(FieldValue::Text(name.to_owned())) }
    }
}

impl Origin {
    /// The attributes of the resource or of the instrumentation scope.
    pub(super) fn attributes(&self, scope: AttributeScope) -> &[KeyValue] {
        match scope {
            AttributeScope::Resource | AttributeScope::Any => &self.resource.attributes,
            AttributeScope::Instrumentation => &self.scope.attributes,
            AttributeScope::Span => &[],
        }
    }

    /// Whether an attribute of the origin meets the test.
    pub(super) fn meets(&self, scope: AttributeScope, key: &str, test: &Test, lookout: &Lookout<'_>) -> bool {
        let of_key = self.attributes(scope).iter().filter(|attribute| attribute.key == key);
        of_key.filter_map(ValueRef::of).any(|value| test.is_met_within(value, lookout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_across_their_types_and_texts_do_not() {
        let greater = Test::Greater(FieldValue::Integer(200));
        assert!(greater.is_met_by(ValueRef::Float(200.5)) && greater.is_met_by(ValueRef::Integer(201)));
        assert!(!greater.is_met_by(ValueRef::Text("500")) && !greater.is_met_by(ValueRef::Float(f64::NAN)));
        let not = Test::NotEquals(FieldValue::Integer(200));
        assert!(not.is_met_by(ValueRef::Text("200")) && !not.is_met_by(ValueRef::Float(200.0)));
    }

    #[test]
    fn the_integers_of_a_test_are_those_that_meet_it() {
        const TRIED: [i64; 5] = [i64::MIN, -1, 0, 1, i64::MAX];
        use Test::*;
        for make in [Equals, NotEquals, Less, LessOrEqual, Greater, GreaterOrEqual, |_| Exists] {
            for test in TRIED.map(|to| make(FieldValue::Integer(to))) {
                let Some(integers) = test.integers() else { continue };
                for value in TRIED {
                    let is_met = test.is_met_by(ValueRef::Integer(value));
                    assert_eq!(integers.contains(&value), is_met, "{value} and {test:?}");
                }
            }
        }
        assert_eq!(Less(FieldValue::Integer(5)).integers(), Some(i64::MIN..=4));
        assert_eq!(Less(FieldValue::Float(5.5)).integers(), None);
    }

    #[test]
    fn what_can_only_be_read_is_never_ruled_out() {
        for test in [Test::Exists, Test::Equals(FieldValue::Bool(true))] {
            assert!(test.is_met_by(ValueRef::Other));
        }
    }

    #[test]
    fn a_regular_expression_matches_the_whole_of_a_text_only() {
        let regex = Arc::new(LabelRegex::new("GET|POST").unwrap());
        assert!(Test::Matches(regex.clone()).is_met_by(ValueRef::Text("GET")));
        assert!(!Test::Matches(regex.clone()).is_met_by(ValueRef::Text("GET /")));
        assert!(Test::NotMatches(regex).is_met_by(ValueRef::Integer(1)));
    }
}
