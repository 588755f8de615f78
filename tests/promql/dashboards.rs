//! Expressions of dashboards and rules in use, over made-up series that fit their selectors: a range query gives at
//! every step what an instant query gives at that time, and fails only where one of them does.

use std::collections::BTreeMap;

use icecore::model::{Labels, LabelsBuilder, MatchOp, Matcher};
use icecore::query::promql::ast::ExprKind;
use icecore::query::promql::{ParseOptions, parse};
use icecore::query::{Answer, QueryError, QueryValue, SampleValue};

use crate::run::{Engine, Names};
use crate::script::{Load, When};
use crate::series::{SequenceValue, Series};
use crate::shared::shared;

const STEP_MS: i64 = 15_000;
const SAMPLES: usize = 240;
/// No sample falls on a step, so edges of windows do not matter.
const START: i64 = 40 * 60_000 + 1_234;

#[test]
fn every_expression_gives_the_same_as_a_range_and_step_by_step() {
    let Some(corpus) = shared("corpus") else { return };
    let variables = variables();
    let mut wrong = Vec::new();
    let (mut compared, mut answered) = (0, 0);
    for file in
        ["node-exporter-full-exprs.txt", "awesome-alerts-exprs.txt", "kube-prometheus-rules-exprs.txt"]
    {
        let text = std::fs::read_to_string(corpus.join(file)).unwrap();
        let exprs: Vec<String> = text.lines().map(|line| expression(line, &variables)).collect();
        let parsed: Vec<&String> =
            exprs.iter().filter(|e| parse(e, &ParseOptions::default()).is_ok()).collect();
        assert!(parsed.len() * 10 >= exprs.len() * 9, "{file}: {} of {} parse", parsed.len(), exprs.len());
        // All of them take a minute of CPU without optimisation.
        let every = if std::env::var_os("ICECORE_FULL").is_some() { 1 } else { 8 };
        for expr in parsed.into_iter().step_by(every) {
            compared += 1;
            match compare(expr) {
                Ok(points) => answered += usize::from(points > 0),
                Err(what) => wrong.push(format!("{expr}: {what}")),
            }
        }
    }
    println!("{compared} expressions, {answered} with an answer");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(answered * 2 > compared, "only {answered} of {compared} have an answer");
}

/// What a dashboard fills in, and with what.
fn variables() -> [(regex::Regex, &'static str); 2] {
    let pattern = |text| regex::Regex::new(text).unwrap();
    [
        (pattern(r"\$\{?__(rate_interval|interval|range)(_ms|_s)?\}?"), "5m"),
        (pattern(r"\$\{?[A-Za-z_]\w*(:\w+)?\}?"), "a"),
    ]
}

/// A line of the corpus with values for its variables; some are JSON strings.
fn expression(line: &str, variables: &[(regex::Regex, &str)]) -> String {
    let text = serde_json::from_str::<String>(line).unwrap_or_else(|_| line.to_owned());
    variables.iter().fold(text, |text, (variable, value)| variable.replace_all(&text, *value).into_owned())
}

/// How many points the range query has, if all agree.
fn compare(expr: &str) -> Result<usize, String> {
    let engine = Engine::open(Names::Immediate);
    let series = made_up_series(expr);
    engine.load(&Load { step_ms: STEP_MS, with_nhcb: false, series, starts: Vec::new() });
    let (end, step_ms) = (START + 5 * 60_000, 60_000);
    let range = engine.ask(expr, When::Range { start: START, end, step_ms });
    let instants: Vec<_> = (0..=5)
        .map(|i| (START + i * step_ms, engine.ask(expr, When::Instant(START + i * step_ms))))
        .collect();
    let range = match range {
        Ok(answer) => points(&answer),
        Err(QueryError::Execution(text))
            if instants.iter().any(|(_, r)| r.is_err()) && !text.contains("supported") =>
        {
            return Ok(0);
        }
        Err(error) => return Err(format!("the range fails: {error}")),
    };
    let mut stepwise = BTreeMap::new();
    for (at, result) in instants {
        let answer = result.map_err(|e| format!("fails at {at}: {e}"))?;
        stepwise.extend(points(&answer));
    }
    if range != stepwise {
        return Err(format!("as a range {range:?}, step by step {stepwise:?}"));
    }
    Ok(range.len())
}

/// Values by labels and time, as bits.
fn points(answer: &Answer) -> BTreeMap<(Labels, i64), u64> {
    match &answer.value {
        QueryValue::Scalar(t, value) => BTreeMap::from([((Labels::empty(), *t), value.to_bits())]),
        QueryValue::String(..) => BTreeMap::new(),
        QueryValue::Vector(samples) => samples
            .iter()
            .map(|s| match &s.value {
                SampleValue::Float(value) => ((s.labels.clone(), s.timestamp), value.to_bits()),
                SampleValue::Histogram(h) => ((s.labels.clone(), s.timestamp), h.count.to_bits()),
            })
            .collect(),
        QueryValue::Matrix(matrix) => matrix
            .iter()
            .flat_map(|s| s.floats.iter().map(|(t, v)| ((s.labels.clone(), *t), v.to_bits())))
            .collect(),
    }
}

/// For every selector two instances, and for buckets three bounds, of a counter that was reset once.
fn made_up_series(expr: &str) -> Vec<Series> {
    let parsed = parse(expr, &ParseOptions::default()).unwrap();
    let mut found: BTreeMap<Labels, u64> = BTreeMap::new();
    parsed.walk(&mut |node| {
        let matchers = match &node.kind {
            ExprKind::VectorSelector(selector) => &selector.matchers,
            ExprKind::MatrixSelector(matrix) => &matrix.selector.matchers,
            _ => return,
        };
        for labels in fitting_labels(matchers) {
            let seed = found.len() as u64;
            found.entry(labels).or_insert(seed);
        }
    });
    found.into_iter().map(|(labels, seed)| (labels, values(seed))).collect()
}

fn fitting_labels(matchers: &[Matcher]) -> Vec<Labels> {
    let mut base = LabelsBuilder::default();
    for (name, value) in [("job", "j"), ("mode", "user"), ("namespace", "n"), ("pod", "p")] {
        base.set(name, value);
    }
    for matcher in matchers {
        let value = match matcher.op {
            MatchOp::Equal => matcher.value.clone(),
            _ => matcher.literal_values().map_or_else(|| "x".to_owned(), |values| values[0].clone()),
        };
        if matcher.matches(&value) {
            base.set(&matcher.name, &value);
        }
    }
    let bounds: &[&str] =
        if base.get("__name__").ends_with("_bucket") { &["0.1", "1", "+Inf"] } else { &[""] };
    let instances: Vec<String> = match base.get("instance") {
        "" => vec!["a".into(), "b".into()],
        given => vec![given.to_owned()],
    };
    let series = |instance: &String, bound: &str| {
        let mut labels = base.clone();
        labels.set("instance", instance);
        if !bound.is_empty() {
            labels.set("le", bound);
        }
        labels.build()
    };
    instances.iter().flat_map(|instance| bounds.iter().map(move |bound| series(instance, bound))).collect()
}

fn values(seed: u64) -> Vec<Option<SequenceValue>> {
    let slope = (seed * 7 % 11 + 1) as f64;
    let value = |i: usize| {
        let since_reset = if i >= 170 { i - 170 } else { i };
        let is_scraped = !(i as u64 + seed).is_multiple_of(23);
        is_scraped.then_some(SequenceValue::Float(since_reset as f64 * slope))
    };
    (0..SAMPLES).map(value).collect()
}
