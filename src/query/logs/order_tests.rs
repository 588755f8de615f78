//! The order of entries, and those that came twice: the same in memory, in segments, and in both.

use proptest::prelude::*;

use super::Direction;
use super::testing::{Engine, Entry, SECOND};
use crate::model::Labels;

/// Few instants, streams that share blocks and others, and lines that repeat.
fn any_entry() -> impl Strategy<Value = Entry> {
    ("[ab]", "[xyz]", 1..6i64, "[a-d]", prop::option::of("[uv]")).prop_map(
        |(app, pod, second, line, user)| Entry {
            labels: Labels::from_sorted([("app", app.as_str()), ("pod", pod.as_str())]),
            timestamp: second * SECOND,
            line,
            metadata: user.map(|user| ("user".to_owned(), user)).into_iter().collect(),
        },
    )
}

type Shown = (i64, String, String, Vec<(String, String)>);

/// What a query for all entries answers, in the order in which it takes them.
fn asked(engine: &Engine, direction: Direction, limit: usize) -> Vec<Shown> {
    let mut all = Vec::new();
    for stream in engine.entries(r#"{app=~".+"}"#, direction, limit) {
        let labels = stream.labels.to_string();
        all.extend(stream.entries.into_iter().map(|e| (e.timestamp, labels.clone(), e.line, e.metadata)));
    }
    // Stable: of one stream they stay as they were answered.
    match direction {
        Direction::Forward => all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1))),
        Direction::Backward => all.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1))),
    }
    all
}

/// The same by a plain list.
fn expected(entries: &[Entry], direction: Direction, limit: usize) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for entry in entries {
        let shown = (entry.timestamp, entry.labels.to_string(), entry.line.clone(), entry.metadata.clone());
        if !all.contains(&shown) {
            all.push(shown);
        }
    }
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    if direction == Direction::Backward {
        all.reverse();
    }
    all.truncate(limit);
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_of_one_instant_come_by_stream_and_arrival_wherever_they_lie(
        entries in prop::collection::vec(any_entry(), 1..40),
        limit in 1..50usize,
    ) {
        let engine = Engine::of(&entries);
        let check = || {
            for direction in [Direction::Forward, Direction::Backward] {
                prop_assert_eq!(
                    asked(&engine, direction, limit),
                    expected(&entries, direction, limit),
                    "{:?}", direction
                );
            }
            Ok(())
        };
        check()?;
        engine.seal();
        check()?;
        // Again, by a sender that heard no answer.
        engine.write(&entries);
        check()?;
        engine.seal();
        check()?;
    }
}
