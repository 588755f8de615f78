//! The file that makes Grafana's data sources: its links lead somewhere.

use std::collections::BTreeSet;
use std::path::Path;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The values of a key, wherever it stands; comments are none.
fn values<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let lines = yaml.lines().map(|line| line.trim().trim_start_matches("- "));
    let values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    values.map(|value| value.trim_matches(['"', '\''])).collect()
}

#[test]
fn every_link_leads_to_a_data_source_of_the_file() {
    let yaml = read("grafana/datasources.yaml");
    let uids = values(&yaml, "uid");
    assert_eq!(uids, ["icecore-metrics", "icecore-logs", "icecore-traces", "icecore-jaeger"]);
    assert_eq!(uids.len(), values(&yaml, "access").len(), "each has one");
    let links: BTreeSet<&str> =
        values(&yaml, "datasourceUid").into_iter().chain(values(&yaml, "targetUID")).collect();
    assert_eq!(links, BTreeSet::from(["icecore-logs", "icecore-metrics", "icecore-traces"]));
}

#[test]
fn every_data_source_is_where_the_server_listens_by_default() {
    let yaml = read("grafana/datasources.yaml");
    let options = read("config.example.toml");
    let listen = options.lines().find_map(|line| line.strip_prefix("listen = ")).unwrap().trim_matches('"');
    let urls: Vec<&str> = values(&yaml, "url").into_iter().filter(|url| !url.starts_with('$')).collect();
    assert_eq!(urls.len(), 4);
    for url in urls {
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap_or((&url[7..], ""));
        assert_eq!(address, listen);
        assert!(path.is_empty() || path == "jaeger", "{url}");
    }
}

#[test]
fn grafana_does_not_take_its_variables_for_those_of_the_environment() {
    let yaml = read("grafana/datasources.yaml");
    for line in yaml.lines().filter(|line| line.contains('$')) {
        assert_eq!(line.matches("$$").count() * 2, line.matches('$').count(), "{line}");
    }
}
