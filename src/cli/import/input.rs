//! Where samples come from, and as what they are read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::Format;
use crate::cli::CliError;
use crate::exchange::Batch;
use crate::exchange::json_lines;
use crate::exchange::text::{self, TextError, Times};
use crate::exchange::tsdb::{Block, BlockError, BlockReader, find_blocks};

/// Why an input could not be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Block(#[from] BlockError),
}

/// Something that can be opened.
pub struct Source {
    name: String,
    kind: Kind,
    /// Its length, where it has one.
    pub bytes: Option<u64>,
}

enum Kind {
    Stdin(Option<Format>),
    File(Option<Format>),
    Block(Block),
}

/// What a path means; a directory may mean several blocks. Looked at before anything is sent, so that a mistyped path is
/// told at once.
pub fn sources(path: &str, format: Option<Format>) -> Result<Vec<Source>, CliError> {
    if path == "-" {
        return Ok(vec![Source { name: "stdin".to_owned(), kind: Kind::Stdin(format), bytes: None }]);
    }
    let found = std::fs::metadata(path).map_err(|error| at(path, error))?;
    if found.is_dir() {
        let blocks = find_blocks(Path::new(path)).map_err(|error| at(path, error))?;
        let source = |block: Block| Source {
            name: block.path.to_string_lossy().into_owned(),
            bytes: Some(block.bytes),
            kind: Kind::Block(block),
        };
        return Ok(blocks.into_iter().map(source).collect());
    }
    let kind = Kind::File(format.or_else(|| format_by_name(path)));
    Ok(vec![Source { name: path.to_owned(), kind, bytes: Some(found.len()) }])
}

impl Source {
    pub fn open(&self) -> Result<Input, CliError> {
        let text = |text| Reads::Text(Box::new(text));
        let opened = match &self.kind {
            Kind::Stdin(format) => TextInput::open(io::stdin().lock(), *format).map(text),
            Kind::File(format) => File::open(&self.name)
                .map_err(InputError::from)
                .and_then(|file| TextInput::open(file, *format))
                .map(text),
            Kind::Block(block) => BlockReader::open(block)
                .map(|reader| Reads::Block { reader: Box::new(reader), bytes: block.bytes })
                .map_err(InputError::from),
        };
        let reads = opened.map_err(|error| at(&self.name, error))?;
        Ok(Input { name: self.name.clone(), reads })
    }
}

/// An open source.
pub struct Input {
    name: String,
    reads: Reads,
}

enum Reads {
    Text(Box<TextInput>),
    Block { reader: Box<BlockReader>, bytes: u64 },
}

impl Input {
    /// As the readers' `fill`. The batch says where it was read.
    pub fn fill(&mut self, batch: &mut Batch) -> Result<bool, CliError> {
        let filled = match &mut self.reads {
            Reads::Text(text) => text.fill(batch).map_err(InputError::from),
            Reads::Block { reader, .. } => reader.fill(batch).map_err(InputError::from),
        };
        batch.origin = format!("{}, {}", self.name, batch.origin);
        filled.map_err(|error| at(&self.name, error))
    }

    /// Of the file, compressed as it may be; of blocks about so many.
    pub fn bytes_read(&self) -> u64 {
        match &self.reads {
            Reads::Text(text) => text.bytes_read.load(Ordering::Relaxed),
            Reads::Block { reader, bytes } => (reader.share_read() * *bytes as f64) as u64,
        }
    }

    /// Tells what is to be known about an input that was read to its end.
    pub fn finish(&self) {
        if let Reads::Text(text) = &self.reads {
            text.remarks().iter().for_each(|remark| eprintln!("icecore: {}: {remark}", self.name));
        }
    }
}

const BUFFER_BYTES: usize = 256 << 10;

struct TextInput {
    reader: TextReader,
    /// Whether its format was told, and not guessed.
    is_told: bool,
    bytes_read: Arc<AtomicU64>,
}

enum TextReader {
    Exposition(text::Reader<Box<dyn BufRead>>),
    JsonLines(json_lines::Reader<Box<dyn BufRead>>),
}

impl TextInput {
    fn open(input: impl Read + 'static, format: Option<Format>) -> Result<TextInput, InputError> {
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted { inner: input, bytes_read: bytes_read.clone() };
        let mut input = unzipped(BufReader::with_capacity(BUFFER_BYTES, counted))?;
        let is_json =
            format == Some(Format::Jsonl) || format.is_none() && json_lines::begins(input.fill_buf()?);
        let times = match format {
            Some(Format::Openmetrics) => Some(Times::Seconds),
            Some(Format::Prometheus) => Some(Times::Milliseconds),
            Some(Format::Jsonl) | None => None,
        };
        let reader = match is_json {
            true => TextReader::JsonLines(json_lines::Reader::new(input)),
            false => TextReader::Exposition(text::Reader::new(input, times)),
        };
        Ok(TextInput { reader, is_told: format.is_some(), bytes_read })
    }

    fn fill(&mut self, batch: &mut Batch) -> Result<bool, TextError> {
        match &mut self.reader {
            TextReader::Exposition(reader) => reader.fill(batch),
            TextReader::JsonLines(reader) => reader.fill(batch),
        }
    }

    fn remarks(&self) -> Vec<String> {
        let TextReader::Exposition(reader) = &self.reader else { return Vec::new() };
        let Some(times) = reader.times() else { return vec!["no samples in it".to_owned()] };
        let mut remarks = Vec::new();
        if !self.is_told {
            let (unit, format) = match times {
                Times::Seconds => ("seconds", "openmetrics"),
                Times::Milliseconds => ("milliseconds", "prometheus"),
            };
            remarks.push(format!("read as {format}, timestamps in {unit} (--format)"));
        }
        if times == Times::Seconds && !reader.has_end() {
            remarks.push("ends without # EOF; is that all of it?".to_owned());
        }
        remarks
    }
}

fn at(name: &str, error: impl Into<InputError>) -> CliError {
    CliError::Input { name: name.to_owned(), source: Box::new(error.into()) }
}

/// By the extension, below `.gz` if need be.
fn format_by_name(path: &str) -> Option<Format> {
    let path = Path::new(path.strip_suffix(".gz").unwrap_or(path));
    match path.extension()?.to_str()? {
        "om" | "openmetrics" => Some(Format::Openmetrics),
        "prom" => Some(Format::Prometheus),
        "jsonl" => Some(Format::Jsonl),
        _ => None,
    }
}

/// Whatever its name: gzip's first two bytes are those of no text.
fn unzipped(mut input: impl BufRead + 'static) -> io::Result<Box<dyn BufRead>> {
    let is_gzip = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(match is_gzip {
        true => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(input))),
        false => Box::new(input),
    })
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    bytes_read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.bytes_read.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}
