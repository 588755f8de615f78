//! Selectors, the pipelines behind them, and where a range may stand between their stages.

use std::sync::Arc;

use crate::model::line_regex::line_regex;
use crate::model::{LinePattern, MatchOp, Matcher, Nanos};
use crate::query::lexical::PositionRange;

use super::ast::{
    Conversion, JsonExtraction, LabelChoice, LabelFormat, LabelFormatValue, LineFilterOp, LineFilterStage,
    LineTest, LineTestKind, LogExpr, LogRange, Logfmt, LogfmtExtraction, Regexp, Stage, StageKind, Unwrap,
};
use super::json_path::JsonPath;
use super::parser::{Parsed, Parser};
use super::pattern::{Pattern, WildcardText};
use super::template::Template;
use super::token::{Keyword, Sign, TokenKind};

/// A selector and all that follows it; what of it is allowed depends on where it stands.
pub(super) struct LogBody {
    pub position: PositionRange,
    matchers: Vec<Matcher>,
    stages: Vec<Stage>,
    unwrap: Option<Unwrap>,
    range: Option<(PositionRange, Nanos)>,
    offset: Nanos,
}

impl Parser<'_> {
    /// The body as a query for lines.
    pub(super) fn log_expr(&self, body: LogBody) -> Parsed<LogExpr> {
        if let Some((position, _)) = body.range {
            let message = "syntax error: unexpected RANGE: a range stands inside of a range aggregation such as \
                           count_over_time(…)";
            return Err(self.error(position, message));
        }
        if let Some(unwrap) = body.unwrap {
            let message = "unwrap is only allowed inside of a range aggregation such as sum_over_time(…)";
            return Err(self.error(unwrap.position, message));
        }
        Ok(LogExpr { position: body.position, matchers: body.matchers, stages: body.stages })
    }

    /// The body as what a range aggregation runs over.
    pub(super) fn log_range(&self, body: LogBody) -> Parsed<LogRange> {
        let Some((_, range)) = body.range else {
            let end = PositionRange { start: body.position.end, end: body.position.end };
            return Err(self.error(end, "syntax error: missing RANGE such as [5m] in a range aggregation"));
        };
        let LogBody { position, matchers, stages, unwrap, offset, .. } = body;
        Ok(LogRange { position, matchers, stages, unwrap, range, offset })
    }

    /// A selector with its stages, ranges and offset.
    pub(super) fn log_body(&mut self) -> Parsed<LogBody> {
        let (position, matchers) = self.selector()?;
        if matchers.iter().all(|matcher| matcher.matches_empty()) {
            let message = "queries require at least one regexp or equality matcher that does not have an \
                           empty-compatible value. For instance, app=~\".*\" does not meet this requirement, \
                           but app=~\".+\" will";
            return Err(self.error(position, message));
        }
        let mut body =
            LogBody { position, matchers, stages: Vec::new(), unwrap: None, range: None, offset: 0 };
        self.log_body_rest(&mut body)?;
        Ok(body)
    }

    /// What may follow a selector, or the parentheses around one.
    pub(super) fn log_body_rest(&mut self, body: &mut LogBody) -> Parsed<()> {
        loop {
            if let TokenKind::Range(range) = *self.peek() {
                let position = self.position();
                if body.range.is_some() {
                    return Err(self.unexpected("only one range"));
                }
                self.advance();
                body.range = Some((position, range));
                if self.accept_keyword(Keyword::Offset).is_some() {
                    body.offset = self.offset()?;
                }
            } else if let Some(op) = self.line_filter_op() {
                let start = self.advance();
                let kind = StageKind::LineFilter(self.line_filter(op)?);
                self.push_stage(body, start, kind)?;
            } else if let Some(start) = self.accept(Sign::Pipe) {
                self.piped(body, start)?;
            } else if matches!(self.peek(), TokenKind::Error(_)) {
                return Err(self.unexpected("more of the query"));
            } else {
                body.position = body.position.to(self.last_position());
                return Ok(());
            }
        }
    }

    fn push_stage(&mut self, body: &mut LogBody, start: PositionRange, kind: StageKind) -> Parsed<()> {
        let position = start.to(self.last_position());
        self.count_node(position)?;
        match (&mut body.unwrap, kind) {
            (None, kind) => body.stages.push(Stage { position, kind }),
            (Some(unwrap), StageKind::LabelFilter(filter)) => unwrap.filters.push(filter),
            (Some(_), _) => {
                let message = "syntax error: only label filters may follow unwrap";
                return Err(self.error(position, message));
            }
        }
        Ok(())
    }

    fn offset(&mut self) -> Parsed<Nanos> {
        let is_negative = self.accept(Sign::Minus).is_some();
        if !is_negative {
            self.accept(Sign::Plus);
        }
        let nanos = match *self.peek() {
            TokenKind::Duration(nanos) => nanos,
            TokenKind::Number(0.0) => 0,
            _ => return Err(self.unexpected("DURATION")),
        };
        self.advance();
        Ok(if is_negative { -nanos } else { nanos })
    }

    /// `{name="value", …}`, and where it stands.
    pub(super) fn selector(&mut self) -> Parsed<(PositionRange, Vec<Matcher>)> {
        let open = self.expect(Sign::LeftBrace, "\"{\"")?;
        let mut matchers = Vec::new();
        loop {
            if let Some(close) = self.accept(Sign::RightBrace) {
                return Ok((open.to(close), matchers));
            }
            if !matchers.is_empty() {
                self.expect(Sign::Comma, "\",\" or \"}\"")?;
                if let Some(close) = self.accept(Sign::RightBrace) {
                    return Ok((open.to(close), matchers));
                }
            }
            let start = self.position();
            self.count_node(start)?;
            let name = self.label_name()?;
            let Some(op) = self.peek_match_op() else {
                return Err(self.unexpected("\"=\", \"!=\", \"=~\" or \"!~\""));
            };
            self.advance();
            let value = self.expect_string()?;
            matchers.push(self.matcher(name, op, value, start.to(self.last_position()))?);
        }
    }

    fn line_filter_op(&self) -> Option<LineFilterOp> {
        Some(match self.peek_sign()? {
            Sign::PipeContains => LineFilterOp::Contains,
            Sign::NotEqual => LineFilterOp::NotContains,
            Sign::PipeMatches => LineFilterOp::Matches,
            Sign::NotMatches => LineFilterOp::NotMatches,
            Sign::PipePattern => LineFilterOp::Pattern,
            Sign::NotPattern => LineFilterOp::NotPattern,
            _ => return None,
        })
    }

    /// The texts behind the operator.
    fn line_filter(&mut self, op: LineFilterOp) -> Parsed<LineFilterStage> {
        let mut alternatives = Vec::new();
        loop {
            alternatives.push(self.line_test(op)?);
            if self.accept_keyword(Keyword::Or).is_none() {
                return Ok(LineFilterStage { op, alternatives });
            }
        }
    }

    fn line_test(&mut self, op: LineFilterOp) -> Parsed<LineTest> {
        let position = self.position();
        self.count_node(position)?;
        if self.peek_keyword() == Some(Keyword::Ip) {
            if !matches!(op, LineFilterOp::Contains | LineFilterOp::NotContains) {
                return Err(self.error(position, "ip(…) filters lines with |= and != only"));
            }
            let range = self.ip()?;
            return Ok(LineTest { text: range.text().to_owned(), kind: LineTestKind::Ip(range) });
        }
        let TokenKind::String(text) = self.peek() else {
            return Err(self.unexpected("STRING or ip(…)"));
        };
        let text = text.clone();
        self.advance();
        let kind = match op {
            LineFilterOp::Contains | LineFilterOp::NotContains => {
                LineTestKind::Text(vec![LinePattern::Literal(text.as_str().into())])
            }
            LineFilterOp::Matches | LineFilterOp::NotMatches => {
                self.count_regex(position)?;
                let patterns = LinePattern::of_regex(&text);
                LineTestKind::Text(patterns.map_err(|error| self.error(position, error.to_string()))?)
            }
            LineFilterOp::Pattern | LineFilterOp::NotPattern => {
                let wildcard = WildcardText::parse(&text);
                LineTestKind::Wildcard(wildcard.map_err(|error| self.error(position, error.to_string()))?)
            }
        };
        Ok(LineTest { text, kind })
    }

    /// A stage behind `|`.
    fn piped(&mut self, body: &mut LogBody, start: PositionRange) -> Parsed<()> {
        if self.peek_keyword() == Some(Keyword::Unwrap) && !self.second_compares() {
            let unwrap = self.unwrap(start)?;
            if body.unwrap.is_some() {
                return Err(self.error(unwrap.position, "syntax error: only one unwrap is allowed"));
            }
            body.unwrap = Some(unwrap);
            return Ok(());
        }
        let kind = self.stage()?;
        self.push_stage(body, start, kind)
    }

    fn stage(&mut self) -> Parsed<StageKind> {
        if self.at_filter() {
            return Ok(StageKind::LabelFilter(self.label_filter()?));
        }
        let no_stage = |parser: &Self| parser.unexpected("a stage of a pipeline or a label filter");
        let Some(keyword) = self.peek_keyword().filter(|keyword| keyword.names_stage()) else {
            return Err(no_stage(self));
        };
        self.advance();
        Ok(match keyword {
            Keyword::Json => StageKind::Json(self.json_extractions()?),
            Keyword::Logfmt => StageKind::Logfmt(self.logfmt()?),
            Keyword::Regexp => StageKind::Regexp(self.regexp()?),
            Keyword::Pattern => StageKind::Pattern(self.pattern()?),
            Keyword::Unpack => StageKind::Unpack,
            Keyword::LineFormat => StageKind::LineFormat(self.template()?),
            Keyword::LabelFormat => StageKind::LabelFormat(self.label_formats()?),
            Keyword::Decolorize => StageKind::Decolorize,
            Keyword::Drop => StageKind::Drop(self.separated(Self::label_choice)?),
            Keyword::Keep => StageKind::Keep(self.separated(Self::label_choice)?),
            _ => return Err(no_stage(self)),
        })
    }

    fn pattern(&mut self) -> Parsed<Pattern> {
        let position = self.position();
        let pattern = Pattern::parse(&self.expect_string()?);
        pattern.map_err(|error| self.error(position, error.to_string()))
    }

    fn json_extractions(&mut self) -> Parsed<Vec<JsonExtraction>> {
        if !self.at_extraction() {
            return Ok(Vec::new());
        }
        self.separated(|parser| {
            let (label, key) = parser.label_and_key()?;
            if parser.accept(Sign::Assign).is_none() {
                return Ok(JsonExtraction { path: JsonPath::key(&key), label });
            }
            let position = parser.position();
            let path = JsonPath::parse(&parser.expect_string()?);
            let path = path.map_err(|error| parser.error(position, error.to_string()))?;
            Ok(JsonExtraction { label, path })
        })
    }

    fn logfmt(&mut self) -> Parsed<Logfmt> {
        let mut logfmt = Logfmt::default();
        loop {
            match self.peek() {
                TokenKind::Strict => logfmt.is_strict = true,
                TokenKind::KeepEmpty => logfmt.keeps_empty = true,
                _ => break,
            }
            self.advance();
        }
        if self.at_extraction() {
            logfmt.extractions = self.separated(|parser| {
                let (label, key) = parser.label_and_key()?;
                let key = if parser.accept(Sign::Assign).is_some() { parser.expect_string()? } else { key };
                Ok(LogfmtExtraction { label, key })
            })?;
        }
        Ok(logfmt)
    }

    fn at_extraction(&self) -> bool {
        matches!(self.peek(), TokenKind::Word(None) | TokenKind::String(_))
    }

    /// A label, and the key it has where none is named.
    fn label_and_key(&mut self) -> Parsed<(String, String)> {
        let key = match self.peek() {
            TokenKind::String(key) => key.clone(),
            _ => self.word().to_owned(),
        };
        Ok((self.label_name()?, key))
    }

    fn regexp(&mut self) -> Parsed<Regexp> {
        let position = self.position();
        let pattern = self.expect_string()?;
        self.count_regex(position)?;
        let regex = line_regex(&pattern).map_err(|error| self.error(position, error.to_string()))?;
        let names = regex.regex().capture_names().enumerate();
        let groups: Vec<(usize, String)> =
            names.filter_map(|(i, name)| Some((i, name?.to_owned()))).collect();
        if groups.is_empty() {
            return Err(self.error(position, "at least one named capture (?P<name>…) must be supplied"));
        }
        Ok(Regexp { pattern, regex: Arc::new(regex), groups })
    }

    fn template(&mut self) -> Parsed<Template> {
        let position = self.position();
        let text = self.expect_string()?;
        Template::parse(&text).map_err(|error| self.error(position, error.to_string()))
    }

    fn label_formats(&mut self) -> Parsed<Vec<LabelFormat>> {
        let mut seen: Vec<String> = Vec::new();
        self.separated(|parser| {
            let position = parser.position();
            let name = parser.label_name()?;
            if name == "__error__" {
                return Err(parser.error(position, "__error__ cannot be formatted"));
            }
            if seen.contains(&name) {
                let message =
                    format!("multiple label name {name:?} not allowed in a single format operation");
                return Err(parser.error(position, message));
            }
            seen.push(name.clone());
            parser.expect(Sign::Assign, "\"=\"")?;
            let value = match parser.peek() {
                TokenKind::Word(_) => LabelFormatValue::Rename(parser.label_name()?),
                TokenKind::String(_) => LabelFormatValue::Template(parser.template()?),
                _ => return Err(parser.unexpected("a label name or STRING")),
            };
            Ok(LabelFormat { name, value })
        })
    }

    fn peek_match_op(&self) -> Option<MatchOp> {
        Some(match self.peek_sign()? {
            Sign::Assign => MatchOp::Equal,
            Sign::NotEqual => MatchOp::NotEqual,
            Sign::Matches => MatchOp::Regex,
            Sign::NotMatches => MatchOp::NotRegex,
            _ => return None,
        })
    }

    /// `name` or `name="value"`.
    fn label_choice(&mut self) -> Parsed<LabelChoice> {
        let start = self.position();
        let name = self.label_name()?;
        let Some(op) = self.peek_match_op() else {
            return Ok(LabelChoice::Name(name));
        };
        self.advance();
        let value = self.expect_string()?;
        Ok(LabelChoice::Matcher(self.matcher(name, op, value, start.to(self.last_position()))?))
    }

    fn unwrap(&mut self, start: PositionRange) -> Parsed<Unwrap> {
        self.advance();
        let conversion = if self.peek_second() == &TokenKind::Sign(Sign::LeftParen) {
            let conversion = match self.word() {
                "bytes" => Conversion::Bytes,
                "duration" => Conversion::Duration,
                "duration_seconds" => Conversion::DurationSeconds,
                _ => return Err(self.unexpected("bytes, duration or duration_seconds before \"(\"")),
            };
            self.advance();
            self.advance();
            Some(conversion)
        } else {
            None
        };
        let label = self.label_name()?;
        if conversion.is_some() {
            self.expect(Sign::RightParen, "\")\"")?;
        }
        let position = start.to(self.last_position());
        self.count_node(position)?;
        Ok(Unwrap { position, label, conversion, filters: Vec::new() })
    }
}
