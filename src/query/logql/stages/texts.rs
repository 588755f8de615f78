//! `regexp` and `pattern`: parts of a line as labels.

use crate::model::Lookout;
use crate::model::bounded_regex::Groups;
use crate::query::logql::ast::Regexp;
use crate::query::logql::pattern::Pattern;

use super::labels::EntryLabels;
use super::wanted::Wanted;

/// What `regexp` needs for a line, kept from one to the next.
pub struct RegexpScratch<'s> {
    pub groups: &'s mut Groups,
    pub name: &'s mut String,
}

/// The named groups of the first match, those that took no part with empty values; nothing, where nothing matches.
pub fn regexp(
    stage: &Regexp,
    line: &str,
    wanted: &Wanted,
    labels: &mut EntryLabels,
    scratch: RegexpScratch<'_>,
    lookout: &Lookout<'_>,
) {
    if !stage.regex.find_groups(line, 0, lookout, scratch.groups) {
        return;
    }
    for (group, name) in &stage.groups {
        let name = labels.name_for(name, scratch.name);
        if wanted.holds(name) {
            labels.add_found(name, scratch.groups.get(*group).map_or("", |span| &line[span]));
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
    use crate::model::StopSign;
    use crate::model::bounded_regex::BoundedRegex;

    fn matched(pattern: &str, groups: &[(usize, &str)], line: &str) -> Vec<(String, String)> {
        let regex = BoundedRegex::with_groups(pattern).unwrap();
        let groups = groups.iter().map(|(group, name)| (*group, (*name).to_owned())).collect();
        let mut found = Groups::new(&regex);
        let stage = Regexp { pattern: pattern.to_owned(), regex: Arc::new(regex), groups };
        let sign = StopSign::never();
        parsed(|labels| {
            let scratch = RegexpScratch { groups: &mut found, name: &mut String::new() };
            regexp(&stage, line, &Wanted::All, labels, scratch, &Lookout::new(&sign));
        })
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
