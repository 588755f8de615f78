//! What can be understood of a query that is still being typed, for completing the value under the cursor.

use super::ast::{FieldExpr, Pipeline, Query, SpansetExpr, Stage};
use super::lexer::{TokenKind, tokens};
use super::parser::{ParseOptions, parse};

/// A filter that every span the writer can mean passes: the whole query if it can be read; else each `field op value`
/// that is complete and that all others are joined to by `&&`; else everything.
pub fn matchers(text: &str, options: ParseOptions) -> Pipeline {
    match parse(text, options) {
        Ok(Query::Search(pipeline)) => return pipeline,
        Ok(Query::Metrics { .. }) | Err(_) => {}
    }
    let conditions: Vec<FieldExpr> =
        pieces(text).into_iter().filter_map(|piece| condition(piece, options)).collect();
    Pipeline::filter((!conditions.is_empty()).then(|| FieldExpr::all(conditions)))
}

/// The first braces' inside, cut at each `&&` outside of parentheses; nothing where an `||` would make a piece
/// optional.
fn pieces(text: &str) -> Vec<&str> {
    let (tokens, _) = tokens(text);
    let inside = tokens.iter().skip_while(|token| token.kind != TokenKind::LeftBrace);
    let (mut pieces, mut start, mut open) = (Vec::new(), None, 0usize);
    for token in inside {
        match token.kind {
            TokenKind::Or => return Vec::new(),
            TokenKind::LeftParen => open += 1,
            TokenKind::RightParen => open = open.saturating_sub(1),
            TokenKind::LeftBrace if start.is_none() => start = Some(token.at + 1),
            TokenKind::And | TokenKind::RightBrace | TokenKind::End if open == 0 => {
                pieces.extend(start.map(|start| &text[start..token.at]));
                if token.kind != TokenKind::And {
                    break;
                }
                start = Some(token.at + 2);
            }
            _ => {}
        }
    }
    pieces
}

/// One condition, if the text is a complete one.
fn condition(text: &str, options: ParseOptions) -> Option<FieldExpr> {
    match parse(&format!("{{{text}}}"), options) {
        Ok(Query::Search(Pipeline(mut stages))) => match (stages.pop(), stages.pop()) {
            (Some(Stage::Spansets(SpansetExpr::Filter(condition))), None) => condition,
            _ => None,
        },
        _ => None,
    }
}
