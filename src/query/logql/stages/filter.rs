//! Conditions on labels: `level="error"`, `latency > 250ms and status >= 500`, `addr=ip("10.0.0.0/8")`.

use crate::model::Lookout;
use crate::query::logql::ast::{CompareValue, LabelComparison, LabelFilter, LabelFilterKind};
use crate::query::logql::units::{parse_bytes, parse_go_duration};

use super::labels::{EntryError, EntryLabels};

/// Whether the entry passes. An entry that has an error already passes all but the conditions on texts; a value that
/// cannot be compared makes it such an entry. What is said once the lookout has given up means nothing.
pub fn passes(filter: &LabelFilter, labels: &mut EntryLabels, lookout: &Lookout<'_>) -> bool {
    match &filter.kind {
        LabelFilterKind::All(filters) => filters.iter().all(|filter| passes(filter, labels, lookout)),
        LabelFilterKind::Any(filters) => filters.iter().any(|filter| passes(filter, labels, lookout)),
        LabelFilterKind::Matcher(matcher) => {
            matcher.matches_within(labels.get(&matcher.name).unwrap_or_default(), lookout)
        }
        _ if labels.error().is_some() => true,
        LabelFilterKind::Compare(comparison) => compare(comparison, labels),
        LabelFilterKind::Ip(filter) => match labels.get(&filter.name) {
            Some(value) => filter.range.is_in_line(value) != filter.is_negated,
            None => false,
        },
    }
}

fn compare(comparison: &LabelComparison, labels: &mut EntryLabels) -> bool {
    let Some(text) = labels.get(&comparison.name) else {
        return false;
    };
    let op = comparison.op;
    let (holds, expected) = match comparison.value {
        CompareValue::Number(than) => (text.parse().ok().map(|value| op.holds(value, than)), "a number"),
        CompareValue::Duration(than) => {
            (parse_go_duration(text).map(|value| op.holds(value, than)), "a duration")
        }
        CompareValue::Bytes(than) => {
            (parse_bytes(text).map(|value| op.holds(value, than)), "a size in bytes")
        }
    };
    if let Some(holds) = holds {
        return holds;
    }
    let details = cannot_convert(text, expected);
    labels.set_error(EntryError::LabelFilter, details);
    true
}

/// Longer values are cut where errors tell them.
const TOLD_CHARS_MAX: usize = 64;

pub fn cannot_convert(text: &str, expected: &str) -> String {
    let told: String = text.chars().take(TOLD_CHARS_MAX).collect();
    format!("cannot read {told:?} as {expected}")
}

#[cfg(test)]
mod tests {
    use super::super::testing::entry;
    use super::*;
    use crate::model::StopSign;
    use crate::model::{MatchOp, Matcher};
    use crate::query::logql::ast::{CompareOp, IpFilter, PositionRange};
    use crate::query::logql::ip::IpRange;

    fn is_passed_by(filter: &LabelFilter, labels: &mut EntryLabels) -> bool {
        passes(filter, labels, &Lookout::new(&StopSign::never()))
    }

    fn filter(kind: LabelFilterKind) -> LabelFilter {
        LabelFilter { position: PositionRange::default(), kind }
    }

    fn comparison(name: &str, op: CompareOp, value: CompareValue) -> LabelFilter {
        filter(LabelFilterKind::Compare(LabelComparison { name: name.to_owned(), op, value }))
    }

    fn text(name: &str, op: MatchOp, value: &str) -> LabelFilter {
        filter(LabelFilterKind::Matcher(Matcher::new(name, op, value).unwrap()))
    }

    fn labels(pairs: &[(&str, &str)]) -> EntryLabels {
        let mut labels = entry();
        pairs.iter().for_each(|(name, value)| labels.set(name, value));
        labels
    }

    #[test]
    fn values_are_compared_as_what_they_are_compared_with() {
        for (value, than, holds) in [
            ("10", CompareValue::Number(9.5), true),
            ("9.5", CompareValue::Number(9.5), false),
            ("1.2s", CompareValue::Duration(250_000_000), true),
            ("250000us", CompareValue::Duration(250_000_000), false),
            ("1KiB", CompareValue::Bytes(1000), true),
            ("1kB", CompareValue::Bytes(1000), false),
        ] {
            let mut labels = labels(&[("x", value)]);
            assert_eq!(
                is_passed_by(&comparison("x", CompareOp::Greater, than), &mut labels),
                holds,
                "{value}"
            );
            assert_eq!(labels.error(), None);
        }
    }

    #[test]
    fn a_label_that_is_not_there_is_empty_text_and_no_number() {
        let mut labels = labels(&[]);
        assert!(is_passed_by(&text("x", MatchOp::Equal, ""), &mut labels));
        assert!(!is_passed_by(&text("x", MatchOp::Regex, ".+"), &mut labels));
        assert!(!is_passed_by(&comparison("x", CompareOp::NotEqual, CompareValue::Number(1.0)), &mut labels));
        assert_eq!(labels.error(), None);
    }

    #[test]
    fn what_cannot_be_compared_passes_with_an_error() {
        for value in ["slow", ""] {
            let mut labels = labels(&[("x", value)]);
            assert!(is_passed_by(
                &comparison("x", CompareOp::Greater, CompareValue::Number(1.0)),
                &mut labels
            ));
            assert_eq!(labels.error(), Some(EntryError::LabelFilter));
            assert_eq!(labels.error_details(), format!("cannot read {value:?} as a number"));
        }
    }

    #[test]
    fn an_entry_with_an_error_is_kept_from_conditions_on_texts_only() {
        let mut labels = labels(&[("x", "1")]);
        labels.set_error(EntryError::Json, "bad");
        assert!(is_passed_by(&comparison("x", CompareOp::Greater, CompareValue::Number(5.0)), &mut labels));
        assert!(!is_passed_by(&text("x", MatchOp::Equal, "5"), &mut labels));
        assert!(is_passed_by(&text("__error__", MatchOp::Equal, "JSONParserErr"), &mut labels));
        assert!(!is_passed_by(&text("__error__", MatchOp::Equal, ""), &mut labels));
        assert_eq!(labels.error(), Some(EntryError::Json));
    }

    #[test]
    fn addresses_are_looked_for_in_the_value() {
        let ip = |is_negated| {
            let range = IpRange::parse("10.0.0.0/8").unwrap();
            filter(LabelFilterKind::Ip(IpFilter { name: "addr".to_owned(), is_negated, range }))
        };
        let mut inside = labels(&[("addr", "10.1.2.3:8080")]);
        assert!(is_passed_by(&ip(false), &mut inside) && !is_passed_by(&ip(true), &mut inside));
        let mut outside = labels(&[("addr", "11.1.2.3")]);
        assert!(!is_passed_by(&ip(false), &mut outside) && is_passed_by(&ip(true), &mut outside));
        let mut none = labels(&[]);
        assert!(!is_passed_by(&ip(false), &mut none) && !is_passed_by(&ip(true), &mut none));
    }

    #[test]
    fn conditions_combine() {
        let mut labels = labels(&[("a", "1"), ("b", "2")]);
        let (yes, no) = (text("a", MatchOp::Equal, "1"), text("b", MatchOp::Equal, "1"));
        let all = filter(LabelFilterKind::All(vec![yes.clone(), no.clone()]));
        let any = filter(LabelFilterKind::Any(vec![no, yes]));
        assert!(!is_passed_by(&all, &mut labels) && is_passed_by(&any, &mut labels));
    }
}
