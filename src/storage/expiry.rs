//! Retention by labels: for how long the series of a selector are kept, where that is not as long as all others.
//!
//! Ages count by whole days, as everywhere: a day goes when its end is older than the age. What a rule lets go of is
//! hidden from then on, and written out of a segment once its whole partition is as old (`retention.rs`).

use crate::model::{Matcher, Timestamp, time::DAY};

/// Of the rules that let a series through the first one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    pub matchers: Vec<Matcher>,
    pub retention_ms: i64,
}

/// What one rule lets go of by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The place of the rule.
    pub rule: usize,
    /// Series that all matchers let through …
    pub matchers: Vec<Matcher>,
    /// … and of none of these all.
    pub except: Vec<Vec<Matcher>>,
    /// Up to the end of this day.
    pub until: Timestamp,
    /// In this resolution only.
    pub resolution_ms: Option<i64>,
}

/// What rules let go of. Series without a rule have the age of the coarsest tier: a segment of it may live longer, for the
/// sake of others.
pub fn expiries(
    rules: &[RetentionRule],
    (coarsest_ms, coarsest_age_ms): (i64, i64),
    now: Timestamp,
) -> Vec<Expiry> {
    if rules.is_empty() {
        return Vec::new();
    }
    let until = |age: i64| now.saturating_sub(age).div_euclid(DAY).saturating_mul(DAY);
    let before = |rule: usize| rules[..rule].iter().map(|rule| rule.matchers.clone()).collect();
    let mut expiries: Vec<Expiry> = rules
        .iter()
        .enumerate()
        .map(|(number, rule)| Expiry {
            rule: number,
            matchers: rule.matchers.clone(),
            except: before(number),
            until: until(rule.retention_ms),
            resolution_ms: None,
        })
        .collect();
    expiries.push(Expiry {
        rule: rules.len(),
        matchers: Vec::new(),
        except: before(rules.len()),
        until: until(coarsest_age_ms),
        resolution_ms: Some(coarsest_ms),
    });
    expiries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_goes_when_its_end_is_as_old_as_the_rule_says() {
        let rule = RetentionRule { matchers: vec![Matcher::equal("env", "dev")], retention_ms: 7 * DAY };
        let until = |now| expiries(std::slice::from_ref(&rule), (0, 15 * DAY), now).remove(0).until;
        assert_eq!([27 * DAY - 1, 27 * DAY, 28 * DAY - 1].map(until), [19 * DAY, 20 * DAY, 20 * DAY]);
        assert_eq!(expiries(&[], (0, 15 * DAY), 99 * DAY), []);
    }
}
