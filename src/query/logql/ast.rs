//! The syntax tree of LogQL as Loki 3.7 writes it: every node knows where in the text it stood.
//!
//! A tree that the parser gave out is checked and ready to run: expressions, templates, patterns and address ranges
//! are compiled, names are sanitised as those of stored labels are, an aggregation has the unwrap, the parameter
//! and the grouping it wants. What `Display` prints of it parses back to an equal tree; equality ignores positions.

use std::sync::Arc;

use crate::model::bounded_regex::BoundedRegex;
use crate::model::{LineFilter, LinePattern, Lookout, Matcher, Nanos};
pub use crate::query::lexical::PositionRange;
pub use crate::query::promql::ast::{AggregateOp, BinaryOp, Cardinality, VectorMatching};

use super::ip::IpRange;
use super::json_path::JsonPath;
pub(super) use super::operators::binding;
pub use super::operators::{CompareOp, Conversion, LineFilterOp, RangeOp};
use super::pattern::{Pattern, WildcardText};
use super::template::Template;

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Log(LogExpr),
    Metric(MetricExpr),
}

/// `{selector} | stage | stage`.
#[derive(Clone, Debug)]
pub struct LogExpr {
    pub position: PositionRange,
    /// At least one of them does not match the empty value.
    pub matchers: Vec<Matcher>,
    pub stages: Vec<Stage>,
}

/// One step of a pipeline.
#[derive(Clone, Debug)]
pub struct Stage {
    pub position: PositionRange,
    pub kind: StageKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StageKind {
    LineFilter(LineFilterStage),
    Json(Vec<JsonExtraction>),
    Logfmt(Logfmt),
    Regexp(Regexp),
    Pattern(Pattern),
    Unpack,
    LabelFilter(LabelFilter),
    LineFormat(Template),
    LabelFormat(Vec<LabelFormat>),
    Decolorize,
    Drop(Vec<LabelChoice>),
    Keep(Vec<LabelChoice>),
}

/// `|= "a" or "b"`: holds if any alternative does, or where `op` is negated, if none does.
#[derive(Clone, Debug, PartialEq)]
pub struct LineFilterStage {
    pub op: LineFilterOp,
    /// At least one.
    pub alternatives: Vec<LineTest>,
}

/// One alternative of a line filter.
#[derive(Clone, Debug)]
pub struct LineTest {
    /// As it was written.
    pub text: String,
    pub kind: LineTestKind,
}

#[derive(Clone, Debug)]
pub enum LineTestKind {
    /// What storage can look for. `|~ "a|b"` is two texts, so several stand for any of them.
    Text(Vec<LinePattern>),
    /// `"<_> of <_>"` behind `|>` and `!>`; a whole line.
    Wildcard(WildcardText),
    /// `ip("10.0.0.0/8")` behind `|=` and `!=`.
    Ip(IpRange),
}

/// `label="a.b[0]"` behind `json`; a bare `label` means the key of that name. None of them: every key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonExtraction {
    pub label: String,
    pub path: JsonPath,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logfmt {
    /// `--strict`: the first bad pair ends the line with an error instead of being skipped.
    pub is_strict: bool,
    /// `--keep-empty`: keys without a value become labels with an empty one.
    pub keeps_empty: bool,
    /// Empty: every key.
    pub extractions: Vec<LogfmtExtraction>,
}

/// `label="key"`; a bare `label` means the key of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogfmtExtraction {
    pub label: String,
    pub key: String,
}

/// `regexp "(?P<name>…)"`.
#[derive(Clone, Debug)]
pub struct Regexp {
    /// As it was written.
    pub pattern: String,
    pub regex: Arc<BoundedRegex>,
    /// The number of each named group and the label it fills; at least one, names differ.
    pub groups: Vec<(usize, String)>,
}

/// A condition on the labels of a line. A label that is not there has the value `""`.
#[derive(Clone, Debug)]
pub struct LabelFilter {
    pub position: PositionRange,
    pub kind: LabelFilterKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LabelFilterKind {
    /// Left to right while they hold; at least two, none of them `All`.
    All(Vec<LabelFilter>),
    /// Left to right until one holds; at least two, none of them `Any`.
    Any(Vec<LabelFilter>),
    Matcher(Matcher),
    Compare(LabelComparison),
    Ip(IpFilter),
}

/// `latency > 250ms`. A label that is there and is no such value keeps its line, with `__error__` set
/// to `LabelFilterErr`.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelComparison {
    pub name: String,
    pub op: CompareOp,
    pub value: CompareValue,
}

/// What a label is compared with, and so how it is read.
#[derive(Clone, Copy, Debug)]
pub enum CompareValue {
    Number(f64),
    /// Nanoseconds.
    Duration(Nanos),
    Bytes(u64),
}

/// `addr = ip("10.0.0.0/8")`.
#[derive(Clone, Debug, PartialEq)]
pub struct IpFilter {
    pub name: String,
    pub is_negated: bool,
    pub range: IpRange,
}

/// `name=value` behind `label_format`.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelFormat {
    pub name: String,
    pub value: LabelFormatValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LabelFormatValue {
    /// The label of this name, which goes.
    Rename(String),
    Template(Template),
}

/// What `drop` and `keep` choose: a label, or a label with certain values.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelChoice {
    Name(String),
    Matcher(Matcher),
}

/// What a range aggregation runs over: `{selector} | stages | unwrap x [range] offset o`, in any order the grammar
/// has.
#[derive(Clone, Debug)]
pub struct LogRange {
    pub position: PositionRange,
    pub matchers: Vec<Matcher>,
    pub stages: Vec<Stage>,
    pub unwrap: Option<Unwrap>,
    /// Nanoseconds, more than 0. The window of a time T is `(T − range, T]`.
    pub range: Nanos,
    /// Nanoseconds; positive looks back.
    pub offset: Nanos,
}

/// `unwrap duration(latency)`: the sample's value is that of a label, which goes.
#[derive(Clone, Debug)]
pub struct Unwrap {
    pub position: PositionRange,
    pub label: String,
    pub conversion: Option<Conversion>,
    /// Behind the unwrap, where its own `__error__` can be seen.
    pub filters: Vec<LabelFilter>,
}

#[derive(Clone, Debug)]
pub struct MetricExpr {
    pub position: PositionRange,
    pub kind: MetricKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum MetricKind {
    Range(RangeAggregation),
    Aggregate(Aggregate),
    Sort(Sort),
    Binary(Binary),
    LabelReplace(LabelReplace),
    /// `vector(1)`: one series without labels.
    Vector(NumberLiteral),
    /// A scalar.
    Number(NumberLiteral),
}

/// A number. NaN equals NaN: the same text is the same tree.
#[derive(Clone, Copy, Debug)]
pub struct NumberLiteral(pub f64);

#[derive(Clone, Debug, PartialEq)]
pub struct RangeAggregation {
    pub op: RangeOp,
    /// Present exactly for `quantile_over_time`.
    pub parameter: Option<NumberLiteral>,
    pub log: LogRange,
    /// `None` keeps all labels; `by ()` keeps none.
    pub grouping: Option<Grouping>,
}

/// `by (labels)` or `without (labels)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    pub is_without: bool,
    pub labels: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// One of sum, avg, count, min, max, stddev, stdvar, topk, bottomk.
    pub op: AggregateOp,
    /// Present exactly for `topk` and `bottomk`; at least 1.
    pub parameter: Option<u64>,
    pub expr: Box<MetricExpr>,
    pub grouping: Option<Grouping>,
}

/// `sort` and `sort_desc`.
#[derive(Clone, Debug, PartialEq)]
pub struct Sort {
    pub is_descending: bool,
    pub expr: Box<MetricExpr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// Without those that only PromQL has.
    pub op: BinaryOp,
    pub lhs: Box<MetricExpr>,
    pub rhs: Box<MetricExpr>,
    /// `bool`: a comparison gives 0 or 1 instead of filtering. Between two numbers it always does.
    pub return_bool: bool,
    /// Present exactly between two vectors.
    pub matching: Option<VectorMatching>,
}

/// `label_replace(expr, "dst", "replacement", "src", "regex")`; its parts are checked.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelReplace {
    pub expr: Box<MetricExpr>,
    pub destination: String,
    pub replacement: String,
    pub source: String,
    /// Anchored at both ends, as everywhere.
    pub pattern: String,
}

impl Stage {
    pub fn label_filter(&self) -> Option<&LabelFilter> {
        match &self.kind {
            StageKind::LabelFilter(filter) => Some(filter),
            _ => None,
        }
    }
}

impl LineFilterStage {
    /// The same condition as storage can apply, where it can.
    pub fn for_storage(&self) -> Option<LineFilter> {
        let mut alternatives = Vec::with_capacity(self.alternatives.len());
        for test in &self.alternatives {
            match &test.kind {
                LineTestKind::Text(patterns) => alternatives.extend_from_slice(patterns),
                LineTestKind::Wildcard(_) | LineTestKind::Ip(_) => return None,
            }
        }
        Some(LineFilter { is_negated: self.op.is_negated(), alternatives })
    }

    /// Whether the line passes; what is said once the lookout has given up means nothing.
    pub fn matches(&self, line: &str, lookout: &Lookout<'_>) -> bool {
        self.alternatives.iter().any(|test| test.is_in(line, lookout)) != self.op.is_negated()
    }
}

impl LineTest {
    pub fn is_in(&self, line: &str, lookout: &Lookout<'_>) -> bool {
        match &self.kind {
            LineTestKind::Text(patterns) => patterns.iter().any(|pattern| pattern.is_in(line, lookout)),
            LineTestKind::Wildcard(wildcard) => wildcard.matches(line),
            LineTestKind::Ip(range) => range.is_in_line(line),
        }
    }
}

impl LabelFilter {
    /// The filters directly below.
    pub fn children(&self) -> &[LabelFilter] {
        match &self.kind {
            LabelFilterKind::All(filters) | LabelFilterKind::Any(filters) => filters,
            LabelFilterKind::Matcher(_) | LabelFilterKind::Compare(_) | LabelFilterKind::Ip(_) => &[],
        }
    }
}

impl MetricExpr {
    /// Whether this is a number, alone or computed from numbers.
    pub fn is_scalar(&self) -> bool {
        match &self.kind {
            MetricKind::Number(_) => true,
            MetricKind::Binary(binary) => binary.lhs.is_scalar() && binary.rhs.is_scalar(),
            _ => false,
        }
    }

    /// The expressions directly below, in the order they were written.
    pub fn children(&self) -> Vec<&MetricExpr> {
        match &self.kind {
            MetricKind::Range(_) | MetricKind::Vector(_) | MetricKind::Number(_) => Vec::new(),
            MetricKind::Aggregate(aggregate) => vec![&*aggregate.expr],
            MetricKind::Sort(sort) => vec![&*sort.expr],
            MetricKind::Binary(binary) => vec![&*binary.lhs, &*binary.rhs],
            MetricKind::LabelReplace(replace) => vec![&*replace.expr],
        }
    }

    /// Calls `visit` on this expression and all below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a MetricExpr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }
}
