//! LogQL: any text is parsed or refused, and what the printer writes of a tree parses back to it.
#![no_main]

use icecore::query::logql::{ParseOptions, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let options = ParseOptions::default();
    let Ok(tree) = parse(text, &options) else { return };
    let printed = tree.to_string();
    match parse(&printed, &options) {
        Ok(again) => assert_eq!(again, tree, "{text} printed as {printed}"),
        Err(error) => panic!("{text} printed as {printed}: {error}"),
    }
});
