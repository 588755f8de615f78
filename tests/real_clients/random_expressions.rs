//! Random PromQL over metrics that are there, of the syntax and functions of Prometheus 2.42.
//!
//! The same seed gives the same expressions. Two engines that sum in another order differ in the last bits, so the
//! generator knows which values are exact, bit for bit, and puts only those where a last bit decides: into `==`,
//! `floor`, `%`, `sin`, `topk`. All lengths of time keep windows off the samples (see `differential.rs`).

use std::collections::BTreeSet;

use super::random_selectors::{Dice, Metric};

/// An instant vector or a scalar as text.
pub struct Piece {
    pub text: String,
    pub is_exact: bool,
    /// Label names that its series may have.
    pub labels: Vec<String>,
    /// Needs no parentheses as an operand.
    pub is_closed: bool,
}

pub struct Generator<'a> {
    pub dice: Dice,
    pub metrics: &'a [Metric],
    /// What `@` may name, in seconds.
    pub moments: Vec<String>,
}

pub const NUMBERS: [&str; 14] =
    ["0", "1", "2", "-1", "0.5", "3.7", "10", "60", "1e3", "1e9", "-0.25", "0x1f", "NaN", "Inf"];
/// No value of a metric is close to any of these without being equal to it.
const THRESHOLDS: [&str; 5] = ["0", "0.0137", "3.7", "1234.567", "-0.1"];

impl Generator<'_> {
    /// An instant vector, or now and then a scalar.
    pub fn expression(&mut self) -> String {
        let depth = 1 + self.dice.below(4);
        if self.dice.chance(4) { self.scalar(depth).text } else { self.vector(depth).text }
    }

    pub fn vector(&mut self, depth: usize) -> Piece {
        if depth == 0 {
            return self.selector();
        }
        match self.dice.below(100) {
            0..8 => self.selector(),
            8..30 => self.over_range(depth),
            30..48 => self.aggregation(depth),
            48..72 => self.binary(depth),
            72..84 => self.elementwise(depth),
            84..89 => self.relabelled(depth),
            89..92 => self.of_time(depth),
            92..95 => self.of_scalar_or_nothing(depth),
            95..97 => self.quantile_of_buckets(),
            97..99 => {
                let inner = self.vector(depth - 1);
                let function = self.dice.pick(&["sort", "sort_desc", "+", "-"]);
                // A sign binds less than the brackets of a subquery do.
                let is_closed = function.starts_with("sort");
                Piece { text: format!("{function}({})", inner.text), is_closed, ..inner }
            }
            _ => {
                let inner = self.vector(depth - 1);
                Piece { text: format!("({})", inner.text), is_closed: true, ..inner }
            }
        }
    }

    pub fn exact_vector(&mut self, depth: usize) -> Piece {
        for _ in 0..8 {
            let piece = self.vector(depth);
            if piece.is_exact {
                return piece;
            }
        }
        self.selector()
    }

    /// A few of the labels, or one that is not there.
    pub fn some_labels(&mut self, labels: &[String]) -> Vec<String> {
        let mut chosen = BTreeSet::new();
        for _ in 0..self.dice.below(3) {
            if !labels.is_empty() {
                chosen.insert(labels[self.dice.below(labels.len())].clone());
            }
        }
        if self.dice.chance(5) {
            chosen.insert("nothing".to_owned());
        }
        chosen.into_iter().collect()
    }

    pub fn aggregation(&mut self, depth: usize) -> Piece {
        const EXACT: [&str; 4] = ["min", "max", "count", "group"];
        const ROUNDED: [&str; 5] = ["sum", "sum", "avg", "stddev", "stdvar"];
        let kind = self.dice.below(10);
        let inner = match kind {
            0 | 1 => self.exact_vector(depth - 1),
            _ => self.vector(depth - 1),
        };
        let grouping = self.some_labels(&inner.labels);
        let list = grouping.join(", ");
        let (clause, labels) = match self.dice.below(10) {
            0..3 => (String::new(), Vec::new()),
            3..8 => (format!("by ({list}) "), grouping),
            _ => {
                let left = inner.labels.iter().filter(|label| !grouping.contains(label)).cloned();
                (format!("without ({list}) "), left.collect())
            }
        };
        let all = inner.labels.clone();
        let (head, is_exact, labels) = match kind {
            0 => {
                let op = self.dice.pick(&["topk", "bottomk"]);
                (format!("{op} {clause}({}, ", self.dice.pick(&["1", "2", "5", "0", "-1", "2.9"])), true, all)
            }
            1 => (format!("count_values {clause}(\"value\", "), true, labels),
            2 => {
                let quantile = self.dice.pick(&["0", "0.25", "0.5", "0.99", "1", "-0.5", "1.5"]);
                (format!("quantile {clause}({quantile}, "), false, labels)
            }
            3..6 => (format!("{} {clause}(", self.dice.pick(&EXACT)), inner.is_exact, labels),
            _ => (format!("{} {clause}(", self.dice.pick(&ROUNDED)), false, labels),
        };
        Piece { text: format!("{head}{})", inner.text), is_exact, labels, is_closed: true }
    }

    pub fn binary(&mut self, depth: usize) -> Piece {
        let left = self.vector(depth - 1);
        if self.dice.chance(35) {
            return self.with_scalar(left, depth);
        }
        let right = match self.dice.below(10) {
            // Of the same labels, so that they meet.
            0..3 => Piece { text: left.text.clone(), labels: left.labels.clone(), ..left },
            3..6 => {
                let op = self.dice.pick(&["min", "max", "count"]);
                let grouping = self.some_labels(&left.labels);
                let text = format!("{op} by ({}) ({})", grouping.join(", "), left.text);
                Piece { text, is_exact: left.is_exact, labels: grouping, is_closed: true }
            }
            _ => self.vector(depth - 1),
        };
        let common: Vec<String> =
            left.labels.iter().filter(|label| right.labels.contains(label)).cloned().collect();
        let is_exact = left.is_exact && right.is_exact;
        if self.dice.chance(25) {
            let op = self.dice.pick(&["and", "or", "unless"]);
            let matching = self.matching(&common, false);
            return self.joined(left, op, &matching, right, is_exact);
        }
        let has_group = self.dice.chance(35);
        let matching = self.matching(&common, has_group);
        let op = match self.dice.below(10) {
            0..7 => self.dice.pick(&["+", "-", "*", "/"]),
            _ if !is_exact => "*",
            7 => self.dice.pick(&["%", "^", "atan2"]),
            _ => self.dice.pick(&["==", "!=", "<", ">=", "== bool", "> bool", "<= bool"]),
        };
        let is_exact = is_exact && op != "^" && op != "atan2";
        self.joined(left, op, &matching, right, is_exact)
    }

    pub fn joined(&mut self, left: Piece, op: &str, matching: &str, right: Piece, is_exact: bool) -> Piece {
        // Without parentheses the engines must agree on what binds tighter; only exact values may change places.
        let is_open = is_exact && self.dice.chance(30);
        let (lhs, rhs) = match is_open {
            true => (left.text.clone(), right.text.clone()),
            false => (closed(&left), closed(&right)),
        };
        let mut labels = left.labels;
        labels.extend(right.labels);
        labels.sort();
        labels.dedup();
        let text = format!("{lhs} {op}{matching} {rhs}");
        // Binding tighter than it looks, an operator may have got operands of which the results are not exact.
        Piece { text, is_exact: is_exact && !is_open, labels, is_closed: false }
    }

    pub fn matching(&mut self, common: &[String], has_group: bool) -> String {
        let mut text = match self.dice.below(10) {
            0..5 if !common.is_empty() => {
                let mut labels = self.some_labels(common);
                labels.extend(common.iter().filter(|_| self.dice.chance(50)).cloned());
                labels.sort();
                labels.dedup();
                format!(" on ({})", labels.join(", "))
            }
            5..7 => format!(" ignoring ({})", self.some_labels(common).join(", ")),
            _ if has_group => " ignoring ()".to_owned(),
            _ => String::new(),
        };
        if has_group {
            let side = self.dice.pick(&["group_left", "group_left", "group_right"]);
            let is_on = text.starts_with(" on");
            // What is matched on cannot be copied.
            let include = if is_on { Vec::new() } else { self.some_labels(common) };
            text.push_str(&format!(" {side} ({})", include.join(", ")));
        }
        text
    }

    pub fn with_scalar(&mut self, left: Piece, depth: usize) -> Piece {
        let is_comparison = self.dice.chance(40);
        let (op, scalar) = match (is_comparison, left.is_exact) {
            (true, false) => {
                let op = self.dice.pick(&["<", ">", "> bool", "<= bool"]);
                (op, Piece::scalar(self.dice.pick(&THRESHOLDS), true))
            }
            (true, true) => {
                let op = self.dice.pick(&["==", "!=", "<", ">", "<=", ">=", "!= bool", ">= bool"]);
                (op, self.exact_scalar())
            }
            (false, true) => {
                let op = self.dice.pick(&["+", "-", "*", "/", "%", "^", "atan2"]);
                (op, if op == "%" { self.exact_scalar() } else { self.scalar(depth - 1) })
            }
            (false, false) => {
                let op = self.dice.pick(&["+", "*", "/"]);
                (op, self.scalar(depth - 1))
            }
        };
        let is_exact = left.is_exact && scalar.is_exact && op != "^" && op != "atan2" || is_comparison;
        let (lhs, rhs) = (closed(&left), closed(&scalar));
        let is_swapped = self.dice.chance(25) && op != "%";
        let text = if is_swapped { format!("{rhs} {op} {lhs}") } else { format!("{lhs} {op} {rhs}") };
        // A comparison that filters gives the vector's values.
        let is_exact = is_exact && (!is_comparison || left.is_exact || op.ends_with("bool"));
        Piece { text, is_exact, labels: left.labels, is_closed: false }
    }

    pub fn exact_scalar(&mut self) -> Piece {
        match self.dice.below(6) {
            0 => Piece::scalar("time()", true),
            1 => {
                let inner = self.selector();
                Piece::scalar(&format!("scalar({})", inner.text), true)
            }
            _ => Piece::scalar(self.dice.pick(&NUMBERS), true),
        }
    }

    pub fn scalar(&mut self, depth: usize) -> Piece {
        match self.dice.below(10) {
            0 if depth > 0 => {
                let inner = self.vector(depth - 1);
                Piece::scalar(&format!("scalar({})", inner.text), inner.is_exact)
            }
            1 if depth > 0 => {
                let (left, right) = (self.exact_scalar(), self.exact_scalar());
                let op = self.dice.pick(&["+", "-", "*", "/", "%", "^", "> bool", "== bool", "atan2"]);
                let is_exact = op != "^" && op != "atan2";
                let text = format!("({} {op} {})", closed(&left), closed(&right));
                Piece::scalar(&text, is_exact)
            }
            2 => Piece::scalar("pi()", true),
            _ => self.exact_scalar(),
        }
    }
}

impl Piece {
    pub fn scalar(text: &str, is_exact: bool) -> Piece {
        let is_closed = !text.starts_with('-');
        Piece { text: text.to_owned(), is_exact, labels: Vec::new(), is_closed }
    }
}

/// As an operand.
pub fn closed(piece: &Piece) -> String {
    if piece.is_closed { piece.text.clone() } else { format!("({})", piece.text) }
}
