//! The bridge from async to sync for what may take long: two bounded pools, one for writes and one for queries.
//!
//! Each runs `running_max` jobs at once; as many times [`WAITING_PER_RUNNING`] wait for their turn; who comes then is
//! refused and told to come back. A client that goes away cancels its query's budget; its job ends at the next check.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::query::Budget;

const WAITING_PER_RUNNING: usize = 16;
/// How soon a query that waits notices that it was cancelled.
pub const QUEUE_CHECK: Duration = Duration::from_millis(20);

/// Waits for a turn for as long as the budget lasts.
pub async fn within<T>(budget: &Budget, turn: impl Future<Output = T>) -> Result<T, ApiError> {
    let mut turn = pin!(turn);
    loop {
        budget.check().map_err(|exceeded| ApiError::from(exceeded.in_queue()))?;
        if let Ok(turn) = tokio::time::timeout(QUEUE_CHECK, &mut turn).await {
            return Ok(turn);
        }
    }
}

pub struct Workers {
    writes: Pool,
    queries: Pool,
}

impl Workers {
    pub fn new(writes_max: usize, queries_max: usize, registry: &Registry) -> Workers {
        const ONCE: &str = "the name is valid and registered once";
        let pool = &["pool"];
        let admitted = Opts::new("icecore_worker_jobs", "Jobs running or waiting for a thread.");
        let admitted = IntGaugeVec::new(admitted, pool).expect(ONCE);
        let refused =
            Opts::new("icecore_worker_jobs_refused_total", "Jobs refused because too many were waiting.");
        let refused = IntCounterVec::new(refused, pool).expect(ONCE);
        registry.register(Box::new(admitted.clone())).expect(ONCE);
        registry.register(Box::new(refused.clone())).expect(ONCE);
        let pool = |name, running_max: usize| Pool {
            name,
            running: Arc::new(Semaphore::new(running_max)),
            admitted_max: running_max * (1 + WAITING_PER_RUNNING),
            admitted: admitted.with_label_values(&[name]),
            refused: refused.with_label_values(&[name]),
        };
        Workers { writes: pool("write", writes_max), queries: pool("query", queries_max) }
    }

    /// Runs a write on a pool thread.
    pub async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = self.writes.queue()?.turn().await;
        turn.run(job).await
    }

    /// Runs a query on a pool thread, within its budget: waiting for a free thread counts.
    pub async fn query<T: Send + 'static>(
        &self,
        budget: Budget,
        job: impl FnOnce(&Budget) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let queued_at = Instant::now();
        let turn = within(&budget, self.queries.queue()?.turn()).await?;
        budget.begins(queued_at.elapsed());
        let _gone = CancelOnDrop(budget.clone());
        turn.run(move || job(&budget)).await
    }
}

/// Cancels when the handler's future is dropped, which is what happens when its client goes away.
struct CancelOnDrop(Budget);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

struct Pool {
    name: &'static str,
    running: Arc<Semaphore>,
    admitted_max: usize,
    admitted: IntGauge,
    refused: IntCounter,
}

impl Pool {
    fn queue(&self) -> Result<Queued, ApiError> {
        // Taken before it is compared, so that of many who come at once only as many as fit find room.
        self.admitted.inc();
        let place = Place(self.admitted.clone());
        if self.admitted.get() > self.admitted_max as i64 {
            self.refused.inc();
            return Err(ApiError::PoolFull { pool: self.name, admitted_max: self.admitted_max });
        }
        Ok(Queued { running: self.running.clone(), place })
    }
}

/// One of the admitted jobs.
struct Place(IntGauge);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A place in the queue.
struct Queued {
    running: Arc<Semaphore>,
    place: Place,
}

impl Queued {
    async fn turn(self) -> Turn {
        let running = self.running.acquire_owned().await.expect("the pool's semaphore is never closed");
        Turn { _place: self.place, _running: running }
    }
}

/// The right to run, given back when the job is done: not when its client stops waiting.
struct Turn {
    _place: Place,
    _running: OwnedSemaphorePermit,
}

impl Turn {
    async fn run<T: Send + 'static>(self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let job = move || {
            let result = job();
            drop(self);
            result
        };
        tokio::task::spawn_blocking(job).await.map_err(|_| ApiError::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::query::Exceeded;
    use crate::query::budget::Limits;

    fn budget(time: Duration) -> Budget {
        let limits = Limits { samples_max: 1, series_max: 1, bytes_max: 1, log_bytes_max: 1 };
        Budget::new(Instant::now() + time, limits)
    }

    #[tokio::test]
    async fn who_comes_when_the_queue_is_full_is_refused() {
        let workers = Arc::new(Workers::new(1, 1, &Registry::new()));
        let (release, wait) = mpsc::channel::<()>();
        let first = workers.clone();
        let running = tokio::spawn(async move { first.write(move || wait.recv()).await });
        let mut waiting = Vec::new();
        for _ in 0..WAITING_PER_RUNNING {
            let workers = workers.clone();
            waiting.push(tokio::spawn(async move { workers.write(|| ()).await }));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let refused = workers.write(|| ()).await;
        assert!(matches!(refused, Err(ApiError::PoolFull { .. })));
        release.send(()).unwrap();
        assert!(running.await.unwrap().is_ok());
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn a_query_that_waits_past_its_deadline_times_out() {
        let workers = Arc::new(Workers::new(1, 1, &Registry::new()));
        let (release, wait) = mpsc::channel::<()>();
        let (first, long) = (workers.clone(), budget(Duration::from_secs(9)));
        let running = tokio::spawn(async move { first.query(long, move |_| wait.recv()).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        let late = workers.query(budget(Duration::from_millis(50)), |_| ()).await;
        assert_eq!(late.unwrap_err().to_string(), "query timed out in query queue");
        release.send(()).unwrap();
        assert!(running.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_client_that_leaves_cancels_its_query() {
        let workers = Workers::new(1, 1, &Registry::new());
        let budget = budget(Duration::from_secs(9));
        let seen = budget.clone();
        let (started, is_running) = tokio::sync::oneshot::channel();
        let query = workers.query(budget, move |budget| {
            started.send(()).unwrap();
            while budget.check() != Err(Exceeded::Cancelled) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        tokio::select! {
            _ = query => panic!("the query ended although nobody left"),
            _ = is_running => {}
        }
        assert_eq!(seen.check(), Err(Exceeded::Cancelled));
    }
}
