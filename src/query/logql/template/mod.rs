//! The templates of `line_format` and `label_format`: Go's text/template without what could run away.

use crate::model::Nanos;

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Label(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: {at}: {message}")]
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
}

impl Template {
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find("{{") {
            parts.push(Part::Text(rest[..at].to_owned()));
            let inside = &rest[at + 2..];
            let Some(len) = inside.find("}}") else {
                return Err(TemplateError { at: text.len(), message: "unclosed action".to_owned() });
            };
            parts.push(Part::Label(inside[..len].trim().trim_start_matches('.').to_owned()));
            rest = &inside[len + 2..];
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Template { text: text.to_owned(), parts })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Appends what the template makes of a line.
    pub fn render(&self, input: &TemplateInput<'_>, out: &mut String) -> Result<(), RenderError> {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Label(name) => out.push_str((input.label)(name).unwrap_or_default()),
            }
        }
        Ok(())
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.text == other.text
    }
}
