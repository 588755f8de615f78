//! The templates of `line_format` and `label_format`: Go's text/template with the functions that Loki offers, and
//! without what could run away.
//!
//! A template does a bounded amount of work for a line: it has no recursion, ranges over what is there, and pays for
//! every step and every byte that it makes from a budget. What depends on the template alone (names of functions,
//! counts of arguments, regular expressions) is checked when it is parsed.

mod functions;
mod layout;
mod lexer;
mod node;
mod parser;
mod printf;
mod run;
mod time;
mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::model::{Lookout, Nanos};

use node::Node;
use run::Run;

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    nodes: Arc<[Node]>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: byte {at}: {message}")]
pub struct TemplateError {
    /// Byte in the template's text.
    pub at: usize,
    pub message: String,
}

/// Why a template gave nothing for a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: {message}")]
pub struct RenderError {
    pub message: String,
}

/// What a template sees of a line.
pub struct TemplateInput<'a> {
    pub line: &'a str,
    pub timestamp: Nanos,
    /// When the query runs, for `now`.
    pub now: Nanos,
    /// The value of a label; a label that is not there is empty text.
    pub label: &'a dyn Fn(&str) -> Option<&'a str>,
    /// All labels by name, for a template that walks them.
    pub labels: &'a dyn Fn() -> Vec<(&'a str, &'a str)>,
    /// Once it gives up, what is made means nothing.
    pub lookout: &'a Lookout<'a>,
}

impl Template {
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        Ok(Template { text: text.to_owned(), nodes: parser::parse(text)?.into() })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Appends what the template makes of a line; after an error, nothing.
    pub fn render(&self, input: &TemplateInput<'_>, out: &mut String) -> Result<(), RenderError> {
        let start = out.len();
        let rendered = self.append(input, out);
        if rendered.is_err() {
            out.truncate(start);
        }
        rendered
    }

    fn append(&self, input: &TemplateInput<'_>, out: &mut String) -> Result<(), RenderError> {
        // Most templates are labels between texts, and need nothing of what the others do.
        let (start, mut done) = (out.len(), 0);
        for node in self.nodes.iter() {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Label(name) => out.push_str((input.label)(name).unwrap_or_default()),
                _ => break,
            }
            done += 1;
        }
        run::check_output(out.len() - start)?;
        if done == self.nodes.len() { Ok(()) } else { Run::new(input, out, start).nodes(&self.nodes[done..]) }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.text == other.text
    }
}

impl RenderError {
    /// The message becomes a label of the line, so it tells no more than the start of what it complains of.
    fn new(message: impl Into<String>) -> RenderError {
        const CHARS_MAX: usize = 256;
        let mut message: String = message.into();
        if let Some((end, _)) = message.char_indices().nth(CHARS_MAX) {
            message.truncate(end);
        }
        RenderError { message }
    }
}
