//! `stats` of a query, as the API and the query log show them.

use super::form::{Form, quoted};
use crate::model::Timestamp;
use crate::query::lexical::duration::format_duration;
use crate::query::{QueryStats, Samples};

/// What the parameter `stats` asks for.
pub struct StatsWish {
    pub any: bool,
    pub per_step: bool,
    /// Why the parameter should be written another way.
    pub warning: Option<String>,
}

impl StatsWish {
    pub fn none() -> StatsWish {
        StatsWish { any: false, per_step: false, warning: None }
    }

    pub fn of(form: &Form) -> StatsWish {
        let text = form.get("stats");
        let warning = || {
            format!(
                "value {} for parameter \"stats\" is deprecated and will be rejected in the next major release, \
                 use \"true\" or \"all\"",
                quoted(text)
            )
        };
        let is_known = matches!(text, "" | "true" | "all");
        StatsWish { any: !text.is_empty(), per_step: text == "all", warning: (!is_known).then(warning) }
    }
}

/// `{timings, samples}`. Time in the queue is part of the whole, not of the evaluation. Of steps there are as many as
/// points of one series: it is short.
pub fn stats_text(stats: &QueryStats) -> String {
    let timings = &stats.timings;
    let evaluation = timings.preparation + timings.evaluation + timings.sort;
    let times = [
        ("evalTotalTime", evaluation),
        ("resultSortTime", timings.sort),
        ("queryPreparationTime", timings.preparation),
        ("innerEvalTime", timings.evaluation),
        ("execQueueTime", timings.queue),
        ("execTotalTime", timings.queue + evaluation),
    ];
    let times = times.map(|(name, took)| format!("\"{name}\":{}", took.as_secs_f64())).join(",");
    let queryable = of_steps("totalQueryableSamplesPerStep", &stats.steps, |samples| samples.queryable);
    let read = of_steps("samplesReadPerStep", &stats.steps, |samples| samples.read);
    format!(
        "{{\"timings\":{{{times}}},\"samples\":{{{queryable}\"totalQueryableSamples\":{},{read}\"samplesRead\":{},\
         \"peakSamples\":{}}}{}}}",
        stats.samples.queryable,
        stats.samples.read,
        stats.samples_peak,
        of_tiers(&stats.tiers)
    )
}

/// What was read of each tier, where it was more than samples as sent: Prometheus knows nothing else.
fn of_tiers(tiers: &[(i64, u64)]) -> String {
    if tiers.iter().all(|(resolution_ms, _)| *resolution_ms == 0) {
        return String::new();
    }
    let tier = |(resolution_ms, count): &(i64, u64)| match resolution_ms {
        0 => format!("{{\"resolution\":\"raw\",\"samples\":{count}}}"),
        _ => format!("{{\"resolution\":\"{}\",\"states\":{count}}}", format_duration(*resolution_ms)),
    };
    format!(",\"tiers\":[{}]", tiers.iter().map(tier).collect::<Vec<_>>().join(","))
}

/// A member and a comma; nothing where steps were not told apart.
fn of_steps(name: &str, steps: &[(Timestamp, Samples)], count: impl Fn(&Samples) -> u64) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let step =
        |(time, samples): &(Timestamp, Samples)| format!("[{},{}]", *time as f64 / 1_000.0, count(samples));
    format!("\"{name}\":[{}],", steps.iter().map(step).collect::<Vec<_>>().join(","))
}
