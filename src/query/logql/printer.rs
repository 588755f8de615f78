//! A syntax tree as text that parses back to an equal tree, with no more parentheses than that needs.

use std::fmt::{self, Display, Formatter};

use crate::model::Matcher;
use crate::query::lexical::strings::quote;
use crate::query::promql::ast as promql;

use super::ast::{
    Aggregate, Binary, BinaryOp, CompareValue, Expr, Grouping, JsonExtraction, LabelChoice, LabelFilter,
    LabelFilterKind, LabelFormat, LabelFormatValue, LineFilterStage, LineTestKind, LogExpr, LogRange, Logfmt,
    LogfmtExtraction, MetricExpr, MetricKind, NumberLiteral, RangeAggregation, Stage, StageKind, Unwrap,
    binding,
};
use super::json_path::JsonStep;
use super::token::keyword;
use super::units::format_nanos;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Log(log) => log.fmt(f),
            Expr::Metric(metric) => metric.fmt(f),
        }
    }
}

impl Display for LogExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        pipeline(f, &self.matchers, &self.stages)
    }
}

impl Display for LogRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        pipeline(f, &self.matchers, &self.stages)?;
        if let Some(unwrap) = &self.unwrap {
            unwrap.fmt(f)?;
        }
        write!(f, " [{}]", format_nanos(self.range))?;
        if self.offset != 0 {
            write!(f, " offset {}", format_nanos(self.offset))?;
        }
        Ok(())
    }
}

fn pipeline(f: &mut Formatter<'_>, matchers: &[Matcher], stages: &[Stage]) -> fmt::Result {
    f.write_str("{")?;
    list(f, matchers, write_matcher)?;
    f.write_str("}")?;
    stages.iter().try_for_each(|stage| write!(f, " {stage}"))
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            StageKind::LineFilter(filter) => return filter.fmt(f),
            _ => f.write_str("| ")?,
        }
        match &self.kind {
            StageKind::LineFilter(_) => Ok(()),
            StageKind::Json(extractions) => {
                f.write_str("json")?;
                list_behind_blank(f, extractions)
            }
            StageKind::Logfmt(logfmt) => logfmt.fmt(f),
            StageKind::Regexp(regexp) => write!(f, "regexp {}", quoted(&regexp.pattern)),
            StageKind::Pattern(pattern) => write!(f, "pattern {}", quoted(pattern.text())),
            StageKind::Unpack => f.write_str("unpack"),
            StageKind::LabelFilter(filter) => filter.fmt(f),
            StageKind::LineFormat(template) => write!(f, "line_format {}", quoted(template.text())),
            StageKind::LabelFormat(formats) => {
                f.write_str("label_format")?;
                list_behind_blank(f, formats)
            }
            StageKind::Decolorize => f.write_str("decolorize"),
            StageKind::Drop(choices) => write_choices(f, "drop", choices),
            StageKind::Keep(choices) => write_choices(f, "keep", choices),
        }
    }
}

/// A comma behind the last name keeps it apart from a line filter that follows, as in `drop a, != "b"`.
fn write_choices(f: &mut Formatter<'_>, word: &str, choices: &[LabelChoice]) -> fmt::Result {
    f.write_str(word)?;
    list_behind_blank(f, choices)?;
    if matches!(choices.last(), Some(LabelChoice::Name(_))) { f.write_str(",") } else { Ok(()) }
}

impl Display for LineFilterStage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.op.text())?;
        for (i, test) in self.alternatives.iter().enumerate() {
            f.write_str(if i > 0 { " or " } else { "" })?;
            match &test.kind {
                LineTestKind::Ip(_) => write!(f, "ip({})", quoted(&test.text))?,
                LineTestKind::Text(_) | LineTestKind::Wildcard(_) => f.write_str(&quoted(&test.text))?,
            }
        }
        Ok(())
    }
}

impl Display for JsonExtraction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&name(&self.label))?;
        match self.path.steps() {
            [JsonStep::Key(key)] if *key == self.label => Ok(()),
            _ => write!(f, "={}", quoted(self.path.text())),
        }
    }
}

impl Display for Logfmt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("logfmt")?;
        f.write_str(if self.is_strict { " --strict" } else { "" })?;
        f.write_str(if self.keeps_empty { " --keep-empty" } else { "" })?;
        list_behind_blank(f, &self.extractions)
    }
}

impl Display for LogfmtExtraction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&name(&self.label))?;
        if self.key == self.label { Ok(()) } else { write!(f, "={}", quoted(&self.key)) }
    }
}

impl Display for LabelFormat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.value {
            LabelFormatValue::Rename(from) => write!(f, "{}={from}", name(&self.name)),
            LabelFormatValue::Template(template) => {
                write!(f, "{}={}", name(&self.name), quoted(template.text()))
            }
        }
    }
}

impl Display for LabelChoice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            LabelChoice::Name(label) => f.write_str(&name(label)),
            LabelChoice::Matcher(matcher) => write_matcher(f, matcher),
        }
    }
}

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            LabelFilterKind::All(filters) => {
                for (i, filter) in filters.iter().enumerate() {
                    f.write_str(if i > 0 { " and " } else { "" })?;
                    match filter.kind {
                        LabelFilterKind::Any(_) => write!(f, "({filter})")?,
                        _ => filter.fmt(f)?,
                    }
                }
                Ok(())
            }
            LabelFilterKind::Any(filters) => {
                for (i, filter) in filters.iter().enumerate() {
                    f.write_str(if i > 0 { " or " } else { "" })?;
                    filter.fmt(f)?;
                }
                Ok(())
            }
            LabelFilterKind::Matcher(matcher) => write_matcher(f, matcher),
            LabelFilterKind::Compare(compare) => {
                write!(f, "{} {} {}", name(&compare.name), compare.op.text(), compare.value)
            }
            LabelFilterKind::Ip(filter) => {
                let sign = if filter.is_negated { "!=" } else { "=" };
                write!(f, "{} {sign} ip({})", name(&filter.name), quoted(filter.range.text()))
            }
        }
    }
}

impl Display for CompareValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            CompareValue::Number(value) => NumberLiteral(*value).fmt(f),
            CompareValue::Duration(nanos) => f.write_str(&format_nanos(*nanos)),
            CompareValue::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

impl Display for Unwrap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.conversion {
            None => write!(f, " | unwrap {}", name(&self.label))?,
            Some(conversion) => write!(f, " | unwrap {}({})", conversion.text(), name(&self.label))?,
        }
        self.filters.iter().try_for_each(|filter| write!(f, " | {filter}"))
    }
}

impl Display for MetricExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            MetricKind::Range(aggregation) => aggregation.fmt(f),
            MetricKind::Aggregate(aggregate) => aggregate.fmt(f),
            MetricKind::Sort(sort) if sort.is_descending => write!(f, "sort_desc({})", sort.expr),
            MetricKind::Sort(sort) => write!(f, "sort({})", sort.expr),
            MetricKind::Binary(binary) => binary.fmt(f),
            MetricKind::LabelReplace(replace) => {
                write!(f, "label_replace({}", replace.expr)?;
                let texts = [&replace.destination, &replace.replacement, &replace.source, &replace.pattern];
                texts.iter().try_for_each(|text| write!(f, ", {}", quoted(text)))?;
                f.write_str(")")
            }
            MetricKind::Vector(number) => write!(f, "vector({number})"),
            MetricKind::Number(number) => number.fmt(f),
        }
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        promql::NumberLiteral { value: self.0, is_duration: false }.fmt(f)
    }
}

impl Display for RangeAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.op.text())?;
        if let Some(parameter) = self.parameter {
            write!(f, "{parameter}, ")?;
        }
        write!(f, "{})", self.log)?;
        self.grouping.iter().try_for_each(|grouping| write!(f, " {grouping}"))
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_without { "without (" } else { "by (" })?;
        list(f, &self.labels, |f, label| f.write_str(&name(label)))?;
        f.write_str(")")
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.text())?;
        if let Some(grouping) = &self.grouping {
            write!(f, " {grouping} ")?;
        }
        match self.parameter {
            Some(parameter) => write!(f, "({parameter}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let power = self.op == BinaryOp::Power;
        write_side(f, &self.lhs, binding(self.op) + u8::from(power))?;
        write!(f, " {}", self.op.text())?;
        if self.return_bool {
            f.write_str(" bool")?;
        }
        if let Some(matching) = &self.matching {
            matching.fmt(f)?;
        }
        f.write_str(" ")?;
        write_side(f, &self.rhs, binding(self.op) + u8::from(!power))
    }
}

/// A side of an operator; in parentheses if it is one that binds less than `least`.
fn write_side(f: &mut Formatter<'_>, side: &MetricExpr, least: u8) -> fmt::Result {
    match &side.kind {
        MetricKind::Binary(binary) if binding(binary.op) < least => write!(f, "({side})"),
        _ => side.fmt(f),
    }
}

fn list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    mut item: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, one) in items.iter().enumerate() {
        f.write_str(if i > 0 { ", " } else { "" })?;
        item(f, one)?;
    }
    Ok(())
}

fn list_behind_blank<T: Display>(f: &mut Formatter<'_>, items: &[T]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    f.write_str(" ")?;
    list(f, items, |f, item| item.fmt(f))
}

fn write_matcher(f: &mut Formatter<'_>, matcher: &Matcher) -> fmt::Result {
    write!(f, "{}{}{}", name(&matcher.name), matcher.op.text(), quoted(&matcher.value))
}

/// A label's name, in quotes where it would be a keyword.
fn name(label: &str) -> String {
    if keyword(label).is_some() { quoted(label) } else { label.to_owned() }
}

fn quoted(text: &str) -> String {
    quote(text.as_bytes())
}
