//! How a query is run: within its budget, listed while it runs, and where.
//!
//! A light one runs on the thread that received it: to wake another one, and then this one again, takes longer than
//! most of them do. What is light is known from the last time; who then takes longer than [`IN_PLACE_MAX`] has kept
//! that thread from others for long enough, and begins anew on a thread of the pool, like all that are not light.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Api;
use super::error::ApiError;
use super::form::Form;
use super::light::{LightQueries, Question};
use super::origin::Origin;
use super::query_log::{LogEntry, Waiting};
use super::running::{query_text, running_query};
use crate::query::{Budget, LIGHT_MAX, Listed};

/// Longer than a light query takes, since it may have to wait for the processor.
const IN_PLACE_MAX: Duration = LIGHT_MAX.saturating_mul(5);

/// What runs where it was received.
pub struct InPlace {
    light: LightQueries,
    places: Semaphore,
    runs: IntCounterVec,
}

impl InPlace {
    /// With so many threads that receive, of which one is always left to others.
    pub fn new(threads: usize, registry: &Registry) -> InPlace {
        const ONCE: &str = "the name is valid and registered once";
        let opts = Opts::new(
            "icecore_queries_in_place_total",
            "Queries run by the thread that received them, and whether they ended there or were handed over to the pool.",
        );
        let runs = IntCounterVec::new(opts, &["end"]).expect(ONCE);
        registry.register(Box::new(runs.clone())).expect(ONCE);
        let places = Semaphore::new(threads.saturating_sub(1));
        InPlace { light: LightQueries::default(), places, runs }
    }

    /// The right to run here and now, if the question is light.
    fn place_for(&self, question: Question) -> Option<SemaphorePermit<'_>> {
        if self.light.has(question) { self.places.try_acquire().ok() } else { None }
    }

    /// What several threads did, or should have, would take one of them longer; what failed at once tells nothing.
    fn ended(&self, question: Question, is_answer: bool, took: Duration, budget: &Budget) {
        if is_answer || took > LIGHT_MAX {
            self.light.took(question, if budget.wants_threads() { Duration::MAX } else { took });
        }
    }
}

/// Runs `job` within the budget that options and `timeout` give it: perhaps twice, to be answered once.
pub async fn run_query<T: Send + 'static>(
    api: &Arc<Api>,
    form: &Form,
    job: impl Fn(&Api, &Budget) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    run_logged_query(api, form, None, move |api, budget, _| job(api, budget)).await
}

/// The same for a query that the query log will have: `job` writes the entry, but for one that gets no turn.
pub async fn run_logged_query<T: Send + 'static>(
    api: &Arc<Api>,
    form: &Form,
    entry: Option<LogEntry>,
    job: impl Fn(&Api, &Budget, Option<LogEntry>) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let (began, timeout) = (Instant::now(), timeout(api, form)?);
    let budget = new_budget(api, began + timeout);
    let listed = api.running.enter(running_query(api, query_text(form)), &budget);
    let question = api.in_place.light.question(Origin::current().uri.path(), form, api.clock.now_ns());
    if timeout > IN_PLACE_MAX
        && let Some(place) = api.in_place.place_for(question)
    {
        let trial = new_budget(api, began + IN_PLACE_MAX).on_trial();
        listed.begins_anew(&trial);
        if let Some(result) = run_in_place(api, question, &trial, || job(api, &trial, entry.clone())) {
            entry.inspect(|entry| entry.ended_on_trial(api));
            return result;
        }
        listed.begins_anew(&budget);
        drop(place);
    }
    let job = move |api: &Api, budget: &Budget, entry| {
        // A thread has woken up; that is not the query's time.
        let began = Instant::now();
        let result = job(api, budget, entry);
        api.in_place.ended(question, result.is_ok(), began.elapsed(), budget);
        result
    };
    run_in_pool(api, &budget, listed, entry, job).await
}

/// The same for what never looks at its budget, and so could not be handed over.
pub async fn run_in_one_piece<T: Send + 'static>(
    api: &Arc<Api>,
    form: &Form,
    job: impl FnOnce(&Api) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let budget = new_budget(api, Instant::now() + timeout(api, form)?);
    let listed = api.running.enter(running_query(api, query_text(form)), &budget);
    run_in_pool(api, &budget, listed, None, |api, _, _| job(api)).await
}

/// That of the options, if the client does not want less.
fn timeout(api: &Api, form: &Form) -> Result<Duration, ApiError> {
    let asked = form.optional_duration("timeout")?.map(|ms| Duration::from_millis(ms.max(0) as u64));
    Ok(asked.unwrap_or(Duration::MAX).min(api.options.query_timeout))
}

fn new_budget(api: &Api, deadline: Instant) -> Budget {
    Budget::new(deadline, api.options.query_limits).drawing_on(&api.memory)
}

/// `None` if it shall begin anew.
fn run_in_place<T>(
    api: &Api,
    question: Question,
    trial: &Budget,
    job: impl FnOnce() -> Result<T, ApiError>,
) -> Option<Result<T, ApiError>> {
    trial.begins(Duration::ZERO);
    let result = catch_unwind(AssertUnwindSafe(job)).unwrap_or(Err(ApiError::Panicked));
    api.in_place.ended(question, result.is_ok(), trial.running_time(), trial);
    let is_over = trial.outran_its_trial();
    api.in_place.runs.with_label_values(&[if is_over { "handed_over" } else { "ended" }]).inc();
    (!is_over).then_some(result)
}

async fn run_in_pool<T: Send + 'static>(
    api: &Arc<Api>,
    budget: &Budget,
    listed: Listed,
    entry: Option<LogEntry>,
    job: impl FnOnce(&Api, &Budget, Option<LogEntry>) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let waiting = Waiting::new(api, budget, entry);
    let (worker, begins) = (api.clone(), waiting.clone());
    let job = move |budget: &Budget| {
        // Listed until it is done: that may be after its client stopped waiting.
        let _listed = listed;
        job(&worker, budget, begins.begins())
    };
    api.workers.query(budget.clone(), job).await.inspect_err(|error| waiting.ends(error))?
}
