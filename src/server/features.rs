//! Prometheus's feature flags (`--enable-feature`): which of them change something here, and what.
//!
//! As there, a name that nobody knows is told in the log and no reason not to start.

use crate::query::Options;

/// What a feature flag does here.
enum Effect {
    Switches(fn(&mut Options) -> &mut bool),
    /// What it stands for is always so.
    AlwaysOn,
    /// It changes a part of Prometheus that is not here.
    Nothing,
}

use Effect::{AlwaysOn, Nothing, Switches};

/// Every name that Prometheus 3.14 knows.
const FEATURES: &[(&str, Effect)] = &[
    ("promql-experimental-functions", Switches(|options| &mut options.experimental_functions)),
    ("promql-extended-range-selectors", Switches(|options| &mut options.extended_range_selectors)),
    ("promql-binop-fill-modifiers", Switches(|options| &mut options.fill_modifiers)),
    ("promql-delayed-name-removal", Switches(|options| &mut options.delayed_name_removal)),
    ("promql-per-step-stats", Switches(|options| &mut options.per_step_stats)),
    ("use-start-timestamps", Switches(|options| &mut options.use_start_timestamps)),
    ("promql-duration-expr", AlwaysOn),
    ("exemplar-storage", AlwaysOn),
    ("metadata-wal-records", AlwaysOn),
    ("native-histograms", AlwaysOn),
    ("ooo-native-histograms", AlwaysOn),
    ("otlp-deltatocumulative", AlwaysOn),
    ("st-storage", AlwaysOn),
    ("auto-reload-config", Nothing),
    ("concurrent-rule-eval", Nothing),
    ("created-timestamp-zero-ingestion", Nothing),
    ("delayed-compaction", Nothing),
    ("extra-scrape-metrics", Nothing),
    ("fast-startup", Nothing),
    ("histograms-st-encoding", Nothing),
    ("memory-snapshot-on-shutdown", Nothing),
    ("old-ui", Nothing),
    ("otlp-native-delta-ingestion", Nothing),
    ("search-api", Nothing),
    ("st-synthesis", Nothing),
    ("type-and-unit-labels", Nothing),
    ("use-uncached-io", Nothing),
    ("xor2-encoding", Nothing),
];

fn find(name: &str) -> Option<&'static Effect> {
    FEATURES.iter().find(|(known, _)| *known == name).map(|(_, effect)| effect)
}

/// Switches on what the names stand for.
pub fn switch(names: &[String], options: &mut Options) {
    for name in names {
        if let Some(Switches(field)) = find(name) {
            *field(options) = true;
        }
    }
}

/// Tells in the log what each name does.
pub fn report(names: &[String]) {
    for option in names {
        match find(option) {
            Some(Switches(_)) => tracing::info!(option, "feature enabled"),
            Some(AlwaysOn) => {
                tracing::warn!(option, "this option for --enable-feature is always on and therefore a no-op");
            }
            Some(Nothing) => tracing::warn!(option, "this option for --enable-feature has no effect here"),
            None => tracing::warn!(option, "Unknown option for --enable-feature"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_switches_one_thing_and_no_flag_nothing() {
        let mut switches = 0;
        for (name, effect) in FEATURES {
            let mut options = Options::default();
            switch(&[(*name).to_owned()], &mut options);
            if let Switches(field) = effect {
                switches += 1;
                assert!(std::mem::take(field(&mut options)), "{name}");
            }
            assert_eq!(format!("{options:?}"), format!("{:?}", Options::default()), "{name}");
        }
        assert_eq!(switches, 6);
    }
}
