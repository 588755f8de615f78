//! Matches with their groups: one, all of a text, and what a replacement makes of them.

use std::ops::Range;

use crate::model::stop::Lookout;

use super::BoundedRegex;
use super::group_walk::WalkScratch;

/// Where the groups of a match lie in its text; with what it took to find them, kept from one text to the next.
#[derive(Clone, Debug)]
pub struct Groups {
    /// The whole match is the first.
    pub(super) spans: Vec<Option<Range<usize>>>,
    pub(super) locations: regex::CaptureLocations,
    pub(super) walk: WalkScratch,
}

impl Groups {
    /// Of an expression that has not matched yet.
    pub fn new(regex: &BoundedRegex) -> Groups {
        let locations = regex.regex().capture_locations();
        Groups { spans: vec![None; locations.len()], locations, walk: WalkScratch::default() }
    }

    /// The match itself.
    ///
    /// # Panics
    /// Where nothing has matched yet.
    pub fn whole(&self) -> Range<usize> {
        self.get(0).expect("the whole match takes part in it")
    }

    /// `None` for a group that took no part, or that the expression does not have.
    pub fn get(&self, group: usize) -> Option<Range<usize>> {
        self.spans.get(group).cloned().flatten()
    }
}

impl BoundedRegex {
    /// Visits the matches from left to right, none overlapping another, as Go's `ReplaceAll` finds them: an empty one
    /// counts unless it ends another. Ends early once the lookout has given up.
    pub fn for_each_match<E>(
        &self,
        text: &str,
        lookout: &Lookout<'_>,
        mut visit: impl FnMut(&Groups) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut groups, mut from, mut last_end) = (Groups::new(self), 0, None);
        // Each search may go on to the end of the text.
        while !lookout.gives_up_before(text.len() - from)
            && self.find_groups(text, from, lookout, &mut groups)
        {
            let whole = groups.whole();
            if !whole.is_empty() || last_end != Some(whole.end) {
                visit(&groups)?;
            }
            last_end = Some(whole.end);
            from = whole.end;
            if whole.is_empty() {
                let Some(next) = text[from..].chars().next() else { break };
                from += next.len_utf8();
            }
        }
        Ok(())
    }

    /// Go's template for a match: `$1`, `$name`, `${name}`, `$$`. A name is as long as letters, digits and underscores go;
    /// what names no group is empty; a dollar before anything else stands for itself. `put` gets the result in pieces.
    pub fn expand<E>(
        &self,
        template: &str,
        text: &str,
        groups: &Groups,
        mut put: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = template;
        while let Some(dollar) = rest.find('$') {
            put(&rest[..dollar])?;
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                put("$")?;
                rest = after;
            } else if let Some((name, after)) = group_name(rest) {
                let group = self.group_named(name).and_then(|group| groups.get(group));
                put(group.map_or("", |span| &text[span]))?;
                rest = after;
            } else {
                put("$")?;
            }
        }
        put(rest)
    }

    /// The group of this number or name.
    fn group_named(&self, name: &str) -> Option<usize> {
        name.parse().ok().or_else(|| self.regex().capture_names().position(|group| group == Some(name)))
    }
}

/// The group name at the start of what follows a dollar, and what follows it.
fn group_name(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let inner = braced.unwrap_or(text);
    let end = inner.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    if name.is_empty() {
        return None;
    }
    match braced {
        Some(_) => after.strip_prefix('}').map(|after| (name, after)),
        None => Some((name, after)),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::model::StopSign;

    fn expanded(template: &str) -> String {
        let regex = BoundedRegex::with_groups("^(?s:(?P<first>a+)(b+))$").unwrap();
        let (sign, mut groups, mut out) = (StopSign::never(), Groups::new(&regex), String::new());
        assert!(regex.find_groups("aabbb", 0, &Lookout::new(&sign), &mut groups));
        let put = |piece: &str| {
            out.push_str(piece);
            Ok::<(), Infallible>(())
        };
        regex.expand(template, "aabbb", &groups, put).unwrap();
        out
    }

    #[test]
    fn templates_expand_as_in_go() {
        assert_eq!(expanded("$1-$2"), "aa-bbb");
        assert_eq!(expanded("${first}x$first"), "aaxaa");
        // `$1x` is the group named "1x", which is not there.
        assert_eq!(expanded("$1x$3"), "");
        assert_eq!(expanded("${1}x"), "aax");
        assert_eq!(expanded("$$1 $ ${1"), "$1 $ ${1");
    }

    #[test]
    fn matches_are_left_between_two() {
        let (regex, sign) = (BoundedRegex::new("").unwrap(), StopSign::new(|| true));
        let lookout = Lookout::new(&sign);
        regex.for_each_match("text", &lookout, |_| Err("visited")).unwrap();
        assert!(lookout.has_given_up());
    }

    proptest! {
        #[test]
        fn all_matches_are_those_of_the_engines(
            pattern in r"(a|é|\(a\|b\)|a\?|b\*|\(ab\)\+|\^|\$|\(\?-u:\\b\)){0,4}",
            text in "[abé ]{0,20}",
        ) {
            let Ok(regex) = BoundedRegex::new(&pattern) else { return Ok(()) };
            let (sign, mut found) = (StopSign::never(), Vec::new());
            let visit = |groups: &Groups| {
                found.push((0..groups.spans.len()).map(|group| groups.get(group)).collect::<Vec<_>>());
                Ok::<(), Infallible>(())
            };
            regex.for_each_match(&text, &Lookout::new(&sign), visit).unwrap();
            let spans = |found: regex::Captures<'_>| found.iter().map(|group| group.map(|m| m.range())).collect();
            let wanted: Vec<Vec<_>> = regex.regex().captures_iter(&text).map(spans).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
