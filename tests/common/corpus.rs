//! Expressions of dashboards and rules in use, their variables filled, and made-up series that their selectors find.
//!
//! The series of all selectors belong together: four hosts with the same pods, namespaces and the like expose every
//! metric, so that what joins, divides or compares metrics has something to say.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use icecore::model::metrics::stale_marker;
use icecore::model::{Labels, LabelsBuilder, MatchOp, Matcher};
use icecore::query::promql::ast::ExprKind;
use icecore::query::promql::{ParseOptions, parse};
use regex::{Captures, Regex};
use regex_syntax::hir::{Class, Hir, HirKind};

pub const FILES: [&str; 5] = [
    "awesome-alerts-exprs.txt",
    "kube-prometheus-dashboards-exprs.txt",
    "kube-prometheus-rules-exprs.txt",
    "loki-tempo-mixin-promql.txt",
    "node-exporter-full-exprs.txt",
];

/// Of every series; an hour of scrapes 15 s apart.
const SAMPLES: usize = 240;
/// The counters' restart.
const RESTARTED: usize = 170;
const HOSTS: usize = 4;
/// Labels that every series has unless a selector says otherwise; `#` is the number of the host.
const LABELS: [(&str, &str); 8] = [
    ("cluster", "main"),
    ("namespace", "default"),
    ("job", "app"),
    ("instance", "host-#:9100"),
    ("node", "host-#"),
    ("pod", "pod-#"),
    ("container", "server"),
    ("service", "web"),
];

/// What each scrape found of a series, if anything.
pub type MadeUp = BTreeMap<Labels, Vec<Option<f64>>>;

/// One expression a line; those of several lines stand as JSON strings.
pub fn expressions(file: &Path) -> Vec<String> {
    let variables = Variables {
        matcher: Regex::new(r#"(=~|!~|!=|=)\s*"[^"]*""#).unwrap(),
        variable: Regex::new(r"\$\{?([A-Za-z_]\w*)(:\w+)?\}?").unwrap(),
    };
    let text = std::fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.to_owned()));
    lines.map(|line: String| variables.filled(&line)).collect()
}

/// What a dashboard fills in; `$1` is not of that kind.
struct Variables {
    matcher: Regex,
    variable: Regex,
}

impl Variables {
    /// In a regex anything, in another matcher the label of the first host, elsewhere a duration or a number.
    fn filled(&self, expr: &str) -> String {
        let in_matchers = self.matcher.replace_all(expr, |matcher: &Captures| {
            let is_regex = matcher[1].ends_with('~');
            let fill = |found: &Captures| if is_regex { ".*".to_owned() } else { label_of_first(&found[1]) };
            self.variable.replace_all(&matcher[0], fill).into_owned()
        });
        let fill = |found: &Captures| match &found[1] {
            "__rate_interval" => "1m",
            "__interval" => "15s",
            "__range" => "1h",
            _ => "1",
        };
        self.variable.replace_all(&in_matchers, fill).into_owned()
    }
}

fn label_of_first(name: &str) -> String {
    let label = LABELS.iter().find(|(other, _)| *other == name);
    label.map_or_else(|| "a".to_owned(), |(_, value)| value.replace('#', "0"))
}

/// For every selector of the expressions a series of each host, and for buckets three. A selector to which another's
/// series already fit gets none of its own, since every further series of a host makes joins ambiguous.
pub fn series<'a>(exprs: impl Iterator<Item = &'a String>) -> MadeUp {
    let mut selectors = Vec::new();
    for tree in exprs.filter_map(|expr| parse(expr, &ParseOptions::default()).ok()) {
        tree.walk(&mut |node| match &node.kind {
            ExprKind::VectorSelector(selector) => selectors.push(selector.matchers.clone()),
            ExprKind::MatrixSelector(matrix) => selectors.push(matrix.selector.matchers.clone()),
            _ => {}
        });
    }
    // The pickiest first: theirs fit to most others.
    selectors.sort_by_key(|matchers| std::cmp::Reverse(matchers.len()));
    let mut by_metric: BTreeMap<String, Vec<LabelsBuilder>> = BTreeMap::new();
    for matchers in &selectors {
        for host in 0..HOSTS {
            let labels = fitting_labels(matchers, host);
            let others = by_metric.entry(labels.get("__name__").to_owned()).or_default();
            let is_akin =
                |other: &&LabelsBuilder| ["instance", "le"].iter().all(|n| other.get(n) == labels.get(n));
            let fits = |other: &LabelsBuilder| matchers.iter().all(|m| m.matches(other.get(&m.name)));
            if !others.iter().filter(is_akin).any(fits) {
                others.push(labels);
            }
        }
    }
    by_metric.values().flatten().flat_map(with_values).collect()
}

fn fitting_labels(matchers: &[Matcher], host: usize) -> LabelsBuilder {
    let mut labels = LabelsBuilder::default();
    for (name, value) in LABELS {
        labels.set(name, &value.replace('#', &host.to_string()));
    }
    for matcher in matchers {
        let same_label = || matchers.iter().filter(|other| other.name == matcher.name);
        let mut candidates = vec![labels.get(&matcher.name).to_owned()];
        candidates.extend(same_label().filter_map(example));
        candidates.push("x".to_owned());
        if let Some(value) = candidates.iter().find(|value| same_label().all(|other| other.matches(value))) {
            labels.set(&matcher.name, value);
        }
    }
    labels
}

/// A value that passes an equality or a regex.
fn example(matcher: &Matcher) -> Option<String> {
    match matcher.op {
        MatchOp::Equal => Some(matcher.value.clone()),
        MatchOp::Regex => Some(matching_text(&regex_syntax::parse(&matcher.value).ok()?)),
        MatchOp::NotEqual | MatchOp::NotRegex => None,
    }
}

fn matching_text(hir: &Hir) -> String {
    match hir.kind() {
        HirKind::Literal(bytes) => String::from_utf8(bytes.0.to_vec()).unwrap(),
        HirKind::Class(Class::Unicode(class)) => {
            let holds = |c: &char| class.iter().any(|range| (range.start()..=range.end()).contains(c));
            let usual = ['a', '1'].into_iter().find(holds);
            usual.or_else(|| Some(class.iter().next()?.start())).into_iter().collect()
        }
        HirKind::Repetition(repetition) => {
            matching_text(&repetition.sub).repeat(repetition.min.max(1) as usize)
        }
        HirKind::Capture(group) => matching_text(&group.sub),
        HirKind::Concat(parts) => parts.iter().map(matching_text).collect(),
        HirKind::Alternation(branches) => {
            branches.iter().map(matching_text).find(|text| !text.is_empty()).unwrap_or_default()
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => String::new(),
    }
}

fn with_values(labels: &LabelsBuilder) -> Vec<(Labels, Vec<Option<f64>>)> {
    let is_bucket = labels.get("__name__").contains("_bucket") && labels.get("le").is_empty();
    let bounds: &[&str] = if is_bucket { &["0.1", "1", "+Inf"] } else { &[""] };
    let series = |(i, bound): (usize, &&str)| {
        let mut with_bound = labels.clone();
        if is_bucket {
            with_bound.set("le", bound);
        }
        let shape = if is_bucket { Shape::Counter((i + 1) as f64) } else { Shape::of(labels) };
        (with_bound.build(), scraped(shape, labels))
    };
    bounds.iter().enumerate().map(series).collect()
}

/// How the values of a series go.
enum Shape {
    /// By so much a scrape, and begins anew once. Stays far from zero, near which versions of Prometheus extrapolate
    /// each in its own way.
    Counter(f64),
    /// Around this level.
    Waves(f64),
    /// From this level downward.
    Falls(f64),
    /// One state after the other, from 0 to 11.
    States,
    Zero,
}

impl Shape {
    /// Another one on each host, so that some host is likely to pass an alert's comparison.
    fn of(labels: &LabelsBuilder) -> Shape {
        let hash = hash(labels);
        let power = 10f64.powi((hash >> 8) as i32 % 6);
        let ends = ["_total", "_count", "_sum"];
        let is_counter = ends.iter().any(|end| labels.get("__name__").ends_with(end));
        match hash % 5 {
            0 => Shape::Zero,
            1 => Shape::Counter(power * 3.0),
            _ if is_counter => Shape::Counter(power / 5.0),
            2 => Shape::Waves(power),
            3 => Shape::Falls(power / 50.0),
            _ => Shape::States,
        }
    }

    fn value(&self, scrape: usize) -> f64 {
        let at = scrape as f64;
        match self {
            Shape::Counter(slope) if scrape < RESTARTED => slope * (at + 1_000.0),
            Shape::Counter(slope) => slope * (at + 100.0),
            Shape::Waves(level) => level * (1.0 + 0.3 * (at / 9.0).sin()),
            Shape::Falls(level) => level * (1.0 - at / 300.0),
            Shape::States => (scrape / 8 % 12) as f64,
            Shape::Zero => 0.0,
        }
    }
}

/// Now and then a scrape fails, and of some series a few in a row, the first of which wrote a stale marker.
fn scraped(shape: Shape, labels: &LabelsBuilder) -> Vec<Option<f64>> {
    let hash = hash(labels);
    let is_absent = |scrape| hash.is_multiple_of(3) && (100..112).contains(&scrape);
    let value = |scrape: usize| match scrape {
        100 if is_absent(scrape) => Some(stale_marker()),
        _ if is_absent(scrape) || (scrape as u64 + hash).is_multiple_of(23) => None,
        _ => Some(shape.value(scrape)),
    };
    (0..SAMPLES).map(value).collect()
}

/// Of the metric and the host.
fn hash(labels: &LabelsBuilder) -> u64 {
    let mut hasher = DefaultHasher::new();
    (labels.get("__name__"), labels.get("instance")).hash(&mut hasher);
    hasher.finish()
}
