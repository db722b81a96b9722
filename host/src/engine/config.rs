//! The configuration. What changes compiled code is in [`common`], so that the compile worker and the
//! host cannot disagree.

use wasmtime::{
    Config, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy, WasmFeatures,
};

use super::PoolSize;
use crate::limits::{MAX_INSTANCES, MAX_MEMORIES, MAX_MEMORY_BYTES, MAX_TABLE_ELEMENTS};

/// Bytes of a linear memory that are reset with `memset` and stay resident in an unused slot.
/// Faulting pages in again costs more than clearing them up to about this size.
const MEMORY_KEEP_RESIDENT: usize = 1 << 20;
/// The same for a table.
const TABLE_KEEP_RESIDENT: usize = 64 << 10;
/// The same for the top of a stack: what a call of ordinary depth touches.
const STACK_KEEP_RESIDENT: usize = 32 << 10;
/// Slots that stay bound to a component after its last call.
const WARM_SLOTS: u32 = 16;
/// Tables of one core module.
const TABLES_PER_MODULE: u32 = 8;
/// Bytes of wasmtime's own records of one core instance, and of one component.
const CORE_INSTANCE_BYTES: usize = 1 << 20;
const COMPONENT_INSTANCE_BYTES: usize = 4 << 20;

/// Everything that a hostile guest has no need of: fewer proposals, less to get wrong. Some of these
/// are compiled out already; naming them keeps them off if a dependency turns their feature on.
const REFUSED: WasmFeatures = WasmFeatures::THREADS
    .union(WasmFeatures::SHARED_EVERYTHING_THREADS)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::GC)
    .union(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::LEGACY_EXCEPTIONS)
    .union(WasmFeatures::STACK_SWITCHING);

/// Settings that the generated code depends on.
fn common() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        .concurrency_support(false)
        .async_stack_zeroing(true)
        .memory_init_cow(true)
        .wasm_features(REFUSED, false);
    config
}

/// For running guests.
pub(super) fn runtime(size: PoolSize) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    pool.total_component_instances(size.sandboxes())
        .total_stacks(size.sandboxes())
        .total_memories(size.memories())
        .total_tables(size.tables())
        .total_core_instances(size.core_instances())
        .max_core_instances_per_component(MAX_INSTANCES)
        .max_tables_per_component(MAX_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_module(TABLES_PER_MODULE)
        .max_memories_per_module(1)
        .max_core_instance_size(CORE_INSTANCE_BYTES)
        .max_component_instance_size(COMPONENT_INSTANCE_BYTES)
        .max_memory_size(bytes(MAX_MEMORY_BYTES))
        .table_elements(bytes(MAX_TABLE_ELEMENTS))
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .async_stack_keep_resident(STACK_KEEP_RESIDENT)
        .pagemap_scan(wasmtime::Enabled::Auto)
        .max_unused_warm_slots(WARM_SLOTS);
    let mut config = common();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// For compiling only.
pub(super) fn compiler() -> Config {
    let mut config = common();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config
}
