//! The first request line of a connection as people type it: `curl -g 'http://…/api/v1/query?query=up{job="a"}>0'` sends
//! `"`, `<`, `>` and bytes beyond ASCII as they are. Go's servers take that, hyper does not; so they are percent-encoded
//! before hyper reads them. Only the first line: to find the next one, one would have to know where a body ends, as hyper
//! does, and of two opinions about that requests are smuggled. Programs, which keep connections, encode what they send.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A longer line is left to hyper, which refuses it.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A connection whose first line is mended.
pub struct Mended<S> {
    stream: S,
    first: FirstLine,
}

enum FirstLine {
    /// What came of it so far.
    Reading(Vec<u8>),
    /// Mended, with what came behind it, and how much of that hyper has read.
    Giving(Vec<u8>, usize),
    Given,
}

impl<S> Mended<S> {
    pub fn new(stream: S) -> Mended<S> {
        Mended { stream, first: FirstLine::Reading(Vec::new()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let this = &mut *self;
            match &mut this.first {
                FirstLine::Given => return Pin::new(&mut this.stream).poll_read(cx, to),
                FirstLine::Giving(bytes, given) => {
                    let next = &bytes[*given..][..to.remaining().min(bytes.len() - *given)];
                    to.put_slice(next);
                    *given += next.len();
                    if *given == bytes.len() {
                        this.first = FirstLine::Given;
                    }
                    return Poll::Ready(Ok(()));
                }
                FirstLine::Reading(bytes) => {
                    let mut chunk = [0; 4096];
                    let mut read = ReadBuf::new(&mut chunk);
                    ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
                    let line_end = read.filled().iter().position(|&byte| byte == b'\n');
                    let line_end = line_end.map(|end| bytes.len() + end);
                    bytes.extend_from_slice(read.filled());
                    let is_over = read.filled().is_empty() || bytes.len() > LINE_BYTES_MAX;
                    if let Some(line_end) = line_end {
                        this.first = FirstLine::Giving(mend(bytes, line_end), 0);
                    } else if is_over {
                        this.first = FirstLine::Giving(std::mem::take(bytes), 0);
                    }
                }
            }
        }
    }
}

/// The bytes with those of the line percent-encoded that no URL may have as they are.
fn mend(bytes: &[u8], line_end: usize) -> Vec<u8> {
    let (line, rest) = bytes.split_at(line_end);
    let mut mended = Vec::with_capacity(bytes.len());
    for &byte in line {
        match byte {
            b'"' | b'<' | b'>' | 0x80.. => mended.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            _ => mended.push(byte),
        }
    }
    mended.extend_from_slice(rest);
    mended
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What comes out of a connection that these pieces are sent on.
    async fn read(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut sender, receiver) = tokio::io::duplex(64);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        tokio::spawn(async move {
            for piece in pieces {
                sender.write_all(&piece).await.unwrap();
            }
        });
        let mut read = Vec::new();
        Mended::new(receiver).read_to_end(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn the_first_line_is_encoded_and_nothing_behind_it() {
        let sent = ["GET /?query=up{job=\"ä\"}>0 HTTP/1.1\r\n", "a: \"<>\"\r\n\r\nGET /\" HTTP/1.1\r\n"];
        let expected =
            "GET /?query=up{job=%22%C3%A4%22}%3E0 HTTP/1.1\r\na: \"<>\"\r\n\r\nGET /\" HTTP/1.1\r\n";
        let pieces: Vec<&[u8]> = sent.iter().map(|text| text.as_bytes()).collect();
        assert_eq!(read(&pieces).await, expected.as_bytes());
        let bytes: Vec<&[u8]> = expected.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes).await, expected.as_bytes());
    }

    #[tokio::test]
    async fn what_is_no_line_passes_as_it_is() {
        let long = vec![b'"'; 3 * LINE_BYTES_MAX];
        for sent in [&b""[..], b"GET \"", &long] {
            assert_eq!(read(&[sent]).await, sent);
        }
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\"";
        assert_eq!(read(&[preface]).await, preface);
    }
}
