//! TraceQL: any text is parsed or refused, and conditions are recovered from any that is half written.
#![no_main]

use icecore::query::traceql::{ParseOptions, matchers, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let options = ParseOptions { regexes_max: 64, regex_cache: None };
    let _ = parse(text, options);
    let _ = matchers(text, options);
});
