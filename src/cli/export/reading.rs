//! Samples from the server. A read that is more than the server gives at once is asked for in halves.

use std::thread;
use std::time::Duration;

use prost::Message;

use super::ExportError;
use crate::cli::CliError;
use crate::cli::client::{Client, ReadAnswer};
use crate::exchange::stream::{SeriesFrame, StreamError, read_frames};
use crate::model::Timestamp;
use crate::wire::remote_read::read_request::ResponseType;
use crate::wire::remote_read::{LabelMatcher, Query, ReadRequest};

/// How often a server that is busy is asked again, a second later each time.
const TRIES_MAX: u32 = 60;

pub struct Reading<'a> {
    pub client: &'a Client<'a>,
    /// What is exported, both ends included.
    pub range: (Timestamp, Timestamp),
}

impl Reading<'_> {
    /// Hands over the samples of a range, both ends included, series by series; of a large one, part by part.
    pub fn read(
        &self,
        matchers: &[LabelMatcher],
        (start, end): (Timestamp, Timestamp),
        take: &mut impl FnMut(SeriesFrame) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        // The last is the next to be read; where nothing is selected there is none.
        let mut parts = if start <= end { vec![(start, end)] } else { Vec::new() };
        while let Some((start, end)) = parts.pop() {
            if self.read_part(matchers, (start, end), take)? {
                continue;
            }
            let middle = start + (end - start) / 2;
            parts.extend([(middle + 1, end), (start, middle)]);
        }
        Ok(())
    }

    /// Whether the server did give so much at once.
    fn read_part(
        &self,
        matchers: &[LabelMatcher],
        (start, end): (Timestamp, Timestamp),
        take: &mut impl FnMut(SeriesFrame) -> Result<(), ExportError>,
    ) -> Result<bool, ExportError> {
        let query = Query {
            start_timestamp_ms: start,
            end_timestamp_ms: end,
            matchers: matchers.to_vec(),
            hints: None,
        };
        let types = vec![ResponseType::StreamedXorChunks.into()];
        let request = ReadRequest { queries: vec![query], accepted_response_types: types }.encode_to_vec();
        let body =
            snap::raw::Encoder::new().compress_vec(&request).expect("a request is far below snappy's 4 GiB");
        for _ in 0..TRIES_MAX {
            match self.client.read_samples(&body)? {
                ReadAnswer::Stream(stream) => {
                    read_frames(stream, |frame| take(frame).map_err(Stopped::Taker))?;
                    return Ok(true);
                }
                ReadAnswer::TooMuch(reason) if start == end => return Err(CliError::Refused(reason).into()),
                ReadAnswer::TooMuch(_) => return Ok(false),
                ReadAnswer::Busy => thread::sleep(Duration::from_secs(1)),
            }
        }
        Err(CliError::Refused("the server is busy".to_owned()).into())
    }
}

/// Who reads frames, or who takes them.
enum Stopped {
    Stream(StreamError),
    Taker(ExportError),
}

impl From<StreamError> for Stopped {
    fn from(error: StreamError) -> Stopped {
        Stopped::Stream(error)
    }
}

impl From<Stopped> for ExportError {
    fn from(stopped: Stopped) -> ExportError {
        match stopped {
            Stopped::Stream(error) => CliError::Refused(error.to_string()).into(),
            Stopped::Taker(error) => error,
        }
    }
}
