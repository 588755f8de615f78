//! Random calls of the functions of Prometheus 2.42.

use super::random_expressions::{Generator, NUMBERS, Piece, closed};

/// Seconds; 1 more than a multiple of 5 keeps edges of windows off samples and steps.
const RANGES: [&str; 6] = ["31s", "1m1s", "2m1s", "5m1s", "10m1s", "26m1s"];
const SUBQUERY_RANGES: [&str; 4] = ["46s", "2m1s", "5m1s", "15m1s"];
const SUBQUERY_STEPS: [&str; 5] = ["15s", "20s", "1m", "2m", ""];

impl Generator<'_> {
    /// A function of a range vector.
    pub fn over_range(&mut self, depth: usize) -> Piece {
        const EXACT: [&str; 7] = [
            "last_over_time",
            "min_over_time",
            "max_over_time",
            "count_over_time",
            "present_over_time",
            "changes",
            "resets",
        ];
        const ROUNDED: [&str; 14] = [
            "rate",
            "rate",
            "rate",
            "increase",
            "increase",
            "irate",
            "delta",
            "idelta",
            "deriv",
            "avg_over_time",
            "sum_over_time",
            "stddev_over_time",
            "stdvar_over_time",
            "absent_over_time",
        ];
        let is_exact = self.dice.chance(30);
        let function = if is_exact { self.dice.pick(&EXACT) } else { self.dice.pick(&ROUNDED) };
        let wants_exact = ["changes", "resets", "rate", "increase", "irate"].contains(&function);
        let (range, range_is_exact, labels) = self.range_vector(depth, wants_exact);
        let text = match self.dice.below(12) {
            0 => format!(
                "quantile_over_time({}, {range})",
                self.dice.pick(&["0.5", "0.9", "0", "1", "-1", "2"])
            ),
            1 => format!("predict_linear({range}, {})", self.dice.pick(&["60", "3600", "-10"])),
            _ => format!("{function}({range})"),
        };
        let is_exact = is_exact && range_is_exact && text.starts_with(function);
        Piece { text, is_exact, labels, is_closed: true }
    }

    pub fn range_vector(&mut self, depth: usize, wants_exact: bool) -> (String, bool, Vec<String>) {
        if self.dice.chance(78) {
            let metric = self.metric();
            let (selector, range) = (self.bare_selector(&metric), self.dice.pick(&RANGES));
            let text = format!("{selector}[{range}]{}", self.time_modifiers());
            return (text, true, metric.labels.into_keys().collect());
        }
        let inner = if wants_exact { self.exact_vector(depth - 1) } else { self.vector((depth - 1).min(2)) };
        let (range, step) = (self.dice.pick(&SUBQUERY_RANGES), self.dice.pick(&SUBQUERY_STEPS));
        let text = format!("{}[{range}:{step}]{}", closed(&inner), self.time_modifiers());
        (text, inner.is_exact, inner.labels)
    }

    pub fn elementwise(&mut self, depth: usize) -> Piece {
        const ANY: [&str; 15] = [
            "abs",
            "sqrt",
            "exp",
            "ln",
            "log2",
            "log10",
            "deg",
            "rad",
            "asinh",
            "tanh",
            "atan",
            "clamp",
            "clamp_min",
            "clamp_max",
            "sinh",
        ];
        const OF_EXACT: [&str; 10] =
            ["ceil", "floor", "round", "sgn", "sin", "cos", "tan", "acos", "atanh", "round_to"];
        let needs_exact = self.dice.chance(40);
        let inner = if needs_exact { self.exact_vector(depth - 1) } else { self.vector(depth - 1) };
        let function = if needs_exact { self.dice.pick(&OF_EXACT) } else { self.dice.pick(&ANY) };
        let operand = &inner.text;
        let text = match function {
            "clamp" => {
                format!("clamp({operand}, {}, {})", self.dice.pick(&NUMBERS), self.dice.pick(&NUMBERS))
            }
            "clamp_min" | "clamp_max" => format!("{function}({operand}, {})", self.dice.pick(&NUMBERS)),
            "round_to" => format!("round({operand}, {})", self.dice.pick(&["0.1", "5", "7.5", "1e3", "0"])),
            _ => format!("{function}({operand})"),
        };
        let keeps =
            ["abs", "sqrt", "ceil", "floor", "round", "sgn", "round_to", "clamp", "clamp_min", "clamp_max"];
        Piece { text, is_exact: inner.is_exact && keeps.contains(&function), is_closed: true, ..inner }
    }

    pub fn relabelled(&mut self, depth: usize) -> Piece {
        let inner = self.vector(depth - 1);
        let mut names: Vec<String> = inner.labels.clone();
        names.extend(["x", "__name__", "nothing"].map(str::to_owned));
        let name = |this: &mut Self| names[this.dice.below(names.len())].clone();
        let (target, source, other) = (name(self), name(self), name(self));
        let text = if self.dice.chance(60) {
            let regex =
                self.dice.pick(&["(.*)", "(.)(.*)", "([a-z]+).*", "", "host-(.+):(?P<port>.*)", ".+"]);
            let replacement = self.dice.pick(&["$1", "a-$1", "$2$1", "", "x", "${port}", "$1x"]);
            format!(
                "label_replace({}, \"{target}\", \"{replacement}\", \"{source}\", \"{regex}\")",
                inner.text
            )
        } else {
            format!("label_join({}, \"{target}\", \"-\", \"{source}\", \"{other}\")", inner.text)
        };
        let mut labels = inner.labels;
        labels.push(target);
        Piece { text, is_exact: inner.is_exact, labels, is_closed: true }
    }

    pub fn of_time(&mut self, depth: usize) -> Piece {
        const PARTS: [&str; 8] = [
            "hour",
            "minute",
            "month",
            "year",
            "day_of_week",
            "day_of_month",
            "day_of_year",
            "days_in_month",
        ];
        let inner = if self.dice.chance(70) { self.selector() } else { self.exact_vector(depth - 1) };
        let text = match self.dice.below(4) {
            0 => format!("{}(timestamp({}))", self.dice.pick(&PARTS), inner.text),
            1 => format!("{}({})", self.dice.pick(&PARTS), inner.text),
            _ => format!("timestamp({})", inner.text),
        };
        Piece { text, is_exact: true, is_closed: true, ..inner }
    }

    pub fn of_scalar_or_nothing(&mut self, depth: usize) -> Piece {
        if self.dice.chance(50) {
            let scalar = self.scalar(depth);
            let text = format!("vector({})", scalar.text);
            return Piece { text, is_exact: scalar.is_exact, labels: Vec::new(), is_closed: true };
        }
        let inner = self.vector(depth - 1);
        Piece {
            text: format!("absent({})", inner.text),
            is_exact: true,
            labels: inner.labels,
            is_closed: true,
        }
    }

    pub fn quantile_of_buckets(&mut self) -> Piece {
        let quantile = self.dice.pick(&["0", "0.5", "0.9", "0.99", "1", "-1", "1.1"]);
        let buckets = self.metrics.iter().find(|metric| metric.labels.contains_key("le")).cloned();
        let Some(buckets) = buckets else { return self.selector() };
        let selector = self.bare_selector(&buckets);
        let range = self.dice.pick(&RANGES);
        let inner = match self.dice.below(4) {
            0 => selector,
            1 => format!("rate({selector}[{range}])"),
            2 => format!("sum by (le) (increase({selector}[{range}]))"),
            _ => format!("sum by (le, instance) (rate({selector}[{range}]))"),
        };
        let text = format!("histogram_quantile({quantile}, {inner})");
        Piece {
            text,
            is_exact: false,
            labels: vec!["instance".to_owned(), "job".to_owned()],
            is_closed: true,
        }
    }
}
