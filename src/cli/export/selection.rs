//! Which series are exported: those that one of several selectors lets through.

use super::ask;
use crate::cli::CliError;
use crate::cli::client::Client;
use crate::model::{Labels, MatchOp, Matcher};
use crate::wire::remote_read::LabelMatcher;
use crate::wire::remote_read::label_matcher::Type;

pub struct Selection {
    selectors: Vec<Selector>,
}

pub struct Selector {
    /// As it was given.
    pub text: String,
    matchers: Vec<Matcher>,
}

/// What lets every metric through.
const ALL: &str = r#"{__name__!=""}"#;

impl Selection {
    /// The server reads selectors, as it reads queries.
    pub fn parse(client: &Client<'_>, texts: &[String]) -> Result<Selection, CliError> {
        let all = [ALL.to_owned()];
        let texts = if texts.is_empty() { &all } else { texts };
        let selectors = texts.iter().map(|text| Selector::parse(client, text)).collect::<Result<_, _>>()?;
        Ok(Selection { selectors })
    }

    pub fn selectors(&self) -> impl Iterator<Item = (usize, &Selector)> {
        self.selectors.iter().enumerate()
    }

    /// Whether a series that this selector lets through was let through by one before it.
    pub fn is_repeated(&self, labels: &Labels, selector: usize) -> bool {
        self.selectors[..selector].iter().any(|selector| selector.takes(labels))
    }
}

impl Selector {
    fn parse(client: &Client<'_>, text: &str) -> Result<Selector, CliError> {
        let tree = ask(client, "/api/v1/parse_query", &[("query", text.to_owned())])?;
        if tree["type"] != "vectorSelector" {
            return Err(CliError::Usage(format!("{text} is no selector, such as '{{job=\"api\"}}'")));
        }
        let list = tree["matchers"].as_array().ok_or_else(|| client.misunderstood())?;
        let mut matchers = Vec::new();
        for matcher in list {
            let field = |key: &str| matcher[key].as_str().ok_or_else(|| client.misunderstood());
            let op = match field("type")? {
                "=" => MatchOp::Equal,
                "!=" => MatchOp::NotEqual,
                "=~" => MatchOp::Regex,
                _ => MatchOp::NotRegex,
            };
            let matcher = Matcher::new(field("name")?, op, field("value")?);
            matchers.push(matcher.map_err(|error| CliError::Usage(error.to_string()))?);
        }
        Ok(Selector { text: text.to_owned(), matchers })
    }

    fn takes(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
    }

    /// As remote read has them.
    pub fn wire_matchers(&self) -> Vec<LabelMatcher> {
        self.matchers.iter().map(|matcher| wire_matcher(&matcher.name, matcher.op, &matcher.value)).collect()
    }
}

pub fn wire_matcher(name: &str, op: MatchOp, value: &str) -> LabelMatcher {
    let op = match op {
        MatchOp::Equal => Type::Eq,
        MatchOp::NotEqual => Type::Neq,
        MatchOp::Regex => Type::Re,
        MatchOp::NotRegex => Type::Nre,
    };
    LabelMatcher { r#type: op.into(), name: name.to_owned(), value: value.to_owned() }
}
