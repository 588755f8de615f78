//! `json` and `unpack`: the values of a line that is a JSON object as labels.

use crate::query::logql::ast::JsonExtraction;
use crate::query::logql::json_path::JsonStep;

use super::json_scan::{JsonError, Kind, RawString, Scanner, unescape};
use super::labels::{EntryError, EntryLabels, push_label_name};
use super::wanted::Wanted;

/// What one stage keeps from line to line.
#[derive(Debug, Default)]
pub struct JsonScratch {
    /// The label name of the key that is being read, with those around it.
    name: String,
    extracted: String,
    value: String,
    found: Vec<Option<Found>>,
    known_keys: Vec<KnownKey>,
}

/// A key of the outermost object in the line before: most senders write the same keys in the same order.
#[derive(Debug, Default)]
struct KnownKey {
    /// With its quotes and the colon; empty where it is not known.
    written: String,
    /// The paths that end with it, and those that go on.
    parted: (u64, u64),
}

/// Further keys, and longer ones, are read anew in each line.
const KNOWN_KEYS_MAX: usize = 64;
const KNOWN_KEY_BYTES_MAX: usize = 64;

/// `| json`: every value but those in arrays; a key inside another is called by both, `outer_inner`.
pub fn all_keys(line: &str, wanted: &Wanted, labels: &mut EntryLabels, scratch: &mut JsonScratch) {
    if line.is_empty() {
        return;
    }
    scratch.name.clear();
    let mut scanner = Scanner::new(line);
    let walked = members(&mut scanner, 0, wanted, labels, scratch).and_then(|()| scanner.end());
    if let Err(error) = walked {
        labels.set_error(EntryError::Json, error);
    }
}

fn members<'a>(
    scanner: &mut Scanner<'a>,
    depth: usize,
    wanted: &Wanted,
    labels: &mut EntryLabels,
    scratch: &mut JsonScratch,
) -> Result<(), JsonError> {
    let outer_len = scratch.name.len();
    scanner.object(depth, |inside, key| {
        scratch.name.truncate(outer_len);
        if outer_len > 0 {
            scratch.name.push('_');
        }
        let Some(key) = key.text_in(&mut scratch.value) else {
            return inside.skip(depth + 1).map(|_| ());
        };
        push_label_name(&mut scratch.name, key.trim(), outer_len == 0);
        match inside.kind()? {
            Kind::Object => members(inside, depth + 1, wanted, labels, scratch),
            Kind::Array => inside.skip(depth + 1).map(|_| ()),
            _ => {
                let name = labels.name_for(&scratch.name, &mut scratch.extracted);
                if !wanted.holds(name) {
                    return inside.skip(depth + 1).map(|_| ());
                }
                let value = scalar(inside, depth + 1, &mut scratch.value)?;
                labels.add_found(name, value);
                Ok(())
            }
        }
    })
}

/// The labels that [`all_keys`] makes of a line, each with the keys that lead to its value.
pub fn paths(line: &str) -> Vec<(String, Vec<String>)> {
    let (mut found, mut path) = (Vec::new(), Vec::new());
    // Where the line stops being JSON the paths end too.
    let _ = add_paths(&mut Scanner::new(line), &mut path, &mut found);
    found
}

fn add_paths(
    scanner: &mut Scanner<'_>,
    path: &mut Vec<String>,
    found: &mut Vec<(String, Vec<String>)>,
) -> Result<(), JsonError> {
    let depth = path.len();
    scanner.object(depth, |inside, key| {
        let mut scratch = String::new();
        let Some(key) = key.text_in(&mut scratch) else {
            return inside.skip(depth + 1).map(|_| ());
        };
        path.push(key.to_owned());
        let walked = match inside.kind()? {
            Kind::Object => add_paths(inside, path, found),
            Kind::Array => inside.skip(depth + 1).map(|_| ()),
            _ => {
                let mut name = String::new();
                for key in path.iter() {
                    if !name.is_empty() {
                        name.push('_');
                    }
                    let is_first = name.is_empty();
                    push_label_name(&mut name, key.trim(), is_first);
                }
                found.push((name, path.clone()));
                inside.skip(depth + 1).map(|_| ())
            }
        };
        path.pop();
        walked
    })
}

/// The text a label gets: strings without their escapes, the rest as it is written; `null` is empty.
fn scalar<'s, 'a: 's>(
    scanner: &mut Scanner<'a>,
    depth: usize,
    scratch: &'s mut String,
) -> Result<&'s str, JsonError> {
    scanner.kind()?;
    let start = scanner.at();
    match scanner.skip(depth)? {
        Kind::String => Ok(string_text(scanner.since(start), scratch)),
        Kind::Null => Ok(""),
        _ => Ok(scanner.since(start)),
    }
}

/// The text of a string that is given with its quotes; as it is written, where it has an escape that is none.
fn string_text<'s, 'a: 's>(quoted: &'a str, scratch: &'s mut String) -> &'s str {
    let raw = &quoted[1..quoted.len() - 1];
    if memchr::memchr(b'\\', raw.as_bytes()).is_none() {
        return raw;
    }
    scratch.clear();
    if unescape(raw, scratch) { scratch } else { raw }
}

/// Where a value that was asked for stands in the line.
#[derive(Clone, Copy, Debug)]
struct Found {
    kind: Kind,
    start: usize,
    end: usize,
}

/// So many paths are looked for in one pass over a line.
const PATHS_A_PASS: usize = 64;

/// `| json label="a.b[0]"`: only these. A value that is not there makes an empty label, if there is none of that name.
pub fn extractions(
    line: &str,
    wanted: &Wanted,
    asked: &[JsonExtraction],
    labels: &mut EntryLabels,
    scratch: &mut JsonScratch,
) {
    if line.is_empty() {
        return;
    }
    let is_one_pass = asked.len() <= PATHS_A_PASS;
    for asked in asked.chunks(PATHS_A_PASS) {
        if !is_one_pass {
            scratch.known_keys.clear();
        }
        scratch.found.clear();
        scratch.found.resize(asked.len(), None);
        let JsonScratch { found, known_keys, value: key, .. } = &mut *scratch;
        let mut search = Search { asked, found, known_keys, key };
        let all = u64::MAX >> (PATHS_A_PASS - asked.len());
        let mut scanner = Scanner::new(line);
        let walked = search.walk(&mut scanner, 0, all).and_then(|()| scanner.end());
        if let Err(error) = walked {
            labels.set_error(EntryError::Json, error);
            return;
        }
        for (extraction, found) in asked.iter().zip(&scratch.found) {
            let name = labels.name_for(&extraction.label, &mut scratch.extracted);
            if !wanted.holds(name) {
                continue;
            }
            let Some(found) = found else {
                if labels.get(&extraction.label).is_none() {
                    labels.put_found(&extraction.label, "");
                }
                continue;
            };
            let text = &line[found.start..found.end];
            let value = match found.kind {
                Kind::String => string_text(text, &mut scratch.value),
                Kind::Null => "",
                _ => text,
            };
            labels.put_found(name, value);
        }
    }
}

struct Search<'s> {
    asked: &'s [JsonExtraction],
    found: &'s mut [Option<Found>],
    known_keys: &'s mut Vec<KnownKey>,
    key: &'s mut String,
}

impl Search<'_> {
    /// Reads a value that the paths in `active` lead into.
    fn walk(&mut self, scanner: &mut Scanner<'_>, depth: usize, active: u64) -> Result<(), JsonError> {
        match scanner.kind()? {
            Kind::Object if depth == 0 => scanner.members(depth, |inside, place| {
                let (ends, goes_on) = self.by_outer_key(place, active, inside)?;
                self.value(inside, depth, ends, goes_on)
            }),
            Kind::Object => scanner.object(depth, |inside, key| {
                let (ends, goes_on) = self.by_key(depth, active, key);
                self.value(inside, depth, ends, goes_on)
            }),
            Kind::Array => scanner.array(depth, |inside, place| {
                let (ends, goes_on) = self.by(depth, active, |step| *step == JsonStep::Index(place));
                self.value(inside, depth, ends, goes_on)
            }),
            _ if depth == 0 => Err(JsonError { expected: "an object or an array", at: scanner.at() }),
            _ => scanner.skip(depth).map(|_| ()),
        }
    }

    /// Reads a value that paths end at or lead into.
    fn value(
        &mut self,
        scanner: &mut Scanner<'_>,
        depth: usize,
        ends: u64,
        goes_on: u64,
    ) -> Result<(), JsonError> {
        if ends | goes_on == 0 {
            return scanner.skip(depth + 1).map(|_| ());
        }
        let kind = scanner.kind()?;
        let start = scanner.at();
        if goes_on == 0 {
            scanner.skip(depth + 1)?;
        } else {
            self.walk(scanner, depth + 1, goes_on)?;
        }
        for path in bits(ends) {
            self.found[path].get_or_insert(Found { kind, start, end: scanner.at() });
        }
        Ok(())
    }

    /// As [`Self::by_key`], of the key that comes next in the outermost object, where it has this place.
    fn by_outer_key(
        &mut self,
        place: usize,
        active: u64,
        scanner: &mut Scanner<'_>,
    ) -> Result<(u64, u64), JsonError> {
        if let Some(known) = self.known_keys.get(place)
            && !known.written.is_empty()
            && scanner.pass(&known.written)
        {
            return Ok(known.parted);
        }
        let start = scanner.at();
        let key = scanner.key()?;
        let parted = self.by_key(0, active, key);
        let written = scanner.since(start);
        if place < KNOWN_KEYS_MAX && written.len() <= KNOWN_KEY_BYTES_MAX {
            if self.known_keys.len() <= place {
                self.known_keys.resize_with(place + 1, KnownKey::default);
            }
            let known = &mut self.known_keys[place];
            known.written.clear();
            known.written.push_str(written);
            known.parted = parted;
        }
        Ok(parted)
    }

    fn by_key(&mut self, depth: usize, active: u64, key: RawString<'_>) -> (u64, u64) {
        if !key.has_escapes {
            return self.by(depth, active, |step| matches!(step, JsonStep::Key(name) if name == key.text));
        }
        let mut scratch = std::mem::take(self.key);
        let parted = match key.text_in(&mut scratch) {
            Some(text) => self.by(depth, active, |step| matches!(step, JsonStep::Key(key) if key == text)),
            None => (0, 0),
        };
        *self.key = scratch;
        parted
    }

    /// Of the active paths those whose step fits: those that end with it, and those that go on.
    fn by(&self, depth: usize, active: u64, fits: impl Fn(&JsonStep) -> bool) -> (u64, u64) {
        let (mut ends, mut goes_on) = (0, 0);
        for path in bits(active) {
            let steps = self.asked[path].path.steps();
            if fits(&steps[depth]) {
                *(if steps.len() == depth + 1 { &mut ends } else { &mut goes_on }) |= 1 << path;
            }
        }
        (ends, goes_on)
    }
}

fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

/// `| unpack`: the strings of an object that was packed; its `_entry` takes the place of the line. An object without
/// one was not packed, and is left alone.
pub fn unpack(
    line: &str,
    wanted: &Wanted,
    labels: &mut EntryLabels,
    scratch: &mut JsonScratch,
    entry: &mut String,
) -> bool {
    const ENTRY: &str = "_entry";
    if line.is_empty() {
        return false;
    }
    let mut is_packed = false;
    let found = each_string(line, scratch, |key, value, _| {
        if key == ENTRY && !is_packed {
            is_packed = true;
            entry.clear();
            entry.push_str(value);
        }
    });
    if let Err(error) = found {
        labels.set_error(EntryError::Json, error);
        return false;
    }
    if is_packed {
        let again = each_string(line, scratch, |key, value, extracted| {
            let name = labels.name_for(key, extracted);
            if key != ENTRY && wanted.holds(name) {
                labels.add_found(name, value);
            }
        });
        again.expect("it was read a moment ago");
    }
    is_packed
}

/// Gives `use_it` each key, as a label's name, whose value is a string, and the string.
fn each_string(
    line: &str,
    scratch: &mut JsonScratch,
    mut use_it: impl FnMut(&str, &str, &mut String),
) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(line);
    scanner.object(0, |inside, key| {
        if inside.kind()? != Kind::String {
            return inside.skip(1).map(|_| ());
        }
        scratch.name.clear();
        if let Some(key) = key.text_in(&mut scratch.value) {
            push_label_name(&mut scratch.name, key, true);
        }
        let value = scalar(inside, 1, &mut scratch.value)?;
        use_it(&scratch.name, value, &mut scratch.extracted);
        Ok(())
    })?;
    scanner.end()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{labels_of, parsed};
    use super::*;
    use crate::query::logql::json_path::JsonPath;

    fn json(line: &str) -> Vec<(String, String)> {
        parsed(|labels| all_keys(line, &Wanted::All, labels, &mut JsonScratch::default()))
    }

    fn asked(pairs: &[(&str, &str)]) -> Vec<JsonExtraction> {
        let extraction = |(label, path): &(&str, &str)| JsonExtraction {
            label: (*label).to_owned(),
            path: JsonPath::parse(path).unwrap(),
        };
        pairs.iter().map(extraction).collect()
    }

    fn extracted(line: &str, pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        parsed(|labels| {
            extractions(line, &Wanted::All, &asked(pairs), labels, &mut JsonScratch::default());
        })
    }

    #[test]
    fn every_value_becomes_a_label_and_arrays_do_not() {
        let line =
            r#"{"a":"x\ny","n":-1.5e3,"t":true,"z":null,"o":{"p.q":{"r":"1"},"s":2},"l":[{"m":1}],"3d":"v"}"#;
        assert_eq!(
            json(line),
            labels_of(&[
                ("_3d", "v"),
                ("a", "x\ny"),
                ("n", "-1.5e3"),
                ("o_p_q_r", "1"),
                ("o_s", "2"),
                ("t", "true"),
                ("z", "")
            ])
        );
    }

    #[test]
    fn of_a_key_that_comes_twice_the_first_counts() {
        assert_eq!(json(r#"{"a.b":"1","a_b":"2","a":{"b":"3"}}"#), labels_of(&[("a_b", "1")]));
    }

    #[test]
    fn a_line_that_is_no_object_has_an_error_and_what_was_read_before_it() {
        let error = |expected: &str| ("__error_details__".to_owned(), expected.to_owned());
        let found = json(r#"{"a":"1","b":"#);
        assert_eq!(found[0], ("__error__".to_owned(), "JSONParserErr".to_owned()));
        assert_eq!(found[1], error("expected a value at byte 13"));
        assert_eq!(found[2], ("a".to_owned(), "1".to_owned()));
        assert_eq!(json("plain text")[1], error("expected { at byte 0"));
        assert_eq!(json(""), []);
    }

    #[test]
    fn the_stream_keeps_its_label() {
        assert_eq!(json(r#"{"app":"x"}"#), labels_of(&[("app_extracted", "x")]));
        assert_eq!(extracted(r#"{"b":"x"}"#, &[("app", "b")]), labels_of(&[("app_extracted", "x")]));
    }

    #[test]
    fn paths_lead_to_values_of_any_kind() {
        let line = r#"{"a":{"b":[{"c":"x"},7,"é\u0041"]},"d e":"y","f":null,"a.b":1}"#;
        assert_eq!(
            extracted(
                line,
                &[
                    ("c", "a.b[0].c"),
                    ("n", "a.b[1]"),
                    ("s", "a[\"b\"][2]"),
                    ("o", "a.b[0]"),
                    ("d", "[\"d e\"]"),
                    ("f", "f"),
                    ("none", "a.x[0]"),
                    ("past", "a.b[3]"),
                ]
            ),
            labels_of(&[
                ("c", "x"),
                ("d", "y"),
                ("f", ""),
                ("n", "7"),
                ("none", ""),
                ("o", "{\"c\":\"x\"}"),
                ("past", ""),
                ("s", "éA"),
            ])
        );
        assert_eq!(extracted("[1,[2]]", &[("x", "[1][0]")]), labels_of(&[("x", "2")]));
        assert_eq!(extracted("12", &[("x", "x")])[0].1, "JSONParserErr");
    }

    #[test]
    fn keys_that_change_from_line_to_line_are_read_anew() {
        let (asked, mut scratch) = (asked(&[("x", "a"), ("y", "o.a")]), JsonScratch::default());
        let long = "k".repeat(KNOWN_KEY_BYTES_MAX);
        for (line, x, y) in [
            (r#"{"a":1,"b":2}"#, "1", ""),
            (r#"{"a":3,"b":4}"#, "3", ""),
            (r#"{"b":5,"a":6}"#, "6", ""),
            (r#"{"ab":7,"a" :8}"#, "8", ""),
            (r#"{"\u0061":9}"#, "9", ""),
            (r#"{"\u0061":10}"#, "10", ""),
            (&format!(r#"{{"{long}":11,"a":12}}"#), "12", ""),
            (&format!(r#"{{"{long}":13,"a":14}}"#), "14", ""),
            (r#"{"o":{"a":15}, "a":16}"#, "16", "15"),
            (r#"{"o":{"a":17}, "a":18}"#, "18", "17"),
            (r#"{"a":{"a":19}}"#, r#"{"a":19}"#, ""),
        ] {
            let found = parsed(|labels| extractions(line, &Wanted::All, &asked, labels, &mut scratch));
            assert_eq!(found, labels_of(&[("x", x), ("y", y)]), "{line}");
        }
    }

    #[test]
    fn more_paths_than_a_pass_takes_are_all_found() {
        let line = format!("{{{}\"z\":1}}", (0..150).map(|i| format!("\"k{i}\":{i},")).collect::<String>());
        let paths: Vec<(String, String)> = (0..150).map(|i| (format!("l{i}"), format!("k{i}"))).collect();
        let paths: Vec<(&str, &str)> = paths.iter().map(|(l, p)| (l.as_str(), p.as_str())).collect();
        let found = extracted(&line, &paths);
        assert_eq!(found.len(), 150);
        assert!(found.iter().all(|(label, value)| label[1..] == *value));
    }

    #[test]
    fn only_what_is_wanted_is_made_a_label() {
        let wanted = Wanted::these(["b", "app_extracted"]);
        let found = parsed(|labels| {
            let line = r#"{"a":1,"b":2,"app":3,"c":{"b":4}}"#;
            all_keys(line, &wanted, labels, &mut JsonScratch::default());
        });
        assert_eq!(found, labels_of(&[("app_extracted", "3"), ("b", "2")]));
    }

    #[test]
    fn what_was_packed_is_unpacked_and_nothing_else() {
        let unpacked = |line: &str| {
            let mut entry = String::from("unset");
            let found = parsed(|labels| {
                unpack(line, &Wanted::All, labels, &mut JsonScratch::default(), &mut entry);
            });
            (found, entry)
        };
        let packed = unpacked(r#"{"pod":"p","n":1,"app":"b","_entry":"the \"line\""}"#);
        assert_eq!(packed.0, labels_of(&[("app_extracted", "b"), ("pod", "p")]));
        assert_eq!(packed.1, "the \"line\"");
        assert_eq!(unpacked(r#"{"pod":"p"}"#), (vec![], "unset".to_owned()));
        assert_eq!(unpacked("[1]").0[0].1, "JSONParserErr");
    }

    proptest::proptest! {
        #[test]
        fn keys_and_paths_find_what_serde_finds(
            values in proptest::collection::btree_map("[a-c]{1,2}", "\\PC{0,5}", 0..5),
            key in "[a-c]{1,2}",
        ) {
            let line = serde_json::to_string(&values).unwrap();
            let expected: Vec<_> = values.clone().into_iter().collect();
            proptest::prop_assert_eq!(json(&line), expected);
            let expected = values.get(&key).cloned().unwrap_or_default();
            proptest::prop_assert_eq!(extracted(&line, &[("x", &key)]), vec![("x".to_owned(), expected)]);
        }

        #[test]
        fn no_line_panics(line in "\\PC{0,40}|[{}\\[\\]:,\"ab\\\\u0-9 ]{0,40}") {
            json(&line);
            extracted(&line, &[("x", "a.b[0]")]);
            parsed(|labels| {
                unpack(&line, &Wanted::All, labels, &mut JsonScratch::default(), &mut String::new());
            });
        }
    }
}
