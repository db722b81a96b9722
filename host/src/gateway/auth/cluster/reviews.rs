//! Answers of the API server: asked for once, however many wait, and kept for a short time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::telemetry::Metrics;
use crate::telemetry::metrics::ReviewResult;

/// Time that one review may take, the wait for its turn included.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum Unreviewed {
    /// The API server does not answer, or does not answer the host.
    #[error(
        "the cluster's API server cannot be asked who you are and what you may do: try again in a moment"
    )]
    Away,
    /// Too many questions wait for their answers.
    #[error("too many callers wait for the cluster's API server: try again in a moment")]
    Busy,
}

/// An answer, and how long it counts.
pub(super) struct Fresh<V> {
    pub(super) value: V,
    /// A yes: it is kept apart from the noes, so that nobody can crowd it out with wrong questions.
    pub(super) yes: bool,
    pub(super) keep: Duration,
}

/// What bounds the answers of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Name of the kind in metrics.
    pub(super) kind: &'static str,
    /// Yeses that are kept.
    pub(super) yes: usize,
    /// Noes that are kept.
    pub(super) no: usize,
    /// Questions that may be open at the same time; further ones are refused.
    pub(super) open: usize,
}

type Open<V> = Shared<BoxFuture<'static, Result<V, Unreviewed>>>;

struct Kept<V> {
    value: V,
    until: Instant,
}

struct State<K, V> {
    yes: HashMap<K, Kept<V>>,
    no: HashMap<K, Kept<V>>,
    open: HashMap<K, Open<V>>,
}

/// Questions of type `K` and their answers.
pub(super) struct Reviews<K, V> {
    state: Arc<Mutex<State<K, V>>>,
    bounds: Bounds,
    metrics: Arc<Metrics>,
}

impl<K, V> Reviews<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new(bounds: Bounds, metrics: Arc<Metrics>) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                yes: HashMap::new(),
                no: HashMap::new(),
                open: HashMap::new(),
            })),
            bounds,
            metrics,
        }
    }

    /// The answer: the one that is kept, or the one that somebody asked for already, or that of `ask`.
    /// A failure is not kept.
    pub(super) async fn get<F>(&self, key: K, ask: impl FnOnce(&K) -> F) -> Result<V, Unreviewed>
    where
        F: Future<Output = Result<Fresh<V>, Unreviewed>> + Send + 'static,
    {
        let open = {
            let mut state = self.state.lock();
            let now = Instant::now();
            let kept = state.yes.get(&key).or_else(|| state.no.get(&key));
            if let Some(kept) = kept.filter(|kept| now < kept.until) {
                let value = kept.value.clone();
                drop(state);
                self.metrics.review(self.bounds.kind, ReviewResult::Kept);
                return Ok(value);
            }
            match state.open.get(&key) {
                Some(open) => open.clone(),
                None if state.open.len() >= self.bounds.open => {
                    drop(state);
                    self.metrics.review(self.bounds.kind, ReviewResult::Shed);
                    return Err(Unreviewed::Busy);
                }
                None => {
                    let open = self.begin(key.clone(), ask(&key));
                    state.open.insert(key, open.clone());
                    open
                }
            }
        };
        open.await
    }

    /// Asks in a task of its own: a caller that gives up does not take the answer from the others.
    fn begin(
        &self,
        key: K,
        ask: impl Future<Output = Result<Fresh<V>, Unreviewed>> + Send + 'static,
    ) -> Open<V> {
        let (state, bounds, metrics) = (self.state.clone(), self.bounds, self.metrics.clone());
        let task = tokio::spawn(async move {
            let ask = std::panic::AssertUnwindSafe(ask).catch_unwind();
            let answer = match tokio::time::timeout(PATIENCE, ask).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => Err(Unreviewed::Away),
            };
            metrics.review(
                bounds.kind,
                match &answer {
                    Ok(fresh) if fresh.yes => ReviewResult::Yes,
                    Ok(_) => ReviewResult::No,
                    Err(_) => ReviewResult::Failed,
                },
            );
            let mut state = state.lock();
            state.open.remove(&key);
            answer.map(|fresh| {
                state.keep(&bounds, key, &fresh);
                fresh.value
            })
        });
        let joined = async move { task.await.unwrap_or(Err(Unreviewed::Away)) };
        joined.boxed().shared()
    }
}

impl<K: Clone + Eq + Hash, V: Clone> State<K, V> {
    fn keep(&mut self, bounds: &Bounds, key: K, fresh: &Fresh<V>) {
        let now = Instant::now();
        // What was answered before does not count any more, whatever it was.
        self.yes.remove(&key);
        self.no.remove(&key);
        let (table, most) = if fresh.yes {
            (&mut self.yes, bounds.yes)
        } else {
            (&mut self.no, bounds.no)
        };
        if fresh.keep.is_zero() {
            return;
        }
        if table.len() >= most {
            table.retain(|_, kept| now < kept.until);
        }
        if table.len() >= most {
            let first = table.iter().min_by_key(|(_, kept)| kept.until);
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                table.remove(&first);
            }
        }
        let kept = Kept {
            value: fresh.value.clone(),
            until: now + fresh.keep,
        };
        table.insert(key, kept);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const BOUNDS: Bounds = Bounds {
        kind: "token",
        yes: 2,
        no: 2,
        open: 3,
    };

    fn reviews() -> Reviews<u32, u32> {
        Reviews::new(BOUNDS, Arc::new(Metrics::new()))
    }

    fn fresh(value: u32, yes: bool) -> Result<Fresh<u32>, Unreviewed> {
        Ok(Fresh {
            value,
            yes,
            keep: Duration::from_secs(10),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_is_asked_once_and_its_answer_kept_for_its_time() {
        let reviews = reviews();
        let asked = Arc::new(AtomicUsize::new(0));
        let get = || {
            let asked = asked.clone();
            reviews.get(1, move |_: &u32| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                asked.fetch_add(1, Ordering::Relaxed);
                fresh(7, true)
            })
        };
        let (a, b, c) = tokio::join!(get(), get(), get());
        assert_eq!((a, b, c), (Ok(7), Ok(7), Ok(7)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(get().await, Ok(7));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(get().await, Ok(7));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_does_not_take_the_answer_from_others() {
        let reviews = Arc::new(reviews());
        let first = {
            let reviews = reviews.clone();
            tokio::spawn(async move {
                let ask = |_: &u32| async {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    fresh(1, true)
                };
                reviews.get(1, ask).await
            })
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.abort();
        let second = reviews.get(1, |_: &u32| async { unreachable!("it is asked already") });
        assert_eq!(second.await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_not_kept_and_what_takes_too_long_is_one() {
        let reviews = reviews();
        let failed = reviews
            .get(1, |_: &u32| async { Err(Unreviewed::Away) })
            .await;
        assert_eq!(failed, Err(Unreviewed::Away));
        let slow = reviews.get(1, |_: &u32| async {
            tokio::time::sleep(PATIENCE * 2).await;
            fresh(1, true)
        });
        assert_eq!(slow.await, Err(Unreviewed::Away));
        let broken = reviews.get(1, |_: &u32| async { panic!("a fault of this test") });
        assert_eq!(broken.await, Err(Unreviewed::Away));
        assert_eq!(
            reviews.get(1, |_: &u32| async { fresh(2, true) }).await,
            Ok(2)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn noes_do_not_crowd_out_yeses_and_nothing_grows() {
        let reviews = reviews();
        assert_eq!(
            reviews.get(0, |_: &u32| async { fresh(0, true) }).await,
            Ok(0)
        );
        for n in 1..100 {
            let _ = reviews
                .get(n, |_: &u32| async move { fresh(n, false) })
                .await;
        }
        let asked = reviews.get(0, |_: &u32| async { unreachable!("it is kept") });
        assert_eq!(asked.await, Ok(0));
        for n in 100..200 {
            let _ = reviews
                .get(n, |_: &u32| async move { fresh(n, true) })
                .await;
        }
        let state = reviews.state.lock();
        assert_eq!(
            (state.yes.len(), state.no.len(), state.open.len()),
            (2, 2, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn open_questions_are_bounded() {
        let reviews = reviews();
        let slow = |n| {
            reviews.get(n, |_: &u32| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                fresh(0, true)
            })
        };
        let (a, b, c, d) = tokio::join!(slow(1), slow(2), slow(3), slow(4));
        assert_eq!((a, b, c), (Ok(0), Ok(0), Ok(0)));
        assert_eq!(d, Err(Unreviewed::Busy));
    }
}
