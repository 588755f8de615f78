//! One question to a running server over HTTP.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use ureq::Body;
use ureq::http::Response;

use serde_json::Value;

use super::CliError;

/// Beyond the server's own time-out, so that its error is what people see.
const PATIENCE: Duration = Duration::from_secs(150);
/// The longest answer the server gives by default.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// What a server says to a batch of samples.
pub enum WriteAnswer {
    /// It has them, but for some.
    Taken { refused: u64, reasons: String },
    /// It has no room now.
    Later { after: Duration, reason: String },
    /// It does not understand them, whenever they come.
    Refused(String),
}

/// What a server says to a remote read.
pub enum ReadAnswer {
    /// Frames of chunks.
    Stream(Box<dyn BufRead>),
    /// It does not give so much at once.
    TooMuch(String),
    /// It has other things to do now.
    Busy,
}

/// However long a server asks to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

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

    /// Sends history by remote write 2.0.
    pub fn write(&self, body: &[u8]) -> Result<WriteAnswer, CliError> {
        let request = agent()
            .post(self.address("/api/v1/write?backfill=1"))
            .content_type("application/x-protobuf;proto=io.prometheus.write.v2.Request")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "2.0.0");
        let mut response = request.send(body).map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(WriteAnswer::Taken { refused: 0, reasons: String::new() });
        }
        let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = response.body_mut().read_to_string().map_err(|source| self.unreachable(source))?;
        let reason = (self.error_of)(&text).ok_or_else(|| self.misunderstood())?;
        if matches!(status.as_u16(), 429 | 503) {
            let after = Duration::from_secs(wait.unwrap_or(1)).min(RETRY_AFTER_MAX);
            return Ok(WriteAnswer::Later { after, reason });
        }
        let refused =
            serde_json::from_str::<Value>(&text).ok().and_then(|text| text["data"]["rejected"].as_u64());
        Ok(match refused.filter(|refused| *refused > 0) {
            Some(refused) => WriteAnswer::Taken { refused, reasons: reason },
            None => WriteAnswer::Refused(reason),
        })
    }

    /// Asks by remote read for streamed chunks.
    pub fn read_samples(&self, body: &[u8]) -> Result<ReadAnswer, CliError> {
        let request = patient_agent()
            .post(self.address("/api/v1/read"))
            .content_type("application/x-protobuf")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-read-version", "0.1.0");
        let mut response = request.send(body).map_err(|source| self.unreachable(source))?;
        let status = response.status();
        let is_stream = |value: &str| value.starts_with("application/x-streamed-protobuf");
        let content_type = response.headers().get("content-type");
        if status.is_success() && content_type.and_then(|value| value.to_str().ok()).is_some_and(is_stream) {
            return Ok(ReadAnswer::Stream(Box::new(BufReader::new(response.into_body().into_reader()))));
        }
        let reason = response.body_mut().read_to_string().map_err(|source| self.unreachable(source))?;
        let reason = reason.trim().to_owned();
        match status.as_u16() {
            429 | 503 => Ok(ReadAnswer::Busy),
            // More memory than a query may hold.
            422 => Ok(ReadAnswer::TooMuch(reason)),
            400 if reason.contains("exceeded sample limit") => Ok(ReadAnswer::TooMuch(reason)),
            400..500 if !reason.starts_with('<') => Err(CliError::Refused(reason)),
            _ => Err(self.misunderstood()),
        }
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }

    fn read(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<String, CliError> {
        let mut response = answer.map_err(|source| self.unreachable(source))?;
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(|source| self.unreachable(source))?;
        if response.status().is_success() {
            return Ok(text);
        }
        match (self.error_of)(&text) {
            Some(message) => Err(CliError::Refused(message)),
            None => Err(self.misunderstood()),
        }
    }

    fn unreachable(&self, source: ureq::Error) -> CliError {
        CliError::Unreachable { url: self.url.to_owned(), source: Box::new(source) }
    }

    pub fn misunderstood(&self) -> CliError {
        CliError::NotIcecore { url: self.url.to_owned() }
    }
}

/// For answers that last as long as they are read.
fn patient_agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().timeout_recv_response(Some(PATIENCE)).http_status_as_error(false);
    config.build().into()
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
    config.build().into()
}
