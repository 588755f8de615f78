//! A real Prometheus in agent mode scrapes and remote-writes: what it scraped is there, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::answers::{self, Answer, Labels, Points};
use super::exporter::{
    Exporter, PAGES, PROTOBUF, TEXT, TIMED, float_histogram_shown, integer_histogram_shown,
    is_exposed_sometimes, text_samples,
};
use super::exposition::{self, Exposed};
use super::programs::{Program, free_port, installed, wait_for};
use crate::common::{Server, encode, now_ms, request};

/// What every scrape adds of its own: up, duration, samples before and after relabelling, series added.
const SAMPLES_OF_A_SCRAPE: usize = 5;

#[test]
fn what_an_agent_scrapes_is_stored_as_it_was_exposed() {
    let Some(prometheus) = installed("prometheus") else { return };
    let Some(node_exporter) = installed("prometheus-node-exporter") else { return };
    let dir = tempfile::tempdir().unwrap();
    let icecore = Server::start(&[]);
    let mut exporter = Exporter::start();
    let node = format!("127.0.0.1:{}", free_port());
    let arguments = [format!("--web.listen-address={node}")];
    let mut node_program = Program::start(&node_exporter, &arguments, dir.path().join("node.log"));
    node_program.ready(&format!("http://{node}/metrics"));
    let before = look(&node);
    let agent = start_agent(&prometheus, dir.path(), &icecore.url, &exporter.address.to_string(), &node);

    let scrapes = if crate::full() { 180 } else { 15 };
    wait_for("the scrapes", || (0..PAGES.len()).all(|page| exporter.scrapes(page) >= scrapes).then_some(()));
    let after = look(&node);
    wait_for("metadata", || (metadata(&icecore, "exporter_latency") != json!([])).then_some(()));
    exporter.stop();
    for page in ["text", "protobuf"] {
        wait_for("staleness", || is_gone(&icecore, page).then_some(()));
    }
    assert!(agent.stop().success());
    drop(node_program);

    text_page_is_stored(&icecore, &exporter);
    timed_page_is_stored(&icecore, &exporter);
    protobuf_page_is_stored(&icecore, &exporter);
    metadata_is_stored(&icecore);
    for job in ["node", "prometheus", "text", "protobuf"] {
        every_sample_that_was_counted_is_stored(&icecore, job);
    }
    node_exporter_is_stored(&stored(&icecore, "{job=\"node\"}"), &node, &before, &after);
}

fn start_agent(path: &Path, dir: &Path, icecore: &str, exporter: &str, node: &str) -> Program {
    let own = format!("127.0.0.1:{}", free_port());
    let job = |job: &str, path: &str, target: &str| json!({"job_name": job, "metrics_path": path, "static_configs": [{"targets": [target]}]});
    let pages = PAGES.map(|page| job(page, &format!("/{page}"), exporter));
    let mut jobs = vec![job("node", "/metrics", node), job("prometheus", "/metrics", &own)];
    jobs.extend(pages);
    // JSON is YAML.
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": jobs,
        "remote_write": [{
            "url": format!("{icecore}/api/v1/write"),
            "send_exemplars": true,
            "send_native_histograms": true,
            "queue_config": {"batch_send_deadline": "1s"},
            "metadata_config": {"send_interval": "1s"},
        }],
    });
    std::fs::write(dir.join("agent.yml"), config.to_string()).unwrap();
    let arguments = [
        "--enable-feature=agent,native-histograms,exemplar-storage".to_owned(),
        format!("--config.file={}", dir.join("agent.yml").display()),
        format!("--storage.agent.path={}", dir.join("agent").display()),
        format!("--web.listen-address={own}"),
    ];
    let mut program = Program::start(path, &arguments, dir.join("agent.log"));
    program.ready(&format!("http://{own}/-/ready"));
    program
}

fn look(node: &str) -> Exposed {
    exposition::parse(&request("GET", &format!("http://{node}/metrics"), &[], Vec::new()).body)
}

/// All samples as they are stored.
fn stored(icecore: &Server, selector: &str) -> Answer {
    answers::instant(&icecore.url, &format!("{selector}[30m]"), now_ms() + 1_000)
}

/// The only series of these labels.
fn only(icecore: &Server, selector: &str) -> Points {
    let mut answer = stored(icecore, selector);
    assert_eq!(answer.len(), 1, "{selector}: {:?}", answer.keys());
    answer.pop_first().unwrap().1
}

fn metadata(icecore: &Server, metric: &str) -> Value {
    let metadata = answers::data(&icecore.url, &format!("/api/v1/metadata?metric={metric}"));
    metadata.get(metric).cloned().unwrap_or(json!([]))
}

fn is_gone(icecore: &Server, job: &str) -> bool {
    let expr = format!("up{{job=\"{job}\"}} == 0 unless on (job) exporter_scrapes_total");
    !answers::instant(&icecore.url, &expr, now_ms()).is_empty()
}

/// The number of the scrape at each time, from what the page says itself.
fn scrapes_by_time(icecore: &Server, exporter: &Exporter, page: usize) -> BTreeMap<i64, u64> {
    let job = PAGES[page];
    let numbers = only(icecore, &format!("exporter_scrapes_total{{job=\"{job}\"}}"));
    let found: Vec<u64> = numbers.floats.iter().map(|(_, number)| *number as u64).collect();
    assert!(found.is_sorted_by(|a, b| a < b), "{job}: {found:?}");
    // A scrape that took the agent longer than its second is lost to the agent too, and `up` says so.
    let up = only(icecore, &format!("up{{job=\"{job}\"}}"));
    let last_success = up.floats.iter().rposition(|(_, up)| *up == 1.0).unwrap();
    let failures = up.floats[..=last_success].iter().filter(|(_, up)| *up == 0.0).count();
    let last = exporter.scrapes(page);
    let lost = last as usize - found.len();
    assert!(lost <= failures, "{job}: {lost} of {last} scrapes lost, {failures} known as failed: {found:?}");
    numbers.floats.iter().map(|(time_ms, number)| (*time_ms, *number as u64)).collect()
}

fn text_page_is_stored(icecore: &Server, exporter: &Exporter) {
    let numbers = scrapes_by_time(icecore, exporter, TEXT);
    let found = stored(icecore, "{job=\"text\",__name__=~\"exporter_.*\"}");
    let mut expected: BTreeMap<Labels, Vec<(i64, u64)>> = BTreeMap::new();
    for (time_ms, number) in &numbers {
        for (series, value) in text_samples(*number) {
            let labels = exposition::parse(&format!("{series} 0")).samples.remove(0).0;
            // The sender's protobuf leaves out what equals zero, and −0 does.
            let value = if value == 0.0 { 0.0 } else { value };
            expected.entry(labels).or_default().push((*time_ms, value.to_bits()));
        }
    }
    let found: BTreeMap<Labels, Vec<(i64, u64)>> =
        found.into_iter().map(|(labels, points)| (without_target(labels), bits(&points))).collect();
    for (labels, points) in &expected {
        assert_eq!(found.get(labels), Some(points), "{labels:?}");
    }
    assert_eq!(found.len(), expected.len());

    // What a scrape no longer exposes ends at that scrape, and not five minutes later.
    for (time_ms, number) in &numbers {
        let answer = answers::instant(&icecore.url, "exporter_sometimes", *time_ms);
        assert_eq!(!answer.is_empty(), is_exposed_sometimes(*number), "scrape {number}");
    }
}

fn bits(points: &Points) -> Vec<(i64, u64)> {
    // JSON has one NaN only.
    let plain = |value: f64| if value.is_nan() { f64::NAN } else { value };
    points.floats.iter().map(|(time_ms, value)| (*time_ms, plain(*value).to_bits())).collect()
}

fn without_target(mut labels: Labels) -> Labels {
    labels.remove("job");
    labels.remove("instance");
    labels
}

fn timed_page_is_stored(icecore: &Server, exporter: &Exporter) {
    let found = only(icecore, "exporter_half{job=\"timed\"}").floats;
    let numbers: BTreeSet<u64> = scrapes_by_time(icecore, exporter, TIMED).into_values().collect();
    let expected: Vec<(i64, f64)> =
        numbers.iter().map(|number| (exporter.exposed_at_ms(*number), *number as f64 / 2.0)).collect();
    assert_eq!(found, expected);
}

fn protobuf_page_is_stored(icecore: &Server, exporter: &Exporter) {
    let numbers = scrapes_by_time(icecore, exporter, PROTOBUF);
    histogram_is_stored(icecore, &numbers, "exporter_latency", integer_histogram_shown);
    histogram_is_stored(icecore, &numbers, "exporter_share", float_histogram_shown);
    let query = encode("exporter_scrapes_total{job=\"protobuf\"}");
    let window = format!("start={}&end={}", now_ms() / 1_000 - 1_800, now_ms() / 1_000 + 60);
    let exemplars = answers::data(&icecore.url, &format!("/api/v1/query_exemplars?query={query}&{window}"));
    let expected: Vec<Value> = numbers
        .values()
        .map(|number| {
            json!({
                "labels": {"trace_id": format!("{number:032x}")},
                "value": (*number as f64 / 8.0).to_string(),
                "timestamp": as_seconds(exporter.exposed_at_ms(*number)),
            })
        })
        .collect();
    assert_eq!(exemplars[0]["exemplars"], json!(expected));
}

/// As Prometheus writes times: whole seconds without decimals, which are another number to JSON's readers.
fn as_seconds(ms: i64) -> Value {
    if ms % 1_000 == 0 { json!(ms / 1_000) } else { json!(ms as f64 / 1_000.0) }
}

fn histogram_is_stored(
    icecore: &Server,
    numbers: &BTreeMap<i64, u64>,
    name: &str,
    shown: impl Fn(u64) -> Value,
) {
    let points = only(icecore, &format!("{name}{{job=\"protobuf\"}}"));
    let expected: Vec<(i64, Value)> =
        numbers.iter().map(|(time_ms, number)| (*time_ms, shown(*number))).collect();
    assert_eq!(points.histograms, expected, "{name}");
}

fn metadata_is_stored(icecore: &Server) {
    for (metric, kind, help) in [
        ("exporter_odd", "gauge", "A value that is easily \\ spoilt."),
        ("exporter_latency", "histogram", "The help of exporter_latency."),
        ("node_memory_MemTotal_bytes", "gauge", "Memory information field MemTotal_bytes."),
    ] {
        assert_eq!(metadata(icecore, metric), json!([{"type": kind, "help": help, "unit": ""}]), "{metric}");
    }
}

/// The agent counts what each scrape brought: as many samples bear the time of that scrape.
fn every_sample_that_was_counted_is_stored(icecore: &Server, job: &str) {
    let mut at: BTreeMap<i64, usize> = BTreeMap::new();
    for points in stored(icecore, &format!("{{job=\"{job}\"}}")).values() {
        let times =
            points.floats.iter().map(|point| point.0).chain(points.histograms.iter().map(|point| point.0));
        times.for_each(|time_ms| *at.entry(time_ms).or_default() += 1);
    }
    let counted = only(icecore, &format!("scrape_samples_scraped{{job=\"{job}\"}}"));
    let expected: BTreeMap<i64, usize> = counted
        .floats
        .iter()
        .map(|(time_ms, count)| (*time_ms, *count as usize + SAMPLES_OF_A_SCRAPE))
        .collect();
    assert_eq!(at, expected, "{job}");
    assert!(expected.len() >= 10 && expected.values().any(|count| *count > SAMPLES_OF_A_SCRAPE), "{job}");
}

/// What stood in two looks at node_exporter is stored; a counter that stood still meanwhile has that value throughout.
fn node_exporter_is_stored(found: &Answer, node: &str, before: &Exposed, after: &Exposed) {
    let after_values: BTreeMap<&Labels, f64> =
        after.samples.iter().map(|(labels, value)| (labels, *value)).collect();
    let mut still = 0;
    for (labels, value) in &before.samples {
        let Some(value_after) = after_values.get(labels) else { continue };
        let mut with_target = as_in_protobuf(labels);
        with_target.extend([("job", "node"), ("instance", node)].map(|(n, v)| (n.to_owned(), v.to_owned())));
        let points =
            &found.get(&with_target).unwrap_or_else(|| panic!("{with_target:?} is not there")).floats;
        let is_counter = before.types.get(&labels["__name__"]).is_some_and(|kind| kind == "counter");
        if is_counter && value == value_after {
            still += 1;
            // The agent went on for a moment after the second look.
            let (_, last) = points.last().unwrap();
            assert!(
                points.iter().all(|point| point.1 == *value || point.1 == *last),
                "{labels:?}: {points:?}"
            );
        }
    }
    assert!(still > 10, "only {still} counters stood still");
}

/// The agent asks for protobuf first, and writes the numbers in its labels as OpenMetrics does: 1 as 1.0. A label
/// without a value is none.
fn as_in_protobuf(labels: &Labels) -> Labels {
    let mut labels = labels.clone();
    labels.retain(|_, value| !value.is_empty());
    for name in ["le", "quantile"] {
        if let Some(value) = labels.get_mut(name).filter(|value| value.parse::<i64>().is_ok()) {
            value.push_str(".0");
        }
    }
    labels
}
