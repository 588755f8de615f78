//! What must be true of a tree before it may run: operands that can meet, braces that hold a condition.
//!
//! The kind of an attribute is known only from its values; so it may meet everything.

use super::ast::{
    BinaryOp, FieldExpr, FieldKind, FieldName, Intrinsic, Pipeline, Query, ScalarExpr, SpansetExpr, Stage,
};
use super::position::ParseError;
use super::value::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Unknown,
    Nil,
    Bool,
    Number,
    Text,
    Status,
    Kind,
}

impl Type {
    fn of(value: &Value) -> Type {
        match value {
            Value::Nil => Type::Nil,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) | Value::Float(_) | Value::Duration(_) => Type::Number,
            Value::Text(_) => Type::Text,
            Value::Status(_) => Type::Status,
            Value::Kind(_) => Type::Kind,
            Value::List(_) | Value::Each(_) => Type::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Type::Unknown => "an attribute",
            Type::Nil => "nil",
            Type::Bool => "a condition",
            Type::Number => "a number",
            Type::Text => "a string",
            Type::Status => "a status",
            Type::Kind => "a kind",
        }
    }

    fn may_be(self, wanted: Type) -> bool {
        self == Type::Unknown || self == wanted
    }
}

pub(super) fn check(text: &str, query: &Query) -> Result<(), ParseError> {
    match query {
        Query::Search(pipeline) => Checker { text }.pipeline(pipeline),
        // Its parts were read; what they compare is checked when they run.
        Query::Metrics { .. } => Ok(()),
    }
}

struct Checker<'a> {
    text: &'a str,
}

impl Checker<'_> {
    fn pipeline(&self, pipeline: &Pipeline) -> Result<(), ParseError> {
        for stage in &pipeline.0 {
            match stage {
                Stage::Spansets(expr) => self.spansets(expr)?,
                Stage::ScalarFilter(filter) => {
                    self.scalar(&filter.left)?;
                    self.scalar(&filter.right)?;
                }
                Stage::By(key) => {
                    self.field(key)?;
                    self.must_ask_the_span(key, "by")?;
                }
                Stage::Scalar(scalar) => self.scalar(scalar)?,
                Stage::Coalesce | Stage::Select(_) => {}
            }
        }
        Ok(())
    }

    fn spansets(&self, expr: &SpansetExpr) -> Result<(), ParseError> {
        match expr {
            SpansetExpr::Filter(None) => Ok(()),
            SpansetExpr::Filter(Some(condition)) => self.must_be(condition, Type::Bool, "braces hold"),
            SpansetExpr::Pipeline(pipeline) => self.pipeline(pipeline),
            SpansetExpr::Binary { left, right, .. } => {
                self.spansets(left)?;
                self.spansets(right)
            }
        }
    }

    fn scalar(&self, scalar: &ScalarExpr) -> Result<(), ParseError> {
        match scalar {
            ScalarExpr::Static(_) => Ok(()),
            ScalarExpr::Aggregate { of: None, .. } => Ok(()),
            ScalarExpr::Aggregate { of: Some(of), op, .. } => {
                self.must_be(of, Type::Number, op.name())?;
                self.must_ask_the_span(of, op.name())
            }
            ScalarExpr::Pipeline { at } => {
                let message = "comparing the aggregate of a pipeline in parentheses is not supported yet";
                Err(ParseError::new(self.text, *at, message))
            }
            ScalarExpr::Binary { left, right, .. } => {
                self.scalar(left)?;
                self.scalar(right)
            }
        }
    }

    fn must_ask_the_span(&self, expr: &FieldExpr, who: &str) -> Result<(), ParseError> {
        let mut asks = false;
        expr.fields(&mut |_| asks = true);
        if asks {
            return Ok(());
        }
        Err(ParseError::new(self.text, expr.at, format!("{who} needs an attribute or an intrinsic")))
    }

    fn must_be(&self, expr: &FieldExpr, wanted: Type, who: &str) -> Result<(), ParseError> {
        let found = self.field(expr)?;
        if found.may_be(wanted) {
            return Ok(());
        }
        let message = format!("{who}: expected {}, found {}", wanted.name(), found.name());
        Err(ParseError::new(self.text, expr.at, message))
    }

    fn field(&self, expr: &FieldExpr) -> Result<Type, ParseError> {
        match &expr.kind {
            FieldKind::Static(value) => Ok(Type::of(value)),
            FieldKind::Field(field) => Ok(match &field.name {
                FieldName::Attribute { .. } => Type::Unknown,
                FieldName::Intrinsic(intrinsic) => type_of(*intrinsic),
            }),
            FieldKind::Not(inner) => self.must_be(inner, Type::Bool, "!").map(|()| Type::Bool),
            FieldKind::Negative(inner) => self.must_be(inner, Type::Number, "-").map(|()| Type::Number),
            FieldKind::All(parts) => self.conditions(parts, "&&"),
            FieldKind::Any(parts) => self.conditions(parts, "||"),
            FieldKind::Matches { text, .. } => {
                self.must_be(text, Type::Text, "a regular expression").map(|()| Type::Bool)
            }
            FieldKind::IsNil { of, .. } => self.field(of).map(|_| Type::Bool),
            FieldKind::Binary { op, left, right } => self.binary(expr, *op, left, right),
        }
    }

    fn conditions(&self, parts: &[FieldExpr], op: &str) -> Result<Type, ParseError> {
        parts.iter().try_for_each(|part| self.must_be(part, Type::Bool, op))?;
        Ok(Type::Bool)
    }

    fn binary(
        &self,
        whole: &FieldExpr,
        op: BinaryOp,
        left: &FieldExpr,
        right: &FieldExpr,
    ) -> Result<Type, ParseError> {
        if !op.is_comparison() {
            self.must_be(left, Type::Number, op.text())?;
            self.must_be(right, Type::Number, op.text())?;
            return Ok(Type::Number);
        }
        let (a, b) = (self.field(left)?, self.field(right)?);
        let has_order = matches!(op, BinaryOp::Equal | BinaryOp::NotEqual)
            || [a, b].iter().all(|side| matches!(side, Type::Unknown | Type::Number | Type::Text));
        if has_order && (a.may_be(b) || b == Type::Unknown) {
            return Ok(Type::Bool);
        }
        let message = format!("{} and {} cannot be compared with {}", a.name(), b.name(), op.text());
        Err(ParseError::new(self.text, whole.at, message))
    }
}

fn type_of(intrinsic: Intrinsic) -> Type {
    match intrinsic {
        Intrinsic::Duration
        | Intrinsic::TraceDuration
        | Intrinsic::ChildCount
        | Intrinsic::NestedSetLeft
        | Intrinsic::NestedSetRight
        | Intrinsic::NestedSetParent
        | Intrinsic::EventTimeSinceStart => Type::Number,
        Intrinsic::Status => Type::Status,
        Intrinsic::Kind => Type::Kind,
        Intrinsic::Name
        | Intrinsic::StatusMessage
        | Intrinsic::Parent
        | Intrinsic::SpanId
        | Intrinsic::TraceId
        | Intrinsic::RootName
        | Intrinsic::RootServiceName
        | Intrinsic::EventName
        | Intrinsic::LinkTraceId
        | Intrinsic::LinkSpanId
        | Intrinsic::InstrumentationName
        | Intrinsic::InstrumentationVersion => Type::Text,
    }
}
