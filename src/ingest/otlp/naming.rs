//! From OTLP's names to Prometheus's, by the rules of Prometheus's own OTLP receiver, so that a sender that
//! changes from the one to the other finds its series under the same names.

use std::borrow::Cow;

/// How names are translated; the names are those of Prometheus's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TranslationStrategy {
    /// `http.server.duration` in `s` is `http_server_duration_seconds`.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// … is `http_server_duration`.
    UnderscoreEscapingWithoutSuffixes,
    /// … is `http.server.duration_seconds`.
    NoUtf8EscapingWithSuffixes,
    /// … stays as it is.
    NoTranslation,
}

impl TranslationStrategy {
    fn escapes(self) -> bool {
        matches!(
            self,
            TranslationStrategy::UnderscoreEscapingWithSuffixes
                | TranslationStrategy::UnderscoreEscapingWithoutSuffixes
        )
    }
}

/// What of a metric's type shows in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    MonotonicSum,
    Other,
}

impl Kind {
    /// The suffix that the type brings, and which is not repeated if the name has it.
    fn suffix(self, unit: &str) -> Option<&'static str> {
        match self {
            Kind::MonotonicSum => Some("total"),
            // Many count things in unit "1"; only of a gauge it is surely a ratio.
            Kind::Gauge if unit == "1" => Some("ratio"),
            _ => None,
        }
    }
}

/// The name of a metric family; empty if nothing of `name` can be kept.
pub(super) fn metric_name(name: &str, unit: &str, kind: Kind, strategy: TranslationStrategy) -> String {
    match strategy {
        TranslationStrategy::UnderscoreEscapingWithSuffixes => escaped_with_suffixes(name, unit, kind),
        TranslationStrategy::UnderscoreEscapingWithoutSuffixes => {
            let parts = name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '_');
            let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            without_leading_digit(parts.join("_"))
        }
        TranslationStrategy::NoUtf8EscapingWithSuffixes => with_suffixes(name, unit, kind),
        TranslationStrategy::NoTranslation => name.to_owned(),
    }
}

/// The name is cut into words, which drops doubled underscores too, and each suffix is a word once.
fn escaped_with_suffixes(name: &str, unit: &str, kind: Kind) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric() && c != ':');
    let mut words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let Unit { main, per } = Unit::of(unit);
    let (main, per) = (clean(&main), clean(&per));
    let is_new = |suffix: &str, words: &[&str]| !suffix.is_empty() && !words.contains(&suffix);
    let (main, per) = (main.trim_end_matches('_'), per.trim_end_matches('_'));
    let (main_is_new, per_is_new) = (is_new(main, &words), per != "per" && is_new(per, &words));
    if main_is_new {
        words.push(main);
    }
    if per_is_new {
        words.push(per);
    }
    if let Some(suffix) = kind.suffix(unit) {
        words.retain(|word| *word != suffix);
        words.push(suffix);
    }
    without_leading_digit(words.join("_"))
}

/// The name keeps its characters; suffixes it ends with move behind the unit's.
fn with_suffixes(name: &str, unit: &str, kind: Kind) -> String {
    let suffix = kind.suffix(unit);
    let Unit { main, per } = Unit::of(unit);
    let mut name = name;
    for suffix in suffix.into_iter().chain((!per.is_empty()).then_some(per.as_str())) {
        if let Some(stem) = name.strip_suffix(suffix) {
            // The character before the suffix is its delimiter; a name that is all suffix stays.
            let mut stem = stem.chars();
            if stem.next_back().is_some() && !stem.as_str().is_empty() {
                name = stem.as_str();
            }
        }
    }
    let mut name = name.to_owned();
    let main = Some(main.as_str()).filter(|main| !name.ends_with(main));
    for suffix in [main, Some(per.as_str()), suffix].into_iter().flatten().filter(|s| !s.is_empty()) {
        name.push('_');
        name.push_str(suffix);
    }
    name
}

fn without_leading_digit(name: String) -> String {
    match name.as_bytes().first() {
        Some(b'0'..=b'9') => format!("_{name}"),
        _ => name,
    }
}

/// The name of a label.
pub(super) fn label_name(name: &str, strategy: TranslationStrategy) -> Cow<'_, str> {
    let is_plain = |name: &str| {
        !name.starts_with(|c: char| c == '_' || c.is_ascii_digit())
            && !name.contains("__")
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !strategy.escapes() || name.is_empty() || is_plain(name) {
        return Cow::Borrowed(name);
    }
    let escaped: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    // Reserved names, as `__name__`.
    if escaped.starts_with("__") && escaped.ends_with("__") {
        return Cow::Owned(escaped);
    }
    let escaped = collapse_underscores(&escaped);
    Cow::Owned(match escaped.as_bytes()[0] {
        b'0'..=b'9' => format!("key_{escaped}"),
        b'_' => format!("key{escaped}"),
        _ => escaped,
    })
}

/// A unit as Prometheus's metadata names it: `By/s` is `bytes_per_second`.
pub(super) fn unit_name(unit: &str, strategy: TranslationStrategy) -> String {
    let Unit { main, per } = Unit::of(unit);
    let clean = |text: &str| if strategy.escapes() { clean(text) } else { text.to_owned() };
    let words = [clean(&main), clean(&per)];
    let words: Vec<&str> =
        words.iter().map(|word| word.trim_matches('_')).filter(|w| !w.is_empty()).collect();
    words.join("_")
}

/// The two halves of a unit, in words.
struct Unit {
    main: String,
    /// With its `per_`.
    per: String,
}

impl Unit {
    fn of(unit: &str) -> Unit {
        let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
        // What stands in braces is a remark.
        let plain = |half: &str| Some(half.trim().to_owned()).filter(|half| !half.contains(['{', '}']));
        let main = plain(main).map(|main| main_unit(&main).map_or(main, str::to_owned));
        let per = plain(per).filter(|per| !per.is_empty());
        let per = per.map(|per| format!("per_{}", per_unit(&per).unwrap_or(&per)));
        Unit { main: main.unwrap_or_default(), per: per.unwrap_or_default() }
    }
}

/// UCUM's units, in the plural.
fn main_unit(ucum: &str) -> Option<&'static str> {
    Some(match ucum {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        "TiBy" => "tebibytes",
        "kBy" | "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "%" => "percent",
        "1" => "",
        _ => return None,
    })
}

/// … and in the singular, behind "per". Here `m` is a minute.
fn per_unit(ucum: &str) -> Option<&'static str> {
    Some(match ucum {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => return None,
    })
}

fn clean(unit: &str) -> String {
    let escaped: String =
        unit.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }).collect();
    collapse_underscores(&escaped).trim_start_matches('_').to_owned()
}

fn collapse_underscores(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '_' || !collapsed.ends_with('_') {
            collapsed.push(c);
        }
    }
    collapsed
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::*;
    use TranslationStrategy::*;

    #[test]
    fn metric_names_follow_the_strategy() {
        let cases = [
            // name, unit, kind; then in the order of the strategies.
            (
                ("http.server.duration", "s", Other),
                [
                    "http_server_duration_seconds",
                    "http_server_duration",
                    "http.server.duration_seconds",
                    "http.server.duration",
                ],
            ),
            (("requests", "", MonotonicSum), ["requests_total", "requests", "requests_total", "requests"]),
            (
                ("requests_total", "1", MonotonicSum),
                ["requests_total", "requests_total", "requests_total", "requests_total"],
            ),
            (
                ("cpu_seconds_total", "s", MonotonicSum),
                ["cpu_seconds_total", "cpu_seconds_total", "cpu_seconds_total", "cpu_seconds_total"],
            ),
            (
                ("total.memory", "By", Gauge),
                ["total_memory_bytes", "total_memory", "total.memory_bytes", "total.memory"],
            ),
            (("cpu.usage", "1", Gauge), ["cpu_usage_ratio", "cpu_usage", "cpu.usage_ratio", "cpu.usage"]),
            (("ratio_of.x", "1", Gauge), ["of_x_ratio", "ratio_of_x", "ratio_of.x_ratio", "ratio_of.x"]),
            (
                ("requêsts", "1/s", MonotonicSum),
                ["requ_sts_per_second_total", "requ_sts", "requêsts_per_second_total", "requêsts"],
            ),
            (("io", "By/m", Gauge), ["io_bytes_per_minute", "io", "io_bytes_per_minute", "io"]),
            (("jobs", "{job}", Gauge), ["jobs", "jobs", "jobs", "jobs"]),
            (("io", "By/{op}", Gauge), ["io_bytes", "io", "io_bytes", "io"]),
            (
                ("2xx__codes", "unit@with#special/chars", Other),
                [
                    "_2xx_codes_unit_with_special_per_chars",
                    "_2xx__codes",
                    "2xx__codes_unit@with#special_per_chars",
                    "2xx__codes",
                ],
            ),
            (("a::b", "Cel", Gauge), ["a::b_celsius", "a::b", "a::b_celsius", "a::b"]),
            (("disk", "%", Gauge), ["disk_percent", "disk", "disk_percent", "disk"]),
            (("@#$", "", Gauge), ["", "", "@#$", "@#$"]),
            (("total", "", MonotonicSum), ["total", "total", "total_total", "total"]),
        ];
        let strategies = [
            UnderscoreEscapingWithSuffixes,
            UnderscoreEscapingWithoutSuffixes,
            NoUtf8EscapingWithSuffixes,
            NoTranslation,
        ];
        for ((name, unit, kind), expected) in cases {
            let names = strategies.map(|strategy| metric_name(name, unit, kind, strategy));
            assert_eq!(names, expected, "{name} {unit}");
        }
    }

    #[test]
    fn label_names_are_escaped_or_kept() {
        let cases = [
            ("http.method", "http_method"),
            ("plain_name", "plain_name"),
            ("200.codes", "key_200_codes"),
            ("_private", "key_private"),
            ("a..b", "a_b"),
            ("__reserved__", "__reserved__"),
            ("é", "key_"),
            ("", ""),
        ];
        for (name, expected) in cases {
            assert_eq!(label_name(name, UnderscoreEscapingWithSuffixes), expected);
            assert_eq!(label_name(name, NoTranslation), name);
        }
    }

    #[test]
    fn units_are_told_in_words() {
        let cases =
            [("s", "seconds"), ("By/s", "bytes_per_second"), ("1", ""), ("{x}", ""), ("1/h", "per_hour")];
        for (unit, expected) in cases {
            assert_eq!(unit_name(unit, UnderscoreEscapingWithSuffixes), expected);
        }
    }
}
