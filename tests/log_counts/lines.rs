//! A log workload from a seed: two families of JSON lines, one of logfmt, one of access logs, two of free text. Each
//! line comes with the fields that were put into it, so that no parser is needed to know them.

use std::collections::BTreeMap;

/// splitmix64: the same lines in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len() as u64) as usize]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Logfmt,
    Access,
    Text,
}

/// One entry and what is in it.
#[derive(Debug)]
pub struct Entry {
    pub nanos: i64,
    pub labels: BTreeMap<&'static str, String>,
    pub line: String,
    pub format: Format,
    /// What a parser of its format finds.
    pub fields: Vec<(&'static str, String)>,
}

const FAMILIES: [&str; 6] = ["nginx", "shop", "api", "edge", "sshd", "worker"];

/// So many entries over an hour up to and with `end`, in order of time.
pub fn generate(seed: u64, count: usize, end: i64) -> Vec<Entry> {
    const HOUR: i64 = 3_600_000_000_000;
    let mut random = Random::new(seed);
    let of_entry = |i: usize| end - HOUR + (i as i64 + 1) * (HOUR / count as i64);
    (0..count).map(|i| entry(&mut random, of_entry(i))).collect()
}

fn entry(random: &mut Random, nanos: i64) -> Entry {
    let app = FAMILIES[random.below(6) as usize];
    let pod = random.below(3);
    let mut labels = BTreeMap::from([
        ("app", app.to_owned()),
        ("pod", format!("{app}-{pod}")),
        ("service_name", app.to_owned()),
    ]);
    // Some streams have no environment, which a matcher takes for an empty one.
    if pod > 0 {
        labels.insert("env", ["", "prod", "staging"][pod as usize].to_owned());
    }
    let (format, line, fields) = match app {
        "nginx" => nginx(random),
        "shop" => shop(random),
        "api" => api(random),
        "edge" => edge(random),
        "sshd" => (Format::Text, sshd(random), Vec::new()),
        _ => (Format::Text, worker(random), Vec::new()),
    };
    Entry { nanos, labels, line, format, fields }
}

type Made = (Format, String, Vec<(&'static str, String)>);

fn ip(random: &mut Random) -> String {
    format!("10.{}.{}.{}", random.below(4), random.below(256), 1 + random.below(254))
}

fn hex(random: &mut Random) -> String {
    format!("{:016x}{:016x}", random.next(), random.next())
}

fn path(random: &mut Random) -> &'static str {
    random.pick(&["/", "/api/v1/users", "/api/v1/orders", "/login", "/static/app.js", "/healthz", "/search"])
}

fn method(random: &mut Random) -> &'static str {
    random.pick(&["GET", "GET", "GET", "POST", "PUT"])
}

fn status(random: &mut Random) -> &'static str {
    random.pick(&["200", "200", "200", "204", "301", "304", "400", "404", "500", "502", "503"])
}

fn level(random: &mut Random) -> &'static str {
    random.pick(&["debug", "info", "info", "info", "warn", "error"])
}

fn nginx(random: &mut Random) -> Made {
    let fields = vec![
        ("remote_addr", ip(random)),
        ("method", method(random).to_owned()),
        ("uri", format!("{}?id={}", path(random), random.below(1_000_000))),
        ("status", status(random).to_owned()),
        ("bytes", random.below(60_000).to_string()),
        ("request_time", format!("0.{:03}", 1 + random.below(999))),
        ("ua", random.pick(&["curl/8.5.0", "kube-probe/1.29", "Mozilla/5.0 (X11; Linux x86_64)"]).to_owned()),
        ("request_id", hex(random)),
    ];
    let text = |name: &str| &fields.iter().find(|(n, _)| *n == name).unwrap().1;
    let line = format!(
        r#"{{"remote_addr":"{}","method":"{}","uri":"{}","status":{},"bytes":{},"request_time":{},"ua":"{}","request_id":"{}"}}"#,
        text("remote_addr"),
        text("method"),
        text("uri"),
        text("status"),
        text("bytes"),
        text("request_time"),
        text("ua"),
        text("request_id"),
    );
    (Format::Json, line, fields)
}

/// Nested objects, an array, escapes, a key that is no name.
fn shop(random: &mut Random) -> Made {
    let level = level(random);
    let msg = random.pick(&[
        "request handled",
        "cache miss",
        "slow query",
        "upstream timed out",
        "say \"hi\" to Zoë",
        "a\\b\tc",
    ]);
    let (trace, user, took) = (hex(random), random.below(2_000), random.below(900_000));
    let took = format!("{}.{:03}", took / 1_000, took % 1_000);
    let needle = if random.below(500) == 0 { " needle-7f3a9c" } else { "" };
    let msg = format!("{msg}{needle}");
    let line = format!(
        r#"{{"level":"{level}","msg":{},"trace_id":"{trace}","user":{{"id":{user},"vip":{}}},"took_ms":{took},"tags":["a","b"],"k8s.node":"n{}"}}"#,
        serde_json::Value::from(msg.as_str()),
        user % 7 == 0,
        user % 3,
    );
    let fields = vec![
        ("level", level.to_owned()),
        ("msg", msg),
        ("trace_id", trace),
        ("user_id", user.to_string()),
        ("user_vip", (user % 7 == 0).to_string()),
        ("took_ms", took),
        ("k8s_node", format!("n{}", user % 3)),
    ];
    (Format::Json, line, fields)
}

fn api(random: &mut Random) -> Made {
    let fields = vec![
        ("level", level(random).to_owned()),
        ("msg", random.pick(&["done", "request done", "retrying upstream call", "k=v inside"]).to_owned()),
        ("method", method(random).to_owned()),
        ("path", path(random).to_owned()),
        ("status", status(random).to_owned()),
        ("took", format!("{}.{}ms", random.below(2_000), random.below(10))),
        ("size", format!("{}KB", random.below(100))),
    ];
    let quoted = |text: &str| if text.contains([' ', '=']) { format!("\"{text}\"") } else { text.to_owned() };
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    (Format::Logfmt, pairs.join(" "), fields)
}

fn edge(random: &mut Random) -> Made {
    let fields = vec![
        ("client", ip(random)),
        ("method", method(random).to_owned()),
        ("path", path(random).to_owned()),
        ("status", status(random).to_owned()),
        ("bytes", random.below(60_000).to_string()),
    ];
    let line = format!(
        r#"{} - - [22/Nov/2026:03:{:02}:{:02} +0000] "{} {} HTTP/1.1" {} {}"#,
        fields[0].1,
        random.below(60),
        random.below(60),
        fields[1].1,
        fields[2].1,
        fields[3].1,
        fields[4].1,
    );
    (Format::Access, line, fields)
}

fn sshd(random: &mut Random) -> String {
    let (pid, port, address) = (random.below(65_536), random.below(65_536), ip(random));
    let user = random.pick(&["root", "admin", "oracle", "test"]);
    match random.below(4) {
        0 => format!("sshd[{pid}]: Accepted publickey for {user} from {address} port {port} ssh2"),
        1 => format!("sshd[{pid}]: Connection closed by {address} port {port} [preauth]"),
        _ => format!("sshd[{pid}]: Failed password for invalid user {user} from {address} port {port} ssh2"),
    }
}

/// Lines of several lines, of other alphabets, of control characters, and none at all.
fn worker(random: &mut Random) -> String {
    let number = random.below(10_000);
    match random.below(6) {
        0 => format!(
            "ERROR job {number} failed\n\tat Worker.run(Worker.java:{})\n\tat Main.main",
            number % 400
        ),
        1 => format!("Übergabe №{number} abgeschlossen ✓"),
        2 => format!("\u{1b}[31mWARN\u{1b}[0m queue depth {number}"),
        3 => format!("{{\"broken\": {number}, "),
        4 if number.is_multiple_of(4) => String::new(),
        _ => format!("Error while reading block blk_-{number}7719 from /data/{}", number % 13),
    }
}
