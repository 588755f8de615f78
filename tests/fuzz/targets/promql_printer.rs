//! What the printer writes of a tree parses back to the same tree, and prints as the same text.
#![no_main]

use icecore::query::promql::{ParseOptions, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let options = ParseOptions::all();
    let Ok(tree) = parse(text, &options) else { return };
    let printed = tree.to_string();
    match parse(&printed, &options) {
        Ok(again) => {
            assert_eq!(again, tree, "{text} printed as {printed}");
            assert_eq!(again.to_string(), printed);
        }
        Err(error) => panic!("{text} printed as {printed}: {error}"),
    }
});
