//! Label filters: `status >= 400 and (method="GET" or addr=ip("10.0.0.0/8"))`.

use crate::model::MatchOp;
use crate::query::lexical::PositionRange;

use super::ast::{CompareOp, CompareValue, IpFilter, LabelComparison, LabelFilter, LabelFilterKind};
use super::ip::IpRange;
use super::parser::{Parsed, Parser};
use super::token::{Keyword, Sign, TokenKind};

const VALUE: &str = "STRING, NUMBER, DURATION, BYTES or ip(…)";

impl Parser<'_> {
    /// `and` binds tighter than `or`. A comma, or nothing, between two filters is an `and` that takes all that
    /// follows: `a, b or c` is `a and (b or c)`, as Loki's grammar has it.
    pub(super) fn label_filter(&mut self) -> Parsed<LabelFilter> {
        let (mut groups, depth) = (Vec::new(), self.depth);
        loop {
            let alternatives = self.alternatives()?;
            let are_several = alternatives.len() > 1;
            groups.push(alternatives);
            if self.accept(Sign::Comma).is_none() && !self.at_filter() {
                self.depth = depth;
                return Ok(joined(groups));
            }
            if are_several {
                // What follows is inside of the last one.
                self.descend()?;
            }
        }
    }

    /// `a and b or c`, split at `or`.
    fn alternatives(&mut self) -> Parsed<Vec<LabelFilter>> {
        let mut alternatives = Vec::new();
        loop {
            let mut filters = vec![self.one_filter()?];
            while self.accept_keyword(Keyword::And).is_some() {
                filters.push(self.one_filter()?);
            }
            alternatives.push(all_of(filters));
            if self.accept_keyword(Keyword::Or).is_none() {
                return Ok(alternatives);
            }
        }
    }

    /// Whether a filter can start here.
    pub(super) fn at_filter(&self) -> bool {
        match self.peek() {
            TokenKind::Word(None) | TokenKind::String(_) | TokenKind::Sign(Sign::LeftParen) => true,
            TokenKind::Word(Some(_)) => self.second_compares(),
            _ => false,
        }
    }

    /// Whether what follows the next token can only be the operator of a label filter.
    pub(super) fn second_compares(&self) -> bool {
        use Sign::{Assign, Equal, Greater, GreaterEqual, Less, LessEqual, Matches};
        matches!(
            self.peek_second(),
            TokenKind::Sign(Assign | Equal | Matches | Greater | GreaterEqual | Less | LessEqual)
        )
    }

    fn one_filter(&mut self) -> Parsed<LabelFilter> {
        if self.accept(Sign::LeftParen).is_some() {
            let inner = self.nested(Self::label_filter)?;
            self.expect(Sign::RightParen, "\"and\", \"or\", \",\" or \")\"")?;
            return Ok(inner);
        }
        let start = self.position();
        self.count_node(start)?;
        if !matches!(self.peek(), TokenKind::Word(_) | TokenKind::String(_)) {
            return Err(self.unexpected("a label filter"));
        }
        let name = self.label_name()?;
        let Some(sign) = self.peek_sign().filter(|sign| compares(*sign)) else {
            let known = "a comparison (\"=\", \"!=\", \"=~\", \"!~\", \">\", \">=\", \"<\" or \"<=\")";
            return Err(self.unexpected(&format!("{known} behind label {name}, which is no known stage")));
        };
        self.advance();
        let kind = self.condition(name, sign, start)?;
        Ok(LabelFilter { position: start.to(self.last_position()), kind })
    }

    /// What stands behind the sign.
    fn condition(&mut self, name: String, sign: Sign, start: PositionRange) -> Parsed<LabelFilterKind> {
        let match_op = match sign {
            Sign::Matches => Some(MatchOp::Regex),
            Sign::NotMatches => Some(MatchOp::NotRegex),
            Sign::Assign => Some(MatchOp::Equal),
            Sign::NotEqual => Some(MatchOp::NotEqual),
            _ => None,
        };
        match (self.peek(), match_op) {
            (TokenKind::String(value), Some(op)) => {
                let value = value.clone();
                let position = start.to(self.advance());
                Ok(LabelFilterKind::Matcher(self.matcher(name, op, value, position)?))
            }
            (_, Some(MatchOp::Regex | MatchOp::NotRegex)) => Err(self.unexpected("STRING")),
            (TokenKind::Word(Some(Keyword::Ip)), Some(op)) => {
                let range = self.ip()?;
                Ok(LabelFilterKind::Ip(IpFilter { name, is_negated: op == MatchOp::NotEqual, range }))
            }
            (TokenKind::String(_), None) => {
                Err(self.unexpected("NUMBER, DURATION or BYTES: text is compared with = or !="))
            }
            _ => {
                let value = self.compare_value()?;
                let op = compare_op(sign).expect("signs that compare no text are comparisons");
                Ok(LabelFilterKind::Compare(LabelComparison { name, op, value }))
            }
        }
    }

    fn compare_value(&mut self) -> Parsed<CompareValue> {
        let is_negative = self.accept(Sign::Minus).is_some();
        if !is_negative {
            self.accept(Sign::Plus);
        }
        let value = match *self.peek() {
            TokenKind::Number(value) => CompareValue::Number(if is_negative { -value } else { value }),
            TokenKind::Duration(nanos) => CompareValue::Duration(if is_negative { -nanos } else { nanos }),
            TokenKind::Bytes(bytes) if !is_negative => CompareValue::Bytes(bytes),
            _ => return Err(self.unexpected(VALUE)),
        };
        self.advance();
        Ok(value)
    }

    /// `ip("…")`.
    pub(super) fn ip(&mut self) -> Parsed<IpRange> {
        self.advance();
        self.expect(Sign::LeftParen, "\"(\"")?;
        let position = self.position();
        let text = self.expect_string()?;
        self.expect(Sign::RightParen, "\")\"")?;
        IpRange::parse(&text).map_err(|error| self.error(position, error.to_string()))
    }
}

fn compares(sign: Sign) -> bool {
    matches!(sign, Sign::Matches | Sign::NotMatches) || compare_op(sign).is_some()
}

fn compare_op(sign: Sign) -> Option<CompareOp> {
    Some(match sign {
        Sign::Assign | Sign::Equal => CompareOp::Equal,
        Sign::NotEqual => CompareOp::NotEqual,
        Sign::Greater => CompareOp::Greater,
        Sign::GreaterEqual => CompareOp::GreaterEqual,
        Sign::Less => CompareOp::Less,
        Sign::LessEqual => CompareOp::LessEqual,
        _ => return None,
    })
}

/// What commas join: the last alternative before a comma holds together with all that follows it.
fn joined(groups: Vec<Vec<LabelFilter>>) -> LabelFilter {
    // From the last to the first, so that each is moved once.
    let mut conjuncts = Vec::new();
    for mut group in groups.into_iter().rev() {
        conjuncts.extend(group.pop());
        if !group.is_empty() {
            conjuncts.reverse();
            group.push(all_of(std::mem::take(&mut conjuncts)));
            conjuncts.push(any_of(group));
        }
    }
    conjuncts.reverse();
    all_of(conjuncts)
}

/// All hold; `and`s inside each other become one.
pub(super) fn all_of(filters: Vec<LabelFilter>) -> LabelFilter {
    let flat = filters.into_iter().flat_map(|filter| match filter.kind {
        LabelFilterKind::All(inner) => inner,
        kind => vec![LabelFilter { position: filter.position, kind }],
    });
    one_or(flat.collect(), LabelFilterKind::All)
}

/// One of them holds; `or`s inside each other become one.
pub(super) fn any_of(filters: Vec<LabelFilter>) -> LabelFilter {
    let flat = filters.into_iter().flat_map(|filter| match filter.kind {
        LabelFilterKind::Any(inner) => inner,
        kind => vec![LabelFilter { position: filter.position, kind }],
    });
    one_or(flat.collect(), LabelFilterKind::Any)
}

/// The only filter, or all of them as one; at least one.
fn one_or(mut filters: Vec<LabelFilter>, kind: fn(Vec<LabelFilter>) -> LabelFilterKind) -> LabelFilter {
    if filters.len() == 1 {
        return filters.swap_remove(0);
    }
    let position = filters[0].position.to(filters[filters.len() - 1].position);
    LabelFilter { position, kind: kind(filters) }
}
