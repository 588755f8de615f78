//! Answers are packed where connections are served, while they are sent: some tens of milliseconds of work for a long one,
//! in which whoever else is served there would wait.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// As long as a light request takes.
const WORK_MAX: Duration = Duration::from_millis(1);

/// Has others served between pieces of a packed answer.
pub async fn give_way(answer: Response) -> Response {
    if !answer.headers().contains_key(header::CONTENT_ENCODING) {
        return answer;
    }
    answer.map(|body| Body::new(Packed { body, worked: Duration::ZERO }))
}

struct Packed {
    body: Body,
    /// Since it gave way last.
    worked: Duration,
}

impl hyper::body::Body for Packed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.worked >= WORK_MAX {
            self.worked = Duration::ZERO;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let started = Instant::now();
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.worked += started.elapsed();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::Waker;

    use super::*;

    /// Each of its pieces takes as long as others may wait.
    struct Slow {
        left: usize,
    }

    impl hyper::body::Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::thread::sleep(WORK_MAX);
            let is_left = self.left > 0;
            self.left = self.left.saturating_sub(1);
            Poll::Ready(is_left.then(|| Ok(Frame::data(Bytes::from_static(b"piece")))))
        }
    }

    /// Pieces, and how often others had their turn.
    async fn served(encoding: &'static str) -> (usize, usize) {
        let mut answer = Response::new(Body::new(Slow { left: 3 }));
        if !encoding.is_empty() {
            answer.headers_mut().insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
        }
        let mut body = give_way(answer).await.into_body();
        let (mut pieces, mut pauses) = (0, 0);
        loop {
            let polled =
                hyper::body::Body::poll_frame(Pin::new(&mut body), &mut Context::from_waker(Waker::noop()));
            match polled {
                Poll::Pending => pauses += 1,
                Poll::Ready(Some(frame)) => pieces += frame.unwrap().into_data().unwrap().len() / 5,
                Poll::Ready(None) => return (pieces, pauses),
            }
        }
    }

    #[tokio::test]
    async fn others_have_their_turn_between_the_pieces_of_a_packed_answer() {
        assert_eq!(served("gzip").await, (3, 3));
        assert_eq!(served("").await, (3, 0));
    }
}
