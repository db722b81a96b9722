//! How many sandboxes can exist at once, and what happens when they do.

use crate::error::CallError;
use crate::limits::MAX_INSTANCES;

/// Size of the pool of instance slots, in sandboxes that may exist at the same time.
///
/// A sandbox is given 8 GiB of address space (not memory) on average. Linux gives a process 128 TiB
/// and, by default, 65,530 mappings, of which a busy sandbox takes about four: beyond 10,000
/// sandboxes raise `vm.max_map_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSize(u32);

impl PoolSize {
    /// The smallest pool that is worth having.
    pub const SMALLEST: u32 = 4;
    /// Memories of an average sandbox. Most guests have one; a composed component has one per part.
    const MEMORIES: u32 = 2;
    /// Tables of an average sandbox: one per language runtime and one of the canonical adapter.
    const TABLES: u32 = 4;

    /// Room for this many sandboxes, at least [`PoolSize::SMALLEST`].
    pub fn new(sandboxes: u32) -> Self {
        Self(sandboxes.max(Self::SMALLEST))
    }

    /// Sandboxes at the same time.
    pub fn sandboxes(self) -> u32 {
        self.0
    }

    pub(super) fn memories(self) -> u32 {
        self.0.saturating_mul(Self::MEMORIES)
    }

    pub(super) fn tables(self) -> u32 {
        self.0.saturating_mul(Self::TABLES)
    }

    /// Only a counter in the pool, so every sandbox may have the most: a Python guest takes 14.
    pub(super) fn core_instances(self) -> u32 {
        self.0.saturating_mul(MAX_INSTANCES)
    }

    pub(super) fn halved(self) -> Option<Self> {
        (self.0 > Self::SMALLEST).then(|| Self::new(self.0 / 2))
    }
}

impl Default for PoolSize {
    /// 1,000 sandboxes: 8 TiB of address space.
    fn default() -> Self {
        Self(1000)
    }
}

/// What the pool holds at one moment, for metrics and for shedding load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolMetrics {
    /// Sandboxes that may exist at once.
    pub sandboxes_max: u64,
    /// Instantiated components.
    pub components: u64,
    /// Core instances.
    pub core_instances: u64,
    /// Linear memories in use.
    pub memories: u64,
    /// Linear memories that may be in use.
    pub memories_max: u64,
    /// Tables in use.
    pub tables: u64,
    /// Stacks of running calls.
    pub stacks: u64,
    /// Bytes of memory that unused slots keep resident.
    pub idle_bytes: u64,
}

pub(super) fn metrics(engine: &wasmtime::Engine, size: PoolSize) -> PoolMetrics {
    let wide = |n: usize| n as u64;
    let mut metrics = PoolMetrics {
        sandboxes_max: size.sandboxes().into(),
        memories_max: size.memories().into(),
        ..PoolMetrics::default()
    };
    if let Some(pool) = engine.pooling_allocator_metrics() {
        metrics.components = pool.component_instances();
        metrics.core_instances = pool.core_instances();
        metrics.memories = wide(pool.memories());
        metrics.tables = wide(pool.tables());
        metrics.stacks = wide(pool.stacks());
        metrics.idle_bytes = wide(pool.unused_memory_bytes_resident())
            .saturating_add(wide(pool.unused_table_bytes_resident()))
            .saturating_add(wide(pool.unused_stack_bytes_resident().unwrap_or(0)));
    }
    metrics
}

/// `Some(unavailable)` where `error` says that the pool is used up: the caller should try later, the
/// guest did nothing wrong.
pub fn pool_exhausted(error: &wasmtime::Error) -> Option<CallError> {
    error
        .downcast_ref::<wasmtime::PoolConcurrencyLimitError>()
        .map(|_| CallError::Unavailable("the host is at its limit of concurrent sandboxes".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;

    #[test]
    fn sizes_stop_at_the_smallest() {
        assert_eq!(PoolSize::new(0).sandboxes(), PoolSize::SMALLEST);
        assert_eq!(PoolSize::new(9).halved(), Some(PoolSize(4)));
        assert_eq!(PoolSize::new(4).halved(), None);
        assert_eq!(PoolSize::new(u32::MAX).core_instances(), u32::MAX);
    }

    #[test]
    fn an_exhausted_pool_is_unavailable_and_is_counted() {
        let engine = Engine::new(PoolSize::new(PoolSize::SMALLEST)).unwrap();
        let wasm = wat::parse_str(
            "(component (core module $m (memory 1)) (core instance (instantiate $m)))",
        )
        .unwrap();
        let component =
            wasmtime::component::Component::from_binary(engine.wasmtime(), &wasm).unwrap();
        let linker = wasmtime::component::Linker::<()>::new(engine.wasmtime());
        let mut stores = Vec::new();
        let error = loop {
            assert!(stores.len() <= 4, "the pool has no end");
            let mut store = wasmtime::Store::new(engine.wasmtime(), ());
            store.set_epoch_deadline(u64::MAX / 2);
            match linker.instantiate(&mut store, &component) {
                Ok(_) => stores.push(store),
                Err(error) => break error,
            }
        };
        assert_eq!(stores.len(), 4);
        assert_eq!(
            (engine.metrics().components, engine.metrics().memories),
            (4, 4)
        );
        assert!(matches!(
            pool_exhausted(&error),
            Some(CallError::Unavailable(_))
        ));
        drop(stores);
        assert_eq!(
            (engine.metrics().components, engine.metrics().memories),
            (0, 0)
        );
        assert_eq!(pool_exhausted(&wasmtime::Error::msg("x")), None);
    }
}
