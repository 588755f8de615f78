//! The configuration file: TOML whose every key is in the table of options, or an error that names the line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::options::{OPTIONS, find};
use super::{Config, ConfigError};

/// Sets every option that the file names.
pub fn read_into(config: &mut Config, path: &Path) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let file = File { path, text: &text };
    let table = DeTable::parse(&text).map_err(|e| ConfigError::NotToml {
        path: path.to_owned(),
        line: file.line(e.span().map_or(0, |span| span.start)),
        reason: e.message().to_owned(),
    })?;
    for (key, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Table(table) if is_table(key.get_ref()) => {
                for (inner, value) in table {
                    let whole = format!("{}.{}", key.get_ref(), inner.get_ref());
                    file.set(config, &whole, inner.span().start, value)?;
                }
            }
            _ => file.set(config, key.get_ref(), key.span().start, value)?,
        }
    }
    Ok(())
}

fn is_table(name: &str) -> bool {
    OPTIONS.iter().any(|option| option.toml_place().0 == name)
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset.min(self.text.len())].iter().filter(|b| **b == b'\n').count()
    }

    fn set(
        &self,
        config: &mut Config,
        key: &str,
        offset: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let Some(option) = find(key) else {
            return Err(ConfigError::UnknownKey {
                path: self.path.to_owned(),
                line: self.line(offset),
                key: key.to_owned(),
                similar: most_similar(key),
            });
        };
        let text = plain_text(value.get_ref());
        (option.field)(config).set(&text).map_err(|expected| ConfigError::BadValue {
            origin: format!("{}:{}", self.path.display(), self.line(offset)),
            key: option.key,
            text,
            expected,
        })
    }
}

/// A value as a flag would give it. What no option can be (a date, a table) becomes a text no option accepts.
fn plain_text(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Array(items) => {
            items.iter().map(|item| plain_text(item.get_ref())).collect::<Vec<_>>().join(",")
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => format!("<{}>", value.type_str()),
    }
}

/// The known key that ends in the same word, else the one that begins with the same letters.
fn most_similar(key: &str) -> Option<&'static str> {
    let shared = |known: &str| known.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
    let last_word = key.rsplit(['.', '-', '_']).next().unwrap_or(key);
    let keys = || OPTIONS.iter().map(|option| option.key);
    keys()
        .find(|known| known.replace('_', "-") == key.replace('_', "-"))
        .or_else(|| keys().filter(|known| shared(known) >= 4).max_by_key(|known| shared(known)))
        .or_else(|| keys().find(|known| known.rsplit(['.', '-']).next() == Some(last_word)))
}
