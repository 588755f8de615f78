//! The text format in which targets expose metrics, as far as these tests meet it.

use std::collections::BTreeMap;

use super::answers::Labels;

/// What a target exposes at one time.
#[derive(Clone, Default)]
pub struct Exposed {
    /// With the metric's name as `__name__`, in the order of the text.
    pub samples: Vec<(Labels, f64)>,
    /// The type of each metric family.
    pub types: BTreeMap<String, String>,
}

pub fn parse(text: &str) -> Exposed {
    let mut exposed = Exposed::default();
    for line in text.lines() {
        if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            exposed.types.insert(family.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') && !line.is_empty() {
            exposed.samples.push(sample(line));
        }
    }
    exposed
}

fn sample(line: &str) -> (Labels, f64) {
    let name_end = line.find(['{', ' ']).unwrap();
    let mut labels = Labels::from([("__name__".to_owned(), line[..name_end].to_owned())]);
    let mut rest = &line[name_end..];
    while rest.starts_with(['{', ',']) && !rest.starts_with(",}") {
        let (name, after) = rest[1..].split_once("=\"").unwrap();
        let (value, after) = quoted(after);
        labels.insert(name.to_owned(), value);
        rest = after;
    }
    let value = rest.trim_start_matches([',', '}', ' ']);
    (labels, value.split(' ').next().unwrap().parse().unwrap())
}

/// The text up to the closing quote, and what follows the quote.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().unwrap().1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            _ => value.push(c),
        }
    }
    panic!("no closing quote: {text}")
}

#[test]
fn labels_and_escapes_are_read() {
    let exposed =
        parse("# TYPE a counter\na{x=\"1\",y=\"C:\\\\ \\\"q\\\"\\n{,}\"} 1.5e3\nb NaN\nc{z=\"\",} +Inf 17\n");
    let found: Vec<_> =
        exposed.samples.iter().map(|(labels, value)| (labels["__name__"].as_str(), *value)).collect();
    assert_eq!(found[0], ("a", 1_500.0));
    assert_eq!(exposed.samples[0].0["y"], "C:\\ \"q\"\n{,}");
    assert!(found[1].0 == "b" && found[1].1.is_nan());
    assert_eq!(found[2], ("c", f64::INFINITY));
    assert_eq!(exposed.types["a"], "counter");
}
