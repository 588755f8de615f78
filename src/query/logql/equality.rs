//! When two nodes are the same: when they mean the same, wherever they stand. What is compiled follows from the text.

use super::ast::{
    CompareValue, LabelFilter, LineTest, LogExpr, LogRange, MetricExpr, NumberLiteral, Regexp, Stage, Unwrap,
};

impl PartialEq for LogExpr {
    fn eq(&self, other: &LogExpr) -> bool {
        self.matchers == other.matchers && self.stages == other.stages
    }
}

impl PartialEq for Stage {
    fn eq(&self, other: &Stage) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for LineTest {
    fn eq(&self, other: &LineTest) -> bool {
        self.text == other.text && std::mem::discriminant(&self.kind) == std::mem::discriminant(&other.kind)
    }
}

impl PartialEq for Regexp {
    fn eq(&self, other: &Regexp) -> bool {
        self.pattern == other.pattern
    }
}

impl PartialEq for LabelFilter {
    fn eq(&self, other: &LabelFilter) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for CompareValue {
    fn eq(&self, other: &CompareValue) -> bool {
        match (self, other) {
            (CompareValue::Number(a), CompareValue::Number(b)) => NumberLiteral(*a) == NumberLiteral(*b),
            (CompareValue::Duration(a), CompareValue::Duration(b)) => a == b,
            (CompareValue::Bytes(a), CompareValue::Bytes(b)) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for LogRange {
    fn eq(&self, other: &LogRange) -> bool {
        let same_rows = self.matchers == other.matchers && self.stages == other.stages;
        same_rows && self.unwrap == other.unwrap && (self.range, self.offset) == (other.range, other.offset)
    }
}

impl PartialEq for Unwrap {
    fn eq(&self, other: &Unwrap) -> bool {
        self.label == other.label && self.conversion == other.conversion && self.filters == other.filters
    }
}

impl PartialEq for MetricExpr {
    fn eq(&self, other: &MetricExpr) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for NumberLiteral {
    fn eq(&self, other: &NumberLiteral) -> bool {
        self.0.to_bits() == other.0.to_bits() || self.0.is_nan() && other.0.is_nan()
    }
}
