//! `regexp` and `pattern`: parts of a line as labels.

use crate::query::logql::ast::Regexp;
use crate::query::logql::pattern::Pattern;

use super::labels::EntryLabels;
use super::wanted::Wanted;

/// The named groups of the first match, those that took no part with empty values; nothing, where nothing matches.
pub fn regexp(
    stage: &Regexp,
    line: &str,
    wanted: &Wanted,
    labels: &mut EntryLabels,
    locations: &mut regex::CaptureLocations,
    scratch: &mut String,
) {
    if stage.regex.captures_read(locations, line).is_none() {
        return;
    }
    for (group, name) in &stage.groups {
        let name = labels.name_for(name, scratch);
        if wanted.holds(name) {
            labels.add_found(name, locations.get(*group).map_or("", |(start, end)| &line[start..end]));
        }
    }
}

pub fn pattern(
    pattern: &Pattern,
    line: &str,
    wanted: &Wanted,
    labels: &mut EntryLabels,
    scratch: &mut String,
) {
    pattern.captures(line, |name, text| {
        let name = labels.name_for(name, scratch);
        if wanted.holds(name) {
            labels.add_found(name, text);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{labels_of, parsed};
    use super::*;

    fn matched(pattern: &str, groups: &[(usize, &str)], line: &str) -> Vec<(String, String)> {
        let regex = regex::Regex::new(pattern).unwrap();
        let groups = groups.iter().map(|(group, name)| (*group, (*name).to_owned())).collect();
        let mut locations = regex.capture_locations();
        let stage = Regexp { pattern: pattern.to_owned(), regex: Arc::new(regex), groups };
        parsed(|labels| regexp(&stage, line, &Wanted::All, labels, &mut locations, &mut String::new()))
    }

    #[test]
    fn named_groups_become_labels() {
        let (pattern, groups) =
            (r"(?P<app>\w+) took (?P<ms>\d+)(?P<unit>ms)?", [(1, "app"), (2, "ms"), (3, "unit")]);
        assert_eq!(
            matched(pattern, &groups, "query took 12!"),
            labels_of(&[("app_extracted", "query"), ("ms", "12"), ("unit", "")])
        );
        assert_eq!(matched(pattern, &groups, "nothing"), []);
    }

    #[test]
    fn captures_of_a_pattern_become_labels() {
        let found = |line: &str| {
            let stage = Pattern::parse("<app> - <_> <status>").unwrap();
            parsed(|labels| pattern(&stage, line, &Wanted::All, labels, &mut String::new()))
        };
        assert_eq!(found("x - GET 200"), labels_of(&[("app_extracted", "x"), ("status", "200")]));
    }
}
