//! The labels of one entry on its way through a pipeline.
//!
//! A name is there once. Where two want it, the stream's label keeps it; then structured metadata's; who comes later
//! is called `<name>_extracted`, and of two of these what a parser found wins. Metadata whose names are the same once
//! sanitised, `a.b` and `a_b`, fare like that too, whatever order they come in: the name is kept by who was sent so, or
//! else by the first in order; the next is `a_b_extracted`. All text lies in one buffer that the next entry overwrites,
//! so that an entry costs no allocation.

use hashbrown::HashTable;

use crate::model::Labels;
use crate::model::labels::is_label_name;

pub const ERROR: &str = "__error__";
pub const ERROR_DETAILS: &str = "__error_details__";
/// Marks a series of a metric query that asked to see errors.
pub const PRESERVE_ERROR: &str = "__preserve_error__";
/// Follows the name of who comes later to a name.
pub const EXTRACTED: &str = "_extracted";

/// Where a label came from; answers list them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Stream,
    Metadata,
    /// Found or made by a stage.
    Parsed,
}

/// What went wrong with an entry: the values of `__error__`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    Json,
    Logfmt,
    LabelFilter,
    Template,
    Sample,
}

impl EntryError {
    pub fn text(self) -> &'static str {
        match self {
            EntryError::Json => "JSONParserErr",
            EntryError::Logfmt => "LogfmtParserErr",
            EntryError::LabelFilter => "LabelFilterErr",
            EntryError::Template => "TemplateFormatErr",
            EntryError::Sample => "SampleExtractionErr",
        }
    }
}

/// Above so many labels a name is found by its hash. Fewer are compared one by one, which is faster.
const SCANNED_MAX: usize = 24;

#[derive(Clone, Copy, Debug)]
struct Text {
    start: u32,
    end: u32,
}

impl Text {
    fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    name: Text,
    value: Text,
    category: Category,
    /// A parser found it, so that another find of the same name is dropped.
    is_found: bool,
}

#[derive(Debug, Default)]
pub struct EntryLabels {
    text: String,
    slots: Vec<Slot>,
    /// Places in `slots` by name, once there are more than [`SCANNED_MAX`].
    places: HashTable<u32>,
    /// The stream's own labels, which every entry of it begins with; their text comes first.
    stream: Option<u32>,
    stream_slots: Vec<Slot>,
    stream_text_len: usize,
    /// How many slots were there before the first stage: names that parsers must not take.
    base: Vec<Slot>,
    error: Option<EntryError>,
    error_details: String,
}

impl EntryLabels {
    /// Begins an entry of the stream with this number.
    pub fn begin(&mut self, number: u32, labels: &Labels) {
        if self.stream != Some(number) {
            self.text.clear();
            self.stream_slots.clear();
            for (name, value) in labels {
                let (name, value) = (push(&mut self.text, name), push(&mut self.text, value));
                self.stream_slots.push(Slot { name, value, category: Category::Stream, is_found: false });
            }
            self.stream = Some(number);
            self.stream_text_len = self.text.len();
        }
        self.forget_all_but_stream();
        self.error = None;
        self.error_details.clear();
    }

    fn forget_all_but_stream(&mut self) {
        self.text.truncate(self.stream_text_len);
        self.slots.clear();
        self.slots.extend_from_slice(&self.stream_slots);
        self.base.clear();
        self.base.extend_from_slice(&self.stream_slots);
        self.index_again();
    }

    /// Adds an entry's structured metadata, before any stage.
    pub fn add_metadata<'m>(&mut self, pairs: impl Iterator<Item = (&'m str, &'m str)> + Clone) {
        let mut has_rivals = false;
        for (name, value) in pairs.clone() {
            let name = self.push_sanitized(name);
            has_rivals |= !self.put_metadata(name, value);
        }
        if has_rivals {
            self.add_rivals(pairs.collect());
        }
    }

    /// Adds metadata of which several want one name.
    fn add_rivals(&mut self, mut pairs: Vec<(&str, &str)>) {
        self.forget_all_but_stream();
        pairs.sort_by_key(|(name, _)| (!is_label_name(name), *name));
        for (name, value) in pairs {
            let name = self.push_sanitized(name);
            if !self.put_metadata(name, value) {
                let name = self.push_extracted(name);
                self.put_metadata(name, value);
            }
        }
    }

    /// Whether nobody else of the metadata has the name.
    fn put_metadata(&mut self, name: Text, value: &str) -> bool {
        if name.len() == 0 || is_special(self.get_text(name)) {
            return true;
        }
        let name = if self.is_stream_name(name) { self.push_extracted(name) } else { name };
        if self.find_text(name).is_some() {
            return false;
        }
        let value = push(&mut self.text, value);
        let slot = Slot { name, value, category: Category::Metadata, is_found: false };
        self.push_slot(slot);
        self.base.push(slot);
        true
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        match self.find(name) {
            Some(at) => Some(self.get_text(self.slots[at].value)),
            None => self.special(name),
        }
    }

    /// The labels, in no order, and without those of errors.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Category)> {
        self.slots.iter().map(|slot| (self.get_text(slot.name), self.get_text(slot.value), slot.category))
    }

    /// The labels that tell of an error, where there is one.
    pub fn error_labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [ERROR, ERROR_DETAILS].into_iter().filter_map(|name| Some((name, self.special(name)?)))
    }

    /// The name a parser's find gets that wants to be called `name`.
    pub fn name_for<'n>(&self, name: &'n str, scratch: &'n mut String) -> &'n str {
        if !self.base.iter().any(|slot| self.is_named(slot, name)) {
            return name;
        }
        scratch.clear();
        scratch.push_str(name);
        scratch.push_str(EXTRACTED);
        scratch
    }

    /// What a parser found, under its final name ([`EntryLabels::name_for`]). Of two finds the first counts.
    pub fn add_found(&mut self, name: &str, value: &str) {
        if name.is_empty() || is_special(name) {
            return;
        }
        if self.find(name).is_some_and(|at| self.slots[at].is_found) {
            return;
        }
        self.put(name, value, true);
    }

    /// What an extraction asked for by name; it replaces what was found before.
    pub fn put_found(&mut self, name: &str, value: &str) {
        self.put(name, value, true);
    }

    /// Makes a label; it takes the name from whoever had it.
    pub fn set(&mut self, name: &str, value: &str) {
        if is_special(name) {
            return;
        }
        self.put(name, value, false);
    }

    fn put(&mut self, name: &str, value: &str, is_found: bool) {
        let value = push(&mut self.text, value);
        match self.find(name) {
            Some(at) => {
                let slot = &mut self.slots[at];
                *slot = Slot { name: slot.name, value, category: Category::Parsed, is_found };
            }
            None => {
                let name = push(&mut self.text, name);
                self.push_slot(Slot { name, value, category: Category::Parsed, is_found });
            }
        }
    }

    /// Gives the label another name; whoever had that name goes.
    pub fn rename(&mut self, from: &str, to: &str) {
        if from == to || is_special(to) {
            return;
        }
        let Some(at) = self.find(from) else {
            return;
        };
        let slot = self.slots[at];
        self.remove(from);
        self.remove(to);
        let name = push(&mut self.text, to);
        self.push_slot(Slot { name, ..slot });
    }

    pub fn remove(&mut self, name: &str) {
        match name {
            ERROR => self.error = None,
            ERROR_DETAILS => self.error_details.clear(),
            _ => {
                if let Some(at) = self.find(name) {
                    self.slots.swap_remove(at);
                    self.index_again();
                }
            }
        }
    }

    /// Leaves the labels that `keeps` holds for; errors stay.
    pub fn retain(&mut self, keeps: impl Fn(&str, &str) -> bool) {
        let text = &self.text;
        let part = |range: Text| &text[range.start as usize..range.end as usize];
        self.slots.retain(|slot| keeps(part(slot.name), part(slot.value)));
        self.index_again();
    }

    pub fn error(&self) -> Option<EntryError> {
        self.error
    }

    pub fn error_details(&self) -> &str {
        &self.error_details
    }

    /// The latest error is the one that is told.
    pub fn set_error(&mut self, error: EntryError, details: impl std::fmt::Display) {
        use std::fmt::Write;
        self.error = Some(error);
        self.error_details.clear();
        write!(self.error_details, "{details}").expect("a string takes what is written");
    }

    fn special(&self, name: &str) -> Option<&str> {
        match name {
            ERROR => self.error.map(EntryError::text),
            ERROR_DETAILS => Some(self.error_details.as_str()).filter(|details| !details.is_empty()),
            _ => None,
        }
    }

    fn get_text(&self, text: Text) -> &str {
        &self.text[text.start as usize..text.end as usize]
    }

    /// Most names differ in length already.
    fn is_named(&self, slot: &Slot, name: &str) -> bool {
        slot.name.len() == name.len() && self.get_text(slot.name) == name
    }

    fn is_stream_name(&self, name: Text) -> bool {
        let name = self.get_text(name);
        self.stream_slots.iter().any(|slot| self.is_named(slot, name))
    }

    fn push_sanitized(&mut self, name: &str) -> Text {
        let start = self.text.len();
        push_label_name(&mut self.text, name, true);
        Text { start: short(start), end: short(self.text.len()) }
    }

    fn push_extracted(&mut self, name: Text) -> Text {
        let start = self.text.len();
        self.text.extend_from_within(name.start as usize..name.end as usize);
        self.text.push_str(EXTRACTED);
        Text { start: short(start), end: short(self.text.len()) }
    }

    fn find_text(&self, name: Text) -> Option<usize> {
        self.find(self.get_text(name))
    }

    fn find(&self, name: &str) -> Option<usize> {
        if self.slots.len() <= SCANNED_MAX {
            return self.slots.iter().position(|slot| self.is_named(slot, name));
        }
        let is_it = |at: &u32| self.is_named(&self.slots[*at as usize], name);
        self.places.find(hash(name), is_it).map(|at| *at as usize)
    }

    fn push_slot(&mut self, slot: Slot) {
        self.slots.push(slot);
        if self.slots.len() == SCANNED_MAX + 1 {
            self.index_again();
        } else if self.slots.len() > SCANNED_MAX {
            self.index(self.slots.len() - 1);
        }
    }

    fn index_again(&mut self) {
        self.places.clear();
        if self.slots.len() > SCANNED_MAX {
            (0..self.slots.len()).for_each(|at| self.index(at));
        }
    }

    fn index(&mut self, at: usize) {
        let (text, slots) = (&self.text, &self.slots);
        let name_hash = |at: u32| {
            let name = slots[at as usize].name;
            hash(&text[name.start as usize..name.end as usize])
        };
        self.places.insert_unique(name_hash(at as u32), at as u32, |at| name_hash(*at));
    }
}

fn hash(name: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name.as_bytes())
}

fn push(to: &mut String, text: &str) -> Text {
    let start = to.len();
    to.push_str(text);
    Text { start: short(start), end: short(to.len()) }
}

fn short(len: usize) -> u32 {
    u32::try_from(len).expect("a line and what templates make of it are limited far below 4 GiB")
}

pub fn is_special(name: &str) -> bool {
    matches!(name, ERROR | ERROR_DETAILS | PRESERVE_ERROR)
}

/// Appends a name as labels have it: other characters than letters and digits become `_`, and `_` comes before a
/// digit where the name begins (`is_first`).
pub fn push_label_name(to: &mut String, name: &str, is_first: bool) {
    if is_first && name.starts_with(|c: char| c.is_ascii_digit()) {
        to.push('_');
    }
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        to.push_str(name);
    } else {
        to.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Labels {
        Labels::from_sorted([("app", "a"), ("env", "prod")])
    }

    fn sorted(labels: &EntryLabels) -> Vec<(String, String, Category)> {
        let mut all: Vec<_> = labels.iter().map(|(n, v, c)| (n.to_owned(), v.to_owned(), c)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn find(labels: &mut EntryLabels, name: &str, value: &str) {
        let mut scratch = String::new();
        let name = labels.name_for(name, &mut scratch).to_owned();
        labels.add_found(&name, value);
    }

    #[test]
    fn the_stream_keeps_its_names_then_metadata_then_what_was_parsed() {
        let mut labels = EntryLabels::default();
        labels.begin(0, &stream());
        labels.add_metadata([("app", "m"), ("k8s.pod-name", "p")].into_iter());
        find(&mut labels, "app", "x");
        find(&mut labels, "k8s_pod_name", "y");
        find(&mut labels, "level", "info");
        find(&mut labels, "level", "again");
        let expected = [
            ("app", "a", Category::Stream),
            ("app_extracted", "x", Category::Parsed),
            ("env", "prod", Category::Stream),
            ("k8s_pod_name", "p", Category::Metadata),
            ("k8s_pod_name_extracted", "y", Category::Parsed),
            ("level", "info", Category::Parsed),
        ];
        assert_eq!(sorted(&labels), expected.map(|(n, v, c)| (n.to_owned(), v.to_owned(), c)));
    }

    #[test]
    fn metadata_of_one_name_once_sanitised_is_told_apart_whatever_order_it_comes_in() {
        let pairs = [("a_b", "sent so"), ("a.b", "second"), ("a-c", "first"), ("a.c", "second")];
        let expected = [
            ("a_b", "sent so"),
            ("a_b_extracted", "second"),
            ("a_c", "first"),
            ("a_c_extracted", "second"),
            ("app", "a"),
            ("env", "prod"),
        ];
        let mut labels = EntryLabels::default();
        for first in 0..pairs.len() {
            labels.begin(0, &stream());
            labels.add_metadata(pairs.iter().cycle().skip(first).take(pairs.len()).copied());
            let found: Vec<_> = sorted(&labels).into_iter().map(|(name, value, _)| (name, value)).collect();
            assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }

    #[test]
    fn the_next_entry_begins_with_the_stream_alone() {
        let mut labels = EntryLabels::default();
        labels.begin(0, &stream());
        labels.set("env", "test");
        labels.remove("app");
        labels.set_error(EntryError::Json, "x");
        assert_eq!(labels.get("env"), Some("test"));
        assert_eq!(labels.get(ERROR), Some("JSONParserErr"));
        labels.begin(0, &stream());
        assert_eq!((labels.get("env"), labels.get("app")), (Some("prod"), Some("a")));
        assert_eq!((labels.get(ERROR), labels.get(ERROR_DETAILS)), (None, None));
        labels.begin(1, &Labels::from_sorted([("x", "1")]));
        assert_eq!((labels.get("x"), labels.get("app")), (Some("1"), None));
    }

    #[test]
    fn a_renamed_label_takes_the_name_from_whoever_had_it() {
        let mut labels = EntryLabels::default();
        labels.begin(0, &stream());
        labels.rename("app", "env");
        labels.rename("absent", "app");
        assert_eq!(sorted(&labels), [("env".to_owned(), "a".to_owned(), Category::Stream)]);
    }

    #[test]
    fn labels_of_a_stream_that_has_many_are_found() {
        let names: Vec<String> = (10..50).map(|i| format!("name{i}")).collect();
        let mut labels = EntryLabels::default();
        labels.begin(0, &Labels::from_sorted(names.iter().map(|name| (name.as_str(), "x"))));
        assert_eq!(labels.get("name10"), Some("x"));
        labels.set("name11", "y");
        assert_eq!((labels.get("name11"), labels.iter().count()), (Some("y"), 40));
    }

    #[test]
    fn many_labels_are_found_as_few_are() {
        let mut labels = EntryLabels::default();
        labels.begin(0, &stream());
        for i in 0..200 {
            find(&mut labels, &format!("name{i}"), &i.to_string());
            find(&mut labels, &format!("name{i}"), "again");
        }
        assert_eq!(labels.get("name7"), Some("7"));
        labels.retain(|name, _| name.ends_with('7'));
        assert_eq!(labels.iter().count(), 20);
        labels.remove("name17");
        assert_eq!((labels.get("name17"), labels.get("name187")), (None, Some("187")));
    }

    #[test]
    fn names_become_those_of_labels() {
        let named = |name: &str| {
            let mut text = String::new();
            push_label_name(&mut text, name, true);
            text
        };
        assert_eq!(named("k8s.node-name"), "k8s_node_name");
        assert_eq!(named("3d"), "_3d");
        assert_eq!(named("größe"), "gr__e");
        assert_eq!(named("a_b"), "a_b");
    }
}
