//! Imports go downwards only, as the tables in `src/lib.rs` say; and `unsafe` stays in one file.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may import whom.
type Rules = BTreeMap<String, BTreeSet<String>>;

const UNSAFE_FILE: &str = "storage/fs/mmap.rs";

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rules in the table of `lib.rs` that starts with this heading.
fn rules(heading: &str) -> Rules {
    let lib = std::fs::read_to_string(src().join("lib.rs")).unwrap();
    let rows = lib.lines().skip_while(|line| !line.starts_with(&format!("//! | {heading} |"))).skip(2);
    let mut rules = Rules::new();
    for row in rows.map_while(|line| line.strip_prefix("//! |")) {
        let [names, imports, ""] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("not a row of the table: {row}")
        };
        let imports: BTreeSet<String> = match imports {
            nothing if nothing.starts_with("nothing") => BTreeSet::new(),
            "all of the above" => rules.keys().cloned().collect(),
            list => list.split(", ").map(str::to_owned).collect(),
        };
        for name in names.split(", ") {
            rules.insert(name.to_owned(), imports.clone());
        }
    }
    assert!(!rules.is_empty(), "lib.rs has no table of {heading}");
    rules
}

/// All files below `src/`, by their path there, without comments and without the tests that close them.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![src()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.strip_prefix(src()).unwrap().to_string_lossy().into_owned();
            if name.ends_with(".rs") && name != "lib.rs" {
                found.push((name, code(&std::fs::read_to_string(path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// `storage/wal/frame.rs` is `[storage, wal, frame]`, `storage/wal/mod.rs` is `[storage, wal]`.
fn module_of(file: &str) -> Vec<String> {
    let parts = file.trim_end_matches(".rs").split('/').map(str::to_owned);
    parts.filter(|part| part != "mod").collect()
}

/// The modules that a file names, as absolute paths: by `crate::…`, `icecore::…` (the binary) and `super::…`.
fn imports(file: &str, code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (root, base) in [("crate::", Some(Vec::new())), ("icecore::", Some(Vec::new())), ("super::", None)] {
        for (at, _) in code.match_indices(root) {
            let before = &code[..at];
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') || before.ends_with("super::") {
                continue;
            }
            let (mut base, mut rest) = (base.clone().unwrap_or_else(|| module_of(file)), &code[at..]);
            rest = match rest.strip_prefix(root) {
                Some(after) if root != "super::" => after,
                _ => rest,
            };
            while let Some(after) = rest.strip_prefix("super::") {
                base.pop();
                rest = after;
            }
            read_path(rest, base, &mut found);
        }
    }
    found
}

/// Reads `a::b`, `a::{b, c::d}` and so on; returns what follows.
fn read_path<'a>(text: &'a str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches([' ', '\n', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let after = read_path(rest, path.clone(), found);
            assert!(after.len() < rest.len(), "cannot read the import at {:.60}", rest);
            rest = after;
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(text.len());
    path.push(text[..end].to_owned());
    match text[end..].strip_prefix("::") {
        Some(rest) => read_path(rest, path, found),
        None => {
            found.push(path);
            // `as` and what follows it belongs to the path.
            let rest = &text[end..];
            rest.strip_prefix(" as ")
                .map_or(rest, |name| name.trim_start_matches(|c: char| c.is_alphanumeric()))
        }
    }
}

/// Imports of a file that the tables do not allow.
fn violations(file: &str, code: &str, layers: &Rules, storage: &Rules) -> Vec<String> {
    let module = module_of(file);
    let own = &module[0];
    let allowed =
        layers.get(own).unwrap_or_else(|| panic!("{file}: the table of layers does not know {own}"));
    let mut wrong = Vec::new();
    for path in imports(file, code) {
        let Some(target) = path.first() else { continue };
        if target != own && layers.contains_key(target) && !allowed.contains(target) {
            wrong.push(format!("{file}: {own} must not import {}", path.join("::")));
        }
        let (Some(part), [target, inner, ..]) = (module.get(1), &path[..]) else { continue };
        let is_inner = own == "storage" && target == "storage" && inner != part;
        // A type that `storage` exports is not a module; lower-case names are.
        if let Some(allowed) = storage.get(part).filter(|_| is_inner && inner.starts_with(char::is_lowercase))
            && !allowed.contains(inner)
        {
            wrong.push(format!("{file}: storage::{part} must not import {}", path.join("::")));
        }
    }
    wrong
}

/// Tests in files of their own may use what they need within their layer.
fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file == "storage/fs/faulty.rs"
}

#[test]
fn imports_go_downwards_only() {
    let (layers, storage) = (rules("layer"), rules("part of storage"));
    let sources = sources();
    assert!(sources.len() > 100, "only {} files found", sources.len());
    let files = sources.iter().filter(|(file, _)| !is_test(file));
    let wrong: Vec<String> =
        files.flat_map(|(file, code)| violations(file, code, &layers, &storage)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tables_name_what_there_is() {
    let files = sources();
    let exists = |path: &str| files.iter().any(|(file, _)| module_of(file).join("/").starts_with(path));
    for (heading, below) in [("layer", ""), ("part of storage", "storage/")] {
        for (name, imports) in rules(heading) {
            for name in imports.iter().chain([&name]) {
                assert!(exists(&format!("{below}{name}")), "{heading}: there is no {name}");
            }
        }
    }
}

#[test]
fn an_upward_or_sideways_import_is_seen_however_it_is_spelt() {
    let (layers, storage) = (rules("layer"), rules("part of storage"));
    for (file, code) in [
        ("query/mod.rs", "use crate::ingest::Ingest;"),
        ("query/promql/eval/mod.rs", "use crate::{model::Labels, api::error::ApiError};"),
        ("model/labels.rs", "fn f() -> crate::storage::Store {}"),
        ("codec/bits.rs", "use super::super::storage::Store;"),
        ("storage/wal/frame.rs", "use super::super::metrics::Head;"),
        ("storage/manifest.rs", "use super::{fs::Fs, metrics::Head};"),
        ("storage/fs/real.rs", "use crate::storage::wal;"),
        ("main.rs", "icecore::server::run()"),
    ] {
        assert_eq!(violations(file, code, &layers, &storage).len(), 1, "{file}: {code}");
    }
}

#[test]
fn unsafe_is_in_one_file() {
    for (file, code) in sources() {
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let is_unsafe = words.into_iter().any(|word| word == "unsafe");
        assert_eq!(is_unsafe, file == UNSAFE_FILE, "{file}");
    }
}

/// Backticked words of a text, in order.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn architecture_names_files_and_functions_that_exist() {
    let root = src().join("..");
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let all: String = sources().into_iter().map(|(_, code)| code).collect();
    let is_word = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    for name in quoted(&text) {
        if name.starts_with("src/") {
            assert!(root.join(name).exists(), "there is no {name}");
        }
        // `Type::function`, where the function's name must be one of ours.
        if let Some((owner, function)) = name.split_once("::").filter(|(a, b)| is_word(a) && is_word(b)) {
            assert!(all.contains(&format!("fn {function}")), "there is no {name}");
            let is_type =
                ["struct", "trait", "enum"].iter().any(|kind| all.contains(&format!("{kind} {owner}")));
            assert!(is_type, "there is no {owner}");
        }
    }
    // The steps of the two lives: a function, then the file that has it.
    for step in text.split("(`src/").skip(1).zip(text.split("(`src/")) {
        let (after, before) = step;
        let file = after.split('`').next().unwrap();
        let Some(name) = before.trim_end().strip_suffix('`').and_then(|text| text.rsplit('`').next()) else {
            continue;
        };
        let function = name.rsplit("::").next().unwrap();
        let code = std::fs::read_to_string(src().join(file)).unwrap();
        let has = ["fn ", "struct ", "enum "].iter().any(|kind| code.contains(&format!("{kind}{function}")));
        assert!(has, "{file} has no {name}");
    }
}
