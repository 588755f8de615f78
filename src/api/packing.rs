//! Answers are packed where connections are served, while they are sent: some tens of milliseconds of work for a long one,
//! in which whoever else is served there would wait.

use std::future::Future;
use std::pin::{Pin, pin};
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
            // Comes back to this task after who waits, and after a look at what has just arrived.
            let _ = pin!(tokio::task::yield_now()).poll(context);
            return Poll::Pending;
        }
        let started = Instant::now();
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.worked = if frame.is_pending() { Duration::ZERO } else { self.worked + started.elapsed() };
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
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    /// What the others saw of an answer that is being sent: how many pieces were through, at each of their turns.
    async fn seen_by_others(encoding: &'static str) -> Vec<usize> {
        let mut answer = Response::new(Body::new(Slow { left: 3 }));
        if !encoding.is_empty() {
            answer.headers_mut().insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
        }
        let (mut body, sent) = (give_way(answer).await.into_body(), Arc::new(AtomicUsize::new(0)));
        let seen = sent.clone();
        let others = tokio::spawn(async move {
            let mut turns = Vec::new();
            while turns.last() != Some(&usize::MAX) {
                turns.push(seen.load(Ordering::Relaxed));
                tokio::task::yield_now().await;
            }
            turns
        });
        while let Some(frame) =
            poll_fn(|context| hyper::body::Body::poll_frame(Pin::new(&mut body), context)).await
        {
            assert_eq!(frame.unwrap().into_data().unwrap(), "piece");
            sent.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(sent.swap(usize::MAX, Ordering::Relaxed), 3);
        others.await.unwrap()
    }

    #[tokio::test]
    async fn others_have_their_turn_between_the_pieces_of_a_packed_answer() {
        let turns = seen_by_others("gzip").await;
        assert!((1..=3).all(|sent| turns.contains(&sent)), "{turns:?}");
        assert_eq!(seen_by_others("").await, [usize::MAX]);
    }
}
