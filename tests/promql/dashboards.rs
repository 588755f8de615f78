//! Expressions of dashboards and rules in use, over made-up series that fit their selectors: a range query gives at
//! every step what an instant query gives at that time, and fails only where one of them does.

use std::collections::BTreeMap;

use icecore::model::Labels;
use icecore::query::promql::{ParseOptions, parse};
use icecore::query::{Answer, QueryError, QueryValue, SampleValue};

use crate::corpus;
use crate::run::{Engine, Names};
use crate::script::{Load, When};
use crate::series::SequenceValue;
use crate::shared::shared;

const STEP_MS: i64 = 15_000;
/// No sample falls on a step, so edges of windows do not matter.
const START: i64 = 40 * 60_000 + 1_234;

#[test]
fn every_expression_gives_the_same_as_a_range_and_step_by_step() {
    let Some(folder) = shared("corpus") else { return };
    let mut wrong = Vec::new();
    let (mut compared, mut answered) = (0, 0);
    // All of them take minutes of CPU without optimisation.
    let one_of = if std::env::var_os("ICECORE_FULL").is_some() { 1 } else { 8 };
    for file in corpus::FILES {
        let exprs = corpus::expressions(&folder.join(file));
        let mut parsed = exprs.clone();
        parsed.retain(|expr| parse(expr, &ParseOptions::default()).is_ok());
        // Prometheus refuses that one as well.
        assert!(parsed.len() + 1 >= exprs.len(), "{file}: {} of {} parse", parsed.len(), exprs.len());
        let asked: Vec<String> = parsed.into_iter().step_by(one_of).collect();
        let engine = loaded(corpus::series(asked.iter()));
        for expr in &asked {
            compared += 1;
            match compare(&engine, expr) {
                Ok(points) => answered += usize::from(points > 0),
                Err(what) => wrong.push(format!("{expr}: {what}")),
            }
        }
    }
    println!("{compared} expressions, {answered} with an answer");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(answered * 4 > compared * 3, "only {answered} of {compared} have an answer");
}

fn loaded(made_up: corpus::MadeUp) -> Engine {
    let engine = Engine::open(Names::Immediate);
    let series = made_up.into_iter().map(|(labels, values)| {
        (labels, values.into_iter().map(|value| value.map(SequenceValue::Float)).collect())
    });
    let series = series.collect();
    engine.load(&Load { step_ms: STEP_MS, with_nhcb: false, series, starts: Vec::new() });
    engine
}

/// How many points the range query has, if all agree.
fn compare(engine: &Engine, expr: &str) -> Result<usize, String> {
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
