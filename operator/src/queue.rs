//! A work queue: what is to be looked at, each thing once, again later where it failed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Wait after the first failure; it doubles with each further one.
pub const FIRST_RETRY: Duration = Duration::from_millis(200);
/// The longest wait.
pub const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How long to wait after a failure, when so many went before.
pub fn retry(failures: u32) -> Duration {
    let wait = FIRST_RETRY.saturating_mul(1 << failures.min(16));
    wait.min(LONGEST_RETRY)
}

/// Keys that wait for a worker. A key that is being worked on is not given to a second worker; where it
/// is asked for meanwhile, it comes again.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    waiting: HashSet<K>,
    working: HashSet<K>,
    /// Asked for while somebody works on it.
    again: HashSet<K>,
    failures: HashMap<K, u32>,
    delayed: Delayed<K>,
}

/// What is to be looked at later, by time: there may be as many as there are agents and tools.
#[derive(Debug)]
struct Delayed<K> {
    by_time: BTreeMap<(Instant, u64), K>,
    times: HashMap<K, Due>,
    /// Those of them that are there because they failed.
    retries: usize,
    /// Tells apart what is due at the same time.
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    at: (Instant, u64),
    retry: bool,
}

impl<K> Default for Delayed<K> {
    fn default() -> Self {
        Self {
            by_time: BTreeMap::new(),
            times: HashMap::new(),
            retries: 0,
            next: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> Delayed<K> {
    fn set(&mut self, key: K, at: Instant, retry: bool) {
        self.remove(&key);
        let at = (at, self.next);
        self.next += 1;
        self.retries += usize::from(retry);
        self.by_time.insert(at, key.clone());
        self.times.insert(key, Due { at, retry });
    }

    fn remove(&mut self, key: &K) {
        if let Some(due) = self.times.remove(key) {
            self.retries -= usize::from(due.retry);
            self.by_time.remove(&due.at);
        }
    }

    fn at(&self, key: &K) -> Option<Instant> {
        self.times.get(key).map(|due| due.at.0)
    }

    fn first(&self) -> Option<Instant> {
        self.by_time.keys().next().map(|(at, _)| *at)
    }

    fn due(&mut self, now: Instant) -> Option<K> {
        self.first().filter(|at| *at <= now)?;
        let key = self.by_time.values().next()?.clone();
        self.remove(&key);
        Some(key)
    }
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                waiting: HashSet::new(),
                working: HashSet::new(),
                again: HashSet::new(),
                failures: HashMap::new(),
                delayed: Delayed::default(),
            }),
            changed: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Asks for a key to be looked at.
    pub fn add(&self, key: K) {
        let mut state = self.state.lock();
        if state.working.contains(&key) {
            state.again.insert(key);
        } else if state.waiting.insert(key.clone()) {
            state.ready.push_back(key);
            self.changed.notify_one();
        }
    }

    /// Waits for a key. Who takes it says how it went with [`Queue::done`] or [`Queue::failed`].
    pub async fn next(&self) -> K {
        loop {
            let wake = {
                let mut state = self.state.lock();
                let now = Instant::now();
                while let Some(key) = state.delayed.due(now) {
                    if state.working.contains(&key) {
                        state.again.insert(key);
                    } else if state.waiting.insert(key.clone()) {
                        state.ready.push_back(key);
                    }
                }
                if let Some(key) = state.ready.pop_front() {
                    state.waiting.remove(&key);
                    state.delayed.remove(&key);
                    state.working.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.delayed.first()
            };
            match wake {
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// The key was dealt with.
    pub fn done(&self, key: &K) {
        let mut state = self.state.lock();
        state.failures.remove(key);
        state.working.remove(key);
        self.take_again(&mut state, key);
    }

    /// The key could not be dealt with: it comes again after a wait, or as soon as somebody asks.
    pub fn failed(&self, key: &K) {
        let mut state = self.state.lock();
        let failures = state.failures.entry(key.clone()).or_default();
        let wait = retry(*failures);
        *failures += 1;
        state.working.remove(key);
        state.again.remove(key);
        let at = Instant::now() + wait;
        state.delayed.set(key.clone(), at, true);
        self.changed.notify_one();
    }

    /// Asks for a key to be looked at again at some time, or sooner where somebody asks. An earlier time that
    /// was asked for stands.
    pub fn later(&self, key: K, at: Instant) {
        let mut state = self.state.lock();
        if state.delayed.at(&key).is_none_or(|due| at < due) {
            state.delayed.set(key, at, false);
            self.changed.notify_one();
        }
    }

    /// Keys that wait for a worker, and those that have failed and wait for their next attempt.
    pub fn len(&self) -> usize {
        let state = self.state.lock();
        state.waiting.len() + state.delayed.retries
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take_again(&self, state: &mut State<K>, key: &K) {
        if state.again.remove(key) && state.waiting.insert(key.clone()) {
            state.ready.push_back(key.clone());
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once() {
        let queue = Queue::default();
        for key in ["a", "b", "a"] {
            queue.add(key);
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.next().await, "a");
        assert_eq!(queue.next().await, "b");
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_worked_on_comes_again_afterwards() {
        let queue = Queue::default();
        queue.add("a");
        queue.next().await;
        queue.add("a");
        queue.add("a");
        assert!(queue.is_empty(), "nobody else gets it");
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_for_later_comes_then_or_sooner() {
        let queue = Queue::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        queue.later("a", at(5));
        queue.later("a", at(3));
        queue.later("a", at(9));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed(), Duration::from_secs(3));
        // While it is worked on, and then somebody asks.
        queue.later("a", at(9));
        queue.done(&"a");
        queue.add("a");
        queue.next().await;
        queue.done(&"a");
        assert_eq!(start.elapsed(), Duration::from_secs(3));
        assert!(
            queue.is_empty(),
            "whoever looked says anew when to look again"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_and_longer() {
        let queue = Queue::default();
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..12 {
            let before = Instant::now();
            queue.next().await;
            waits.push(before.elapsed());
            queue.failed(&"a");
        }
        assert_eq!(waits[1], FIRST_RETRY);
        assert_eq!(waits[2], FIRST_RETRY * 2);
        assert_eq!(waits[11], LONGEST_RETRY);
        queue.next().await;
        queue.done(&"a");
        queue.add("a");
        queue.next().await;
        queue.failed(&"a");
        let before = Instant::now();
        queue.next().await;
        assert_eq!(before.elapsed(), FIRST_RETRY, "success forgets failures");
    }
}
