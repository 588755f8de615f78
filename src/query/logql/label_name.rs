//! Names of keys as label names.

use std::borrow::Cow;

use crate::model::labels::is_label_name;

/// The label that stands for a key: `_` for each character that no label name has, and before a leading digit.
pub fn sanitised(name: &str) -> Cow<'_, str> {
    if is_label_name(name) {
        return Cow::Borrowed(name);
    }
    let prefix = if name.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    let chars = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    Cow::Owned(prefix.chars().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_label() {
        for (name, label) in [("a_1", "a_1"), ("service.name", "service_name"), ("1é-", "_1__"), ("", "")] {
            assert_eq!(sanitised(name), label);
        }
    }
}
