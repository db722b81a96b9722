//! Memory, tables and instances of one sandbox.

use wasmtime::ResourceLimiter;

use crate::error::CallError;
use crate::limits::{Limits, MAX_INSTANCES, name};

/// Counts what all memories and tables of a store take together, and remembers which limit stopped
/// the guest: wasm only sees a failed `memory.grow`, and usually aborts.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_limit: u64,
    memory: u64,
    table_limit: u64,
    table: u64,
    crossed: Option<CallError>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_limit: limits.memory_bytes,
            memory: 0,
            table_limit: limits.table_elements,
            table: 0,
            crossed: None,
        }
    }

    /// The limit that the guest ran into last, if any.
    pub(crate) fn crossed(&self) -> Option<&CallError> {
        self.crossed.as_ref()
    }

    /// Bytes of all memories now.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }
}

/// Whether `limit` allows growing one of several items from `current` to `desired` when all of them
/// take `total` now; the new total.
fn grow(total: u64, current: usize, desired: usize, limit: u64) -> Option<u64> {
    let added = (desired as u64).saturating_sub(current as u64);
    total.checked_add(added).filter(|new| *new <= limit)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The guest's own maximum: not ours to report.
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        match grow(self.memory, current, desired, self.memory_limit) {
            Some(total) => {
                self.memory = total;
                Ok(true)
            }
            None => {
                self.crossed = Some(CallError::limit(name::MEMORY_BYTES, self.memory_limit));
                Ok(false)
            }
        }
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|most| desired > most) {
            return Ok(false);
        }
        match grow(self.table, current, desired, self.table_limit) {
            Some(total) => {
                self.table = total;
                Ok(true)
            }
            None => {
                self.crossed = Some(CallError::limit(name::TABLE_ELEMENTS, self.table_limit));
                Ok(false)
            }
        }
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MAX_INSTANCES as usize
    }

    fn memories(&self) -> usize {
        MAX_INSTANCES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limiter = Limiter::new(&Limits {
            memory_bytes: 100,
            ..Limits::TOOL
        });
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        assert_eq!(
            limiter.crossed(),
            Some(&CallError::limit("memory-bytes", 100))
        );
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert_eq!(limiter.memory(), 100);
    }

    #[test]
    fn the_guests_own_maximum_is_no_crossing() {
        let mut limiter = Limiter::new(&Limits::TOOL);
        assert!(!limiter.table_growing(1, 3, Some(2)).unwrap());
        assert_eq!(limiter.crossed(), None);
    }
}
