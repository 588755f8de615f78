//! One question to a running server over HTTP.

use std::time::Duration;

use ureq::Body;
use ureq::http::Response;

use super::CliError;

/// Beyond the server's own time-out, so that its error is what people see.
const PATIENCE: Duration = Duration::from_secs(150);
/// The longest answer the server gives by default.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Where to ask, and how its errors are told: `None` for a body that is none of this API's.
pub struct Client<'a> {
    pub url: &'a str,
    pub error_of: fn(&str) -> Option<String>,
}

impl Client<'_> {
    /// Sends a form, and returns the body of the answer.
    pub fn post(
        &self,
        path: &str,
        form: &[(&str, String)],
        headers: &[(&str, &str)],
    ) -> Result<String, CliError> {
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form {
            body.append_pair(name, value);
        }
        let mut request = agent().post(self.address(path)).content_type("application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.read(request.send(body.finish()))
    }

    pub fn get(&self, path: &str) -> Result<String, CliError> {
        self.read(agent().get(self.address(path)).call())
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    fn read(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<String, CliError> {
        let unreachable =
            |source| CliError::Unreachable { url: self.url.to_owned(), source: Box::new(source) };
        let mut response = answer.map_err(unreachable)?;
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(unreachable)?;
        if response.status().is_success() {
            return Ok(text);
        }
        match (self.error_of)(&text) {
            Some(message) => Err(CliError::Refused(message)),
            None => Err(self.misunderstood()),
        }
    }

    pub fn misunderstood(&self) -> CliError {
        CliError::NotIcecore { url: self.url.to_owned() }
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    config.build().into()
}
