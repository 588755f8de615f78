//! Which active series have which labels, by the postings of their shard.

use roaring::RoaringBitmap;

use super::super::packed_labels::PackedLabels;
use super::super::postings::Values;
use super::{Inner, Registry};
use crate::model::{Labels, Lookout, MatchOp, Matcher};

impl Registry {
    /// The series that all matchers let through, with their fingerprints and labels.
    pub fn select(
        &self,
        matchers: &[Matcher],
        lookout: &Lookout<'_>,
        mut visit: impl FnMut(u32, u128, &dyn Fn() -> Labels),
    ) {
        let inner = self.settled();
        for id in inner.select(matchers, lookout) {
            if lookout.gives_up_before(0) {
                return;
            }
            if let Some(labels) = inner.labels.get(id) {
                visit(id, inner.fingerprints[id as usize], &|| Labels::from_sorted(inner.pairs(labels)));
            }
        }
    }

    /// The label names on series that match.
    pub fn label_names(&self, matchers: &[Matcher], lookout: &Lookout<'_>, mut visit: impl FnMut(&str)) {
        let inner = self.settled();
        if matchers.is_empty() {
            return inner.postings.names().for_each(|name| visit(inner.symbols.text(name)));
        }
        let mut names = RoaringBitmap::new();
        for id in inner.select(matchers, lookout) {
            if lookout.gives_up_before(0) {
                return;
            }
            let labels = inner.labels.get(id).into_iter().flat_map(PackedLabels::iter);
            names.extend(labels.map(|(name, _)| name));
        }
        names.iter().for_each(|name| visit(inner.symbols.text(name)));
    }

    /// The values of one label on series that match.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        lookout: &Lookout<'_>,
        mut visit: impl FnMut(&str),
    ) {
        let inner = self.settled();
        let Some(values) = inner.values(name) else { return };
        let selected = (!matchers.is_empty()).then(|| inner.select(matchers, lookout));
        for (&value, postings) in values {
            if lookout.gives_up_before(0) {
                return;
            }
            if selected.as_ref().is_none_or(|s| !postings.is_disjoint(s)) {
                visit(inner.symbols.text(value));
            }
        }
    }

    /// How many values a label has.
    pub fn value_count(&self, name: &str) -> usize {
        self.settled().values(name).map_or(0, Values::len)
    }

    /// How many series carry each value of a label, and how many values each label has; for the status page.
    pub fn label_statistics(&self, mut visit: impl FnMut(&str, &str, u64)) {
        let inner = self.settled();
        for name in inner.postings.names() {
            for (&value, holders) in inner.postings.values(name).into_iter().flatten() {
                visit(inner.symbols.text(name), inner.symbols.text(value), holders.len());
            }
        }
    }
}

impl Inner {
    fn values(&self, name: &str) -> Option<&Values> {
        self.postings.values(self.symbols.find(name)?)
    }

    fn select(&self, matchers: &[Matcher], lookout: &Lookout<'_>) -> RoaringBitmap {
        // What demands a label narrows the set; it goes first, equalities before regexes.
        let (mut narrowing, excluding): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| !m.matches_empty());
        narrowing.sort_by_key(|m| m.op != MatchOp::Equal);
        let mut selected: Option<RoaringBitmap> = None;
        for matcher in narrowing {
            let matched = self.holders(matcher, lookout);
            selected = Some(match selected {
                None => matched,
                Some(before) => before & matched,
            });
            if selected.as_ref().is_some_and(RoaringBitmap::is_empty) {
                return RoaringBitmap::new();
            }
        }
        let mut selected = selected.unwrap_or_else(|| self.all.clone());
        for matcher in excluding {
            selected -= self.holders(&matcher.inverse(), lookout);
        }
        selected
    }

    /// The series that have the matcher's label with a value that it lets through.
    fn holders(&self, matcher: &Matcher, lookout: &Lookout<'_>) -> RoaringBitmap {
        let Some(values) = self.values(&matcher.name) else { return RoaringBitmap::new() };
        let mut matched = RoaringBitmap::new();
        if let Some(listed) = matcher.literal_values() {
            let symbols = listed.iter().filter_map(|value| self.symbols.find(value));
            symbols.filter_map(|symbol| values.get(&symbol)).for_each(|holders| holders.add_to(&mut matched));
            return matched;
        }
        for (&value, postings) in values {
            let text = self.symbols.text(value);
            if lookout.gives_up_before(text.len()) {
                break;
            }
            if matcher.matches_within(text, lookout) {
                postings.add_to(&mut matched);
            }
        }
        matched
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{insert, select};
    use super::*;

    #[test]
    fn a_label_that_is_absent_has_the_value_nothing() {
        use MatchOp::*;
        let registry = Registry::default();
        for series in ["__name__=up,job=a", "__name__=up,job=b,env=dev", "__name__=down"] {
            insert(&registry, series);
        }
        assert_eq!(select(&registry, &[("job", NotEqual, "a")]), [r#"up{env="dev", job="b"}"#, "down"]);
        assert_eq!(select(&registry, &[("env", Equal, "")]), [r#"up{job="a"}"#, "down"]);
        assert_eq!(select(&registry, &[("env", NotEqual, "")]), [r#"up{env="dev", job="b"}"#]);
        assert_eq!(
            select(&registry, &[("__name__", Equal, "up"), ("job", NotEqual, "b")]),
            [r#"up{job="a"}"#]
        );
        assert!(select(&registry, &[("job", Equal, "zzz")]).is_empty());
        assert_eq!(select(&registry, &[("job", Regex, "c|b|zzz|dev")]), [r#"up{env="dev", job="b"}"#]);
        assert_eq!(select(&registry, &[("job", Regex, "a|b")]).len(), 2);
        assert_eq!(select(&registry, &[("job", NotRegex, "a|b|up")]), ["down"]);
        assert_eq!(select(&registry, &[("job", NotRegex, "b|")]), [r#"up{job="a"}"#]);
        assert_eq!(select(&registry, &[("job", Regex, "b|")]), [r#"up{env="dev", job="b"}"#, "down"]);
    }
}
