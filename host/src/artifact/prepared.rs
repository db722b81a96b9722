//! Components that are mapped and ready to be instantiated, a bounded number of them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ringfence_api::Digest;
use wasmtime::component::Component;

use super::inspect::Inspection;

/// Components that stay mapped after use.
pub const LOADED_COMPONENTS: usize = 256;

/// A component that can be instantiated.
#[derive(Clone)]
pub struct Prepared {
    /// Its identity.
    pub digest: Digest,
    /// The compiled code, mapped from the cache.
    pub component: Component,
    /// What it exports, imports and needs.
    pub inspection: Arc<Inspection>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// The most recently used of something, by digest.
pub(super) struct Recent<T> {
    capacity: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    clock: u64,
    entries: HashMap<Digest, (u64, Arc<T>)>,
}

impl<T> Recent<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            clock: 0,
            entries: HashMap::new(),
        };
        Self {
            capacity: capacity.max(1),
            state: Mutex::new(state),
        }
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<T>> {
        let mut state = self.state.lock();
        state.clock += 1;
        let now = state.clock;
        let (used, value) = state.entries.get_mut(digest)?;
        *used = now;
        Some(Arc::clone(value))
    }

    /// Adds one and, if there are too many, lets go of the one that was used least recently. Those who
    /// hold it keep it.
    pub(super) fn insert(&self, digest: Digest, value: Arc<T>) {
        let mut state = self.state.lock();
        state.clock += 1;
        let now = state.clock;
        state.entries.insert(digest, (now, value));
        if state.entries.len() > self.capacity {
            let oldest = state.entries.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(digest, _)| *digest) {
                state.entries.remove(&oldest);
            }
        }
    }

    pub(super) fn remove(&self, digest: &Digest) {
        self.state.lock().entries.remove(digest);
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let recent = Recent::new(2);
        let [a, b, c] = [b"a", b"b", b"c"].map(|x| Digest::of(x));
        recent.insert(a, Arc::new(1));
        recent.insert(b, Arc::new(2));
        assert_eq!(recent.get(&a).as_deref(), Some(&1));
        recent.insert(c, Arc::new(3));
        assert_eq!((recent.get(&b), recent.len()), (None, 2));
        recent.remove(&a);
        assert_eq!(
            (recent.get(&a), recent.get(&c).as_deref()),
            (None, Some(&3))
        );
    }
}
