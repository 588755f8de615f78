//! How a query is run: within its budget, listed while it runs, and where.
//!
//! A light one runs on the thread that received it: to wake another one, and then this one again, takes longer than
//! most of them do. What is light is known from the last time; who then takes longer than [`IN_PLACE_MAX`] has kept
//! that thread from others for long enough, and begins anew on a thread of the pool, like all that are not light.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{IntCounterVec, Opts, Registry};

use super::Api;
use super::error::ApiError;
use super::form::Form;
use super::light::LightQueries;
use super::origin::Origin;
use super::query_log::{LogEntry, Waiting};
use super::running::{query_text, running_query};
use crate::query::{Budget, LIGHT_MAX};

/// Longer than a light query takes, since it may have to wait for the processor.
const IN_PLACE_MAX: Duration = LIGHT_MAX.saturating_mul(5);

/// Of queries that run where they were received.
pub struct InPlace {
    light: LightQueries,
    runs: IntCounterVec,
}

impl InPlace {
    pub fn new(registry: &Registry) -> InPlace {
        const ONCE: &str = "the name is valid and registered once";
        let opts = Opts::new(
            "icecore_queries_in_place_total",
            "Queries run by the thread that received them, and whether they ended there or were handed over to the pool.",
        );
        let runs = IntCounterVec::new(opts, &["end"]).expect(ONCE);
        registry.register(Box::new(runs.clone())).expect(ONCE);
        InPlace { light: LightQueries::default(), runs }
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
    let asked = form.optional_duration("timeout")?.map(|ms| Duration::from_millis(ms.max(0) as u64));
    let timeout = asked.unwrap_or(Duration::MAX).min(api.options.query_timeout);
    let deadline = Instant::now() + timeout;
    let question = api.in_place.light.question(Origin::current().uri.path(), form);
    if timeout > IN_PLACE_MAX && api.in_place.light.has(question) {
        let budget = budget(api, Instant::now() + IN_PLACE_MAX).on_trial();
        let result = run_in_place(api, form, &budget, || job(api, &budget, entry.clone()));
        api.in_place.light.took(question, budget.running_time());
        let is_over = result.is_err() && budget.outran_its_trial();
        api.in_place.runs.with_label_values(&[if is_over { "handed_over" } else { "ended" }]).inc();
        if !is_over {
            return result;
        }
    }
    let budget = budget(api, deadline);
    let result = run_in_pool(api, form, &budget, entry, job).await;
    api.in_place.light.took(question, budget.running_time());
    result
}

fn budget(api: &Api, deadline: Instant) -> Budget {
    Budget::new(deadline, api.options.query_limits).drawing_on(&api.memory)
}

fn run_in_place<T>(
    api: &Api,
    form: &Form,
    budget: &Budget,
    job: impl FnOnce() -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let _listed = api.running.enter(running_query(api, query_text(form)), budget);
    budget.begins(Duration::ZERO);
    catch_unwind(AssertUnwindSafe(job)).map_err(|_| ApiError::Panicked)?
}

async fn run_in_pool<T: Send + 'static>(
    api: &Arc<Api>,
    form: &Form,
    budget: &Budget,
    entry: Option<LogEntry>,
    job: impl Fn(&Api, &Budget, Option<LogEntry>) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let listed = api.running.enter(running_query(api, query_text(form)), budget);
    let waiting = Waiting::new(api, budget, entry);
    let (worker, begins) = (api.clone(), waiting.clone());
    let job = move |budget: &Budget| {
        // Listed until it is done: that may be after its client stopped waiting.
        let _listed = listed;
        job(&worker, budget, begins.begins())
    };
    api.workers.query(budget.clone(), job).await.inspect_err(|error| waiting.ends(error))?
}
