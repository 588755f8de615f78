//! `line_format`, `label_format`, `drop` and `keep`.

use crate::model::{Lookout, Nanos};
use crate::query::logql::ast::{LabelChoice, LabelFormat, LabelFormatValue};
use crate::query::logql::template::{Template, TemplateInput};

use super::labels::{EntryError, EntryLabels, is_special};

/// What a template makes of one entry at most: four times the longest line that is taken in, so that stages which
/// double a text cannot fill the memory.
const RENDERED_BYTES_MAX: usize = 1 << 20;

/// What templates see of an entry besides its labels, and whether anybody still wants what they make of it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub line: &'a str,
    pub timestamp: Nanos,
    /// When the query runs.
    pub now: Nanos,
    pub lookout: &'a Lookout<'a>,
}

/// Replaces `to` by what the template makes of the entry; false, with an error on the entry, if that fails.
pub fn line_format(template: &Template, seen: Seen<'_>, labels: &mut EntryLabels, to: &mut String) -> bool {
    to.clear();
    match render(template, seen, labels, to) {
        Ok(()) => true,
        Err(details) => {
            labels.set_error(EntryError::Template, details);
            false
        }
    }
}

fn render(template: &Template, seen: Seen<'_>, labels: &EntryLabels, to: &mut String) -> Result<(), String> {
    let start = to.len();
    let input = TemplateInput {
        line: seen.line,
        timestamp: seen.timestamp,
        now: seen.now,
        lookout: seen.lookout,
        label: &|name| labels.get(name),
        labels: &|| labels.iter().map(|(name, value, _)| (name, value)).collect(),
    };
    template.render(&input, to).map_err(|error| error.to_string())?;
    if to.len() - start > RENDERED_BYTES_MAX {
        to.truncate(start);
        return Err("template: more than 1 MiB".to_owned());
    }
    Ok(())
}

/// All templates see the labels as they were before the stage.
pub fn label_format(
    formats: &[LabelFormat],
    seen: Seen<'_>,
    labels: &mut EntryLabels,
    rendered: &mut String,
    ends: &mut Vec<usize>,
) {
    rendered.clear();
    ends.clear();
    let mut failed = None;
    for format in formats {
        if let LabelFormatValue::Template(template) = &format.value {
            let start = rendered.len();
            if let Err(details) = render(template, seen, labels, rendered) {
                rendered.truncate(start);
                failed = Some(details);
            }
        }
        ends.push(rendered.len());
    }
    let mut start = 0;
    for (format, end) in formats.iter().zip(ends.iter()) {
        match &format.value {
            LabelFormatValue::Rename(from) => labels.rename(from, &format.name),
            LabelFormatValue::Template(_) => labels.set(&format.name, &rendered[start..*end]),
        }
        start = *end;
    }
    if let Some(details) = failed {
        labels.set_error(EntryError::Template, details);
    }
}

pub fn drop(choices: &[LabelChoice], labels: &mut EntryLabels, lookout: &Lookout<'_>) {
    for choice in choices {
        match choice {
            LabelChoice::Name(name) => labels.remove(name),
            LabelChoice::Matcher(matcher) => {
                if labels.get(&matcher.name).is_some_and(|value| matcher.matches_within(value, lookout)) {
                    labels.remove(&matcher.name);
                }
            }
        }
    }
}

/// Errors are kept, whatever is chosen.
pub fn keep(choices: &[LabelChoice], labels: &mut EntryLabels, lookout: &Lookout<'_>) {
    labels.retain(|name, value| {
        is_special(name)
            || choices.iter().any(|choice| match choice {
                LabelChoice::Name(chosen) => chosen == name,
                LabelChoice::Matcher(matcher) => {
                    matcher.name == name && matcher.matches_within(value, lookout)
                }
            })
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::{entry, labels_of, parsed};
    use super::*;
    use crate::model::{MatchOp, Matcher, StopSign};

    fn seen<T>(ask: impl FnOnce(Seen<'_>) -> T) -> T {
        let sign = StopSign::never();
        ask(Seen { line: "the line", timestamp: 1, now: 2, lookout: &Lookout::new(&sign) })
    }

    fn template(text: &str) -> LabelFormatValue {
        LabelFormatValue::Template(Template::parse(text).unwrap())
    }

    fn format(name: &str, value: LabelFormatValue) -> LabelFormat {
        LabelFormat { name: name.to_owned(), value }
    }

    #[test]
    fn templates_see_the_labels_from_before_the_stage() {
        let formats = [
            format("x", LabelFormatValue::Rename("level".to_owned())),
            format("y", template("{{.level}}-{{.app}}")),
            format("app", template("new")),
            format("z", template("{{.app}}{{.none}}")),
        ];
        let found = parsed(|labels| {
            labels.set("level", "info");
            seen(|seen| label_format(&formats, seen, labels, &mut String::new(), &mut Vec::new()));
        });
        assert_eq!(found, labels_of(&[("app", "new"), ("x", "info"), ("y", "info-a"), ("z", "a")]));
    }

    #[test]
    fn lines_are_made_of_labels() {
        let (mut labels, mut to) = (entry(), String::from("old"));
        let template = Template::parse("<{{.app}}>").unwrap();
        assert!(seen(|seen| line_format(&template, seen, &mut labels, &mut to)));
        assert_eq!(to, "<a>");
    }

    #[test]
    fn what_grows_without_end_is_an_error() {
        let (mut labels, mut to) = (entry(), String::new());
        labels.set("x", &"y".repeat(RENDERED_BYTES_MAX / 2 + 1));
        let template = Template::parse("{{.x}}{{.x}}").unwrap();
        assert!(!seen(|seen| line_format(&template, seen, &mut labels, &mut to)));
        assert_eq!(labels.error(), Some(EntryError::Template));
    }

    #[test]
    fn labels_are_dropped_and_kept_by_name_and_value() {
        let chosen = [
            LabelChoice::Name("x".to_owned()),
            LabelChoice::Matcher(Matcher::new("y", MatchOp::Regex, "1.*").unwrap()),
            LabelChoice::Matcher(Matcher::new("z", MatchOp::NotEqual, "3").unwrap()),
        ];
        let sign = StopSign::never();
        let lookout = &Lookout::new(&sign);
        let after = |stage: fn(&[LabelChoice], &mut EntryLabels, &Lookout<'_>)| {
            parsed(|labels| {
                [("w", "0"), ("x", "1"), ("y", "12"), ("z", "3")].iter().for_each(|(n, v)| labels.set(n, v));
                labels.set_error(EntryError::Json, "bad");
                stage(&chosen, labels, lookout);
            })
        };
        let errors = [("__error__", "JSONParserErr"), ("__error_details__", "bad")];
        assert_eq!(after(drop), labels_of(&[errors[0], errors[1], ("w", "0"), ("z", "3")]));
        assert_eq!(after(keep), labels_of(&[errors[0], errors[1], ("x", "1"), ("y", "12")]));
        let cleared = parsed(|labels| {
            labels.set_error(EntryError::Json, "bad");
            drop(&[LabelChoice::Name("__error__".to_owned())], labels, lookout);
        });
        assert_eq!(cleared, labels_of(&[("__error_details__", "bad")]));
    }
}
