//! `icecore status`: what a running server holds, tier by tier.

use clap::Args;
use serde_json::Value;

use super::CliError;
use super::client::Client;
use super::query::error_of;

#[derive(Args)]
pub struct StatusArgs {
    /// Print the server's JSON as it came.
    #[arg(long)]
    json: bool,
    /// The server to ask.
    #[arg(long, default_value = "http://127.0.0.1:8365", env = "ICECORE_URL", hide_env = true)]
    url: String,
}

pub fn run(args: &StatusArgs) -> Result<(), CliError> {
    let client = Client { url: &args.url, error_of };
    let body = client.get("/api/v1/status/tiers")?;
    if args.json {
        super::print(&format!("{body}\n"));
        return Ok(());
    }
    let answer: Value = serde_json::from_str(&body).map_err(|_| client.misunderstood())?;
    super::print(&draw(&answer["data"]).ok_or_else(|| client.misunderstood())?);
    Ok(())
}

const HEADINGS: [&str; 10] =
    ["signal", "tier", "resolution", "kept", "from", "to", "segments", "rows", "bytes", "bytes/row"];
/// Columns from here on are numbers.
const NUMBERS: usize = 6;

/// A table of the tiers, and what is still to be done. `None` for what is no such answer.
fn draw(data: &Value) -> Option<String> {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    for tier in data["tiers"].as_array()? {
        lines.push(line(tier)?);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            NUMBERS.. => format!("{cell:>width$}"),
            _ => format!("{cell:width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text += "\n";
    }
    let unsealed = &data["unsealed"];
    text += &format!(
        "in memory: {} rows, {}\n",
        unsealed["rows"].as_u64()?,
        human_bytes(unsealed["bytes"].as_u64()?)
    );
    text += &match data["backlog"]["days"].as_u64()? {
        0 => "all days that are over are rolled up\n".to_owned(),
        days => format!("days to roll up: {days}, the oldest {}\n", day(&data["backlog"]["oldest"])),
    };
    // A server of an older version knows of none.
    for tombstone in data["tombstones"].as_array().into_iter().flatten() {
        let (from, to) = (day(&tombstone["start"]), day(&tombstone["end"]));
        text +=
            &format!("deleted and still in files: {} from {from} to {to}\n", tombstone["match"].as_str()?);
    }
    Some(text)
}

fn line(tier: &Value) -> Option<[String; 10]> {
    let text = |key: &str| tier[key].as_str().map(str::to_owned);
    let per_row = tier["bytesPerRow"].as_f64().map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.3}"));
    Some([
        text("signal")?,
        text("tier")?,
        text("resolution")?,
        text("kept")?,
        day(&tier["oldest"]),
        day(&tier["newest"]),
        tier["segments"].as_u64()?.to_string(),
        tier["rows"].as_u64()?.to_string(),
        human_bytes(tier["bytes"].as_u64()?),
        per_row,
    ])
}

/// To the minute; a dash where there is none.
fn day(time: &Value) -> String {
    time.as_str()
        .filter(|time| !time.is_empty())
        .map_or_else(|| "-".to_owned(), |time| time.get(..16).unwrap_or(time).replace('T', " "))
}

fn human_bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tiers_are_a_table_and_the_backlog_a_line() {
        let tier = |name: &str, resolution: &str, rows: u64, oldest: Value| {
            json!({
                "signal": "metrics", "tier": name, "resolution": resolution, "kept": "15d", "segments": 2,
                "rows": rows, "bytes": rows * 2048, "bytesPerRow": if rows > 0 { json!(0.33333) } else { Value::Null },
                "oldest": oldest, "newest": oldest,
            })
        };
        let tiers =
            [tier("hot", "raw", 1000, json!("2026-11-01T10:20:30.5Z")), tier("warm", "1m", 0, Value::Null)];
        let mut data = json!({
            "tiers": tiers, "unsealed": {"rows": 7, "bytes": 1023},
            "backlog": {"days": 2, "oldest": "2026-11-02T00:00:00Z"},
        });
        let expected = "\
signal   tier  resolution  kept  from              to                segments  rows    bytes  bytes/row
metrics  hot   raw         15d   2026-11-01 10:20  2026-11-01 10:20         2  1000  2.0 MiB      0.333
metrics  warm  1m          15d   -                 -                        2     0      0 B          -
in memory: 7 rows, 1023 B
days to roll up: 2, the oldest 2026-11-02 00:00
";
        assert_eq!(draw(&data).unwrap(), expected);
        data["backlog"] = json!({"days": 0, "oldest": null});
        assert!(draw(&data).unwrap().ends_with("all days that are over are rolled up\n"));
        let start = "2026-11-02T00:00:00Z";
        data["tombstones"] = json!([{"match": "{job=\"a\"}", "start": "", "end": start}]);
        let last = "deleted and still in files: {job=\"a\"} from - to 2026-11-02 00:00\n";
        assert!(draw(&data).unwrap().ends_with(last));
        assert_eq!(draw(&json!({"tiers": [{}]})), None);
    }
}
