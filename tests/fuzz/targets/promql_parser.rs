//! Any text is parsed or refused: no panic, and a refusal names a place within the text.
#![no_main]

use icecore::query::promql::{ParseOptions, parse, parse_selector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for options in [ParseOptions::default(), ParseOptions::all()] {
        if let Err(error) = parse(text, &options) {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&error.at.line), "{error}");
            assert!((1..=text.len() + 1).contains(&error.at.column), "{error}");
        }
        let _ = parse_selector(text, &options);
    }
});
