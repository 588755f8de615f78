//! How long series of a selector are kept, as humans write it: `{env="prod"}:400d, {env="dev"}:7d`.

use std::time::Duration;

use super::values::{Expected, Setting};

/// One rule. Of those that let a series through the first one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// In PromQL's words; the server reads it.
    pub selector: String,
    pub age: Duration,
}

/// The rules, in order. [`Setting::set`] is the only way in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    pub fn as_slice(&self) -> &[Rule] {
        &self.0
    }
}

impl Setting for Rules {
    fn set(&mut self, text: &str) -> Result<(), Expected> {
        let rules = split(text, b',').into_iter().map(str::trim).filter(|rule| !rule.is_empty());
        self.0 = rules.map(read).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn show(&self) -> String {
        let rules = self.0.iter().map(|rule| format!("{}:{}", rule.selector, rule.age.show()));
        rules.collect::<Vec<_>>().join(", ")
    }

    fn is_list(&self) -> bool {
        true
    }
}

fn read(text: &str) -> Result<Rule, Expected> {
    const EXPECTED: Expected =
        Expected("rules as SELECTOR:AGE, such as {env=\"prod\"}:400d, {env=\"dev\"}:7d");
    // A metric's name may have colons: the last one ends the selector.
    let age_from = split(text, b':').last().map_or(0, |age| text.len() - age.len());
    let selector = text[..age_from].strip_suffix(':').unwrap_or("").trim();
    let mut rule = Rule { selector: selector.to_owned(), age: Duration::ZERO };
    rule.age.set(text[age_from..].trim()).map_err(|_| EXPECTED)?;
    if rule.selector.is_empty() {
        return Err(EXPECTED);
    }
    if rule.age.is_zero() {
        return Err(Expected("ages longer than nothing"));
    }
    Ok(rule)
}

/// The parts between separators that stand neither in braces nor in quotes.
fn split(text: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0i32);
    let (mut quote, mut is_escaped) = (None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some(b'"' | b'\''), b'\\') => is_escaped = true,
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'' | b'`') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') => depth -= 1,
            (None, _) if byte == separator && depth <= 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            (None, _) => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> Result<Rules, String> {
        let mut rules = Rules::default();
        rules.set(text).map(|()| rules).map_err(|expected| expected.to_string())
    }

    #[test]
    fn what_is_read_is_shown_again() {
        for text in [
            "",
            r#"{env="prod"}:400d, {env="dev"}:7d"#,
            r#"job:requests:rate5m{job=~"a,b:1d|}"}:1d12h, {a='\'}:',b=`\`}:30d"#,
            "up:1h",
        ] {
            assert_eq!(set(text).unwrap().show(), text);
        }
        let rules = set("job:requests:rate5m:1d").unwrap();
        assert_eq!(rules.as_slice()[0].selector, "job:requests:rate5m");
    }

    #[test]
    fn rules_that_cannot_be_are_refused_with_the_reason() {
        for (text, reason) in [
            ("{env=\"dev\"}", "SELECTOR:AGE"),
            ("{env=\"dev\"}:", "SELECTOR:AGE"),
            ("{env=\"dev\"}:soon", "SELECTOR:AGE"),
            ("{env=\"dev}:7d", "SELECTOR:AGE"),
            (":7d", "SELECTOR:AGE"),
            ("7d", "SELECTOR:AGE"),
            ("up:0s", "longer than nothing"),
        ] {
            let refused = set(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_rules_or_an_error(text in "[a-z{}:,\"'`\\\\ü0-9 ]{0,30}") {
            if let Ok(rules) = set(&text) {
                prop_assert_eq!(set(&rules.show()), Ok(rules));
            }
        }
    }
}
