//! The syntax tree. Its depth is limited where it is made, so that whoever walks it may recurse.

use std::fmt;
use std::sync::Arc;

use super::value::Value;
use crate::model::regex::LabelRegex;

/// A whole query, without its hints: none of them changes what a search finds here.
#[derive(Clone, Debug)]
pub enum Query {
    Search(Pipeline),
    /// Read and found well-formed, but nothing that runs: the metrics function that stands at byte `at`.
    Metrics {
        function: &'static str,
        at: usize,
    },
}

/// `stage | stage | …`, at least one.
#[derive(Clone, Debug)]
pub struct Pipeline(pub Vec<Stage>);

impl Pipeline {
    /// `{ condition }`.
    pub fn filter(condition: Option<FieldExpr>) -> Pipeline {
        Pipeline(vec![Stage::Spansets(SpansetExpr::Filter(condition))])
    }
}

#[derive(Clone, Debug)]
pub enum Stage {
    Spansets(SpansetExpr),
    /// `count() > 2`.
    ScalarFilter(ScalarFilter),
    By(FieldExpr),
    Coalesce,
    Select(Vec<Field>),
    /// An aggregate without a comparison, which only `(… | count()) > (…)` may use.
    Scalar(ScalarExpr),
}

#[derive(Clone, Debug)]
pub enum SpansetExpr {
    /// `{ … }`; empty braces hold every span.
    Filter(Option<FieldExpr>),
    Pipeline(Box<Pipeline>),
    Binary {
        op: SpansetOp,
        left: Box<SpansetExpr>,
        right: Box<SpansetExpr>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpansetOp {
    And,
    Or,
    /// Spans of the right side that stand in this relation to one of the left.
    Related(Relation),
    /// Spans of the right side that stand in this relation to none of the left.
    NotRelated(Relation),
    /// As `Related`, and those of the left side with them.
    Union(Relation),
}

/// What the span on the right is to the one on the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    Child,
    Descendant,
    Parent,
    Ancestor,
    Sibling,
}

#[derive(Clone, Debug)]
pub struct ScalarFilter {
    pub left: ScalarExpr,
    pub op: BinaryOp,
    pub right: ScalarExpr,
    pub at: usize,
}

#[derive(Clone, Debug)]
pub enum ScalarExpr {
    Static(Value<'static>),
    Aggregate {
        op: AggregateOp,
        of: Option<FieldExpr>,
        at: usize,
    },
    /// `({ … } | count())`.
    Pipeline {
        at: usize,
    },
    Binary {
        op: BinaryOp,
        left: Box<ScalarExpr>,
        right: Box<ScalarExpr>,
        at: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateOp {
    Count,
    Min,
    Max,
    Avg,
    Sum,
}

/// An expression over one span.
#[derive(Clone, Debug)]
pub struct FieldExpr {
    pub kind: FieldKind,
    /// Its first byte in the text.
    pub at: usize,
    /// Of the tree below and with this node.
    pub(super) depth: usize,
}

#[derive(Clone, Debug)]
pub enum FieldKind {
    Static(Value<'static>),
    Field(Field),
    Not(Box<FieldExpr>),
    Negative(Box<FieldExpr>),
    /// Joined by `&&`.
    All(Vec<FieldExpr>),
    /// Joined by `||`.
    Any(Vec<FieldExpr>),
    Binary {
        op: BinaryOp,
        left: Box<FieldExpr>,
        right: Box<FieldExpr>,
    },
    Matches {
        text: Box<FieldExpr>,
        regex: Arc<LabelRegex>,
        is_negated: bool,
    },
    /// `= nil`, or `!= nil`.
    IsNil {
        of: Box<FieldExpr>,
        is_negated: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

/// What a span, or with `of_parent` the span above it, is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    pub of_parent: bool,
    pub name: FieldName,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldName {
    Attribute { scope: Scope, key: String },
    Intrinsic(Intrinsic),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The span's, or where it has none, the resource's.
    Any,
    Span,
    Resource,
    Event,
    Link,
    Instrumentation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intrinsic {
    Duration,
    Name,
    Status,
    StatusMessage,
    Kind,
    /// The id of the span above, or nil.
    Parent,
    SpanId,
    ChildCount,
    NestedSetLeft,
    NestedSetRight,
    NestedSetParent,
    TraceId,
    TraceDuration,
    RootName,
    RootServiceName,
    EventName,
    EventTimeSinceStart,
    LinkTraceId,
    LinkSpanId,
    InstrumentationName,
    InstrumentationVersion,
}

impl Intrinsic {
    /// By all the names they go by.
    pub const NAMES: [(&'static str, Intrinsic); 33] = [
        ("duration", Intrinsic::Duration),
        ("name", Intrinsic::Name),
        ("status", Intrinsic::Status),
        ("statusMessage", Intrinsic::StatusMessage),
        ("kind", Intrinsic::Kind),
        ("parent", Intrinsic::Parent),
        ("childCount", Intrinsic::ChildCount),
        ("nestedSetLeft", Intrinsic::NestedSetLeft),
        ("nestedSetRight", Intrinsic::NestedSetRight),
        ("nestedSetParent", Intrinsic::NestedSetParent),
        ("traceDuration", Intrinsic::TraceDuration),
        ("rootName", Intrinsic::RootName),
        ("rootServiceName", Intrinsic::RootServiceName),
        ("trace:duration", Intrinsic::TraceDuration),
        ("trace:rootName", Intrinsic::RootName),
        ("trace:rootService", Intrinsic::RootServiceName),
        ("trace:id", Intrinsic::TraceId),
        ("span:duration", Intrinsic::Duration),
        ("span:name", Intrinsic::Name),
        ("span:kind", Intrinsic::Kind),
        ("span:status", Intrinsic::Status),
        ("span:statusMessage", Intrinsic::StatusMessage),
        ("span:id", Intrinsic::SpanId),
        ("span:parentID", Intrinsic::Parent),
        ("span:childCount", Intrinsic::ChildCount),
        ("event:name", Intrinsic::EventName),
        ("event:timeSinceStart", Intrinsic::EventTimeSinceStart),
        ("link:traceID", Intrinsic::LinkTraceId),
        ("link:spanID", Intrinsic::LinkSpanId),
        ("instrumentation:name", Intrinsic::InstrumentationName),
        ("instrumentation:version", Intrinsic::InstrumentationVersion),
        // Words of Tempo's older tag lists.
        ("root.name", Intrinsic::RootName),
        ("root.service.name", Intrinsic::RootServiceName),
    ];

    /// How many of [`Intrinsic::NAMES`] are words of the language; the others are tags of the older API.
    pub(super) const WORDS: usize = 31;

    pub fn from_name(name: &str) -> Option<Intrinsic> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, intrinsic)| *intrinsic)
    }

    /// The first of its names.
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, intrinsic)| *intrinsic == self);
        found.expect("every intrinsic has a name").0
    }
}

impl Field {
    pub fn attribute(scope: Scope, key: impl Into<String>) -> Field {
        Field { of_parent: false, name: FieldName::Attribute { scope, key: key.into() } }
    }

    pub fn intrinsic(intrinsic: Intrinsic) -> Field {
        Field { of_parent: false, name: FieldName::Intrinsic(intrinsic) }
    }

    /// Without scope, as it is called in an answer.
    pub fn key(&self) -> &str {
        match &self.name {
            FieldName::Attribute { key, .. } => key,
            FieldName::Intrinsic(intrinsic) => intrinsic.name(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of_parent {
            f.write_str("parent.")?;
        }
        match &self.name {
            FieldName::Attribute { scope, key } => {
                let prefix = match scope {
                    Scope::Any if self.of_parent => "",
                    Scope::Any => ".",
                    Scope::Span => "span.",
                    Scope::Resource => "resource.",
                    Scope::Event => "event.",
                    Scope::Link => "link.",
                    Scope::Instrumentation => "instrumentation.",
                };
                write!(f, "{prefix}{key}")
            }
            FieldName::Intrinsic(intrinsic) => f.write_str(intrinsic.name()),
        }
    }
}

impl AggregateOp {
    pub fn name(self) -> &'static str {
        match self {
            AggregateOp::Count => "count",
            AggregateOp::Min => "min",
            AggregateOp::Max => "max",
            AggregateOp::Avg => "avg",
            AggregateOp::Sum => "sum",
        }
    }
}

impl BinaryOp {
    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }

    pub fn text(self) -> &'static str {
        match self {
            BinaryOp::Equal => "=",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Modulo => "%",
            BinaryOp::Power => "^",
        }
    }
}

impl FieldExpr {
    pub(super) fn leaf(at: usize, kind: FieldKind) -> FieldExpr {
        FieldExpr { kind, at, depth: 1 }
    }

    /// `field op value`, for questions that are not asked in TraceQL.
    pub fn compared(field: Field, op: BinaryOp, value: Value<'static>) -> FieldExpr {
        let side = |kind| Box::new(FieldExpr::leaf(0, kind));
        let (left, right) = (side(FieldKind::Field(field)), side(FieldKind::Static(value)));
        FieldExpr { kind: FieldKind::Binary { op, left, right }, at: 0, depth: 2 }
    }

    /// All of them joined by `&&`; without any, what is always true.
    pub fn all(parts: Vec<FieldExpr>) -> FieldExpr {
        let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
        FieldExpr { kind: FieldKind::All(parts), at: 0, depth }
    }

    /// All of them joined by `||`; without any, what is never true.
    pub fn any(parts: Vec<FieldExpr>) -> FieldExpr {
        let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
        FieldExpr { kind: FieldKind::Any(parts), at: 0, depth }
    }

    /// Calls `visit` for every field in the expression.
    pub fn fields<'e>(&'e self, visit: &mut impl FnMut(&'e Field)) {
        match &self.kind {
            FieldKind::Static(_) => {}
            FieldKind::Field(field) => visit(field),
            FieldKind::Not(inner)
            | FieldKind::Negative(inner)
            | FieldKind::Matches { text: inner, .. }
            | FieldKind::IsNil { of: inner, .. } => inner.fields(visit),
            FieldKind::All(parts) | FieldKind::Any(parts) => {
                parts.iter().for_each(|part| part.fields(visit));
            }
            FieldKind::Binary { left, right, .. } => {
                left.fields(visit);
                right.fields(visit);
            }
        }
    }
}

/// As it would be written, for the names of groups.
impl fmt::Display for FieldExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FieldKind::Static(value) => write!(f, "{value}"),
            FieldKind::Field(field) => write!(f, "{field}"),
            FieldKind::Not(inner) => write!(f, "!({inner})"),
            FieldKind::Negative(inner) => write!(f, "-({inner})"),
            FieldKind::All(parts) => join(f, parts, " && "),
            FieldKind::Any(parts) => join(f, parts, " || "),
            FieldKind::Binary { op, left, right } => write!(f, "({left} {} {right})", op.text()),
            FieldKind::Matches { text, regex, is_negated } => {
                let op = if *is_negated { "!~" } else { "=~" };
                write!(f, "({text} {op} {:?})", regex.pattern())
            }
            FieldKind::IsNil { of, is_negated } => {
                write!(f, "({of} {} nil)", if *is_negated { "!=" } else { "=" })
            }
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[FieldExpr], between: &str) -> fmt::Result {
    f.write_str("(")?;
    for (i, part) in parts.iter().enumerate() {
        f.write_str(if i > 0 { between } else { "" })?;
        write!(f, "{part}")?;
    }
    f.write_str(")")
}
