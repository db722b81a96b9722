//! The one wasmtime engine of a host process: its configuration, its pool of instance slots, the
//! epoch ticker that meters processor time, and the key under which compiled code may be reused.
//!
//! There must be one [`Engine`] per process: code, types and stores of two engines may never meet.

mod config;
mod pool;
mod ticker;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

pub use pool::{PoolMetrics, PoolSize, pool_exhausted};
use ticker::Ticker;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Wasmtime refused the configuration, or not even the smallest pool fits the address space.
    #[error(
        "failed to create an engine for {sandboxes} sandboxes; allow the process more address space (ulimit -v) or ask for a smaller pool"
    )]
    Create {
        /// Size of the smallest pool that was tried.
        sandboxes: u32,
        /// Wasmtime's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Wasmtime refused the configuration of the compiler.
    #[error("failed to create the compiler")]
    Compiler(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No thread for the epoch ticker.
    #[error("failed to start the epoch ticker")]
    Ticker(#[source] std::io::Error),
}

/// A configured engine. Cheap to clone; the epoch ticker stops when the last clone is dropped.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    pool: PoolSize,
    hash: String,
    _ticker: Ticker,
}

impl Engine {
    /// An engine whose pool holds `pool`; where the address space for it cannot be reserved, half as
    /// much, and so on, with a warning each time.
    ///
    /// # Errors
    /// The smallest pool does not fit either, or no thread can be started.
    pub fn new(pool: PoolSize) -> Result<Self, EngineError> {
        let mut pool = pool;
        let engine = loop {
            match wasmtime::Engine::new(&config::runtime(pool)) {
                Ok(engine) => break engine,
                Err(error) => match pool.halved() {
                    Some(smaller) => {
                        tracing::warn!(
                            sandboxes = pool.sandboxes(),
                            retry_with = smaller.sandboxes(),
                            error = format!("{error:#}"),
                            "cannot reserve the pool of instance slots"
                        );
                        pool = smaller;
                    }
                    None => {
                        return Err(EngineError::Create {
                            sandboxes: pool.sandboxes(),
                            source: error.into_boxed_dyn_error(),
                        });
                    }
                },
            }
        };
        let ticker =
            Ticker::start(engine.weak(), crate::limits::EPOCH).map_err(EngineError::Ticker)?;
        Ok(Self(Arc::new(Inner {
            hash: compatibility(&engine),
            engine,
            pool,
            _ticker: ticker,
        })))
    }

    /// The engine itself. Its epoch is advanced every [`crate::limits::EPOCH`].
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    /// Size of the pool that could be reserved.
    pub fn pool(&self) -> PoolSize {
        self.0.pool
    }

    /// What the pool holds at this moment.
    pub fn metrics(&self) -> PoolMetrics {
        pool::metrics(&self.0.engine, self.0.pool)
    }

    /// 32 hexadecimal digits that differ whenever compiled code cannot be shared: wasmtime's version,
    /// its compiler settings, the target, or our own layout of compiled files.
    pub fn hash(&self) -> &str {
        &self.0.hash
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("pool", &self.0.pool)
            .field("hash", &self.0.hash)
            .finish_non_exhaustive()
    }
}

/// An engine that only compiles: no pool, no ticker, and so little address space that a memory limit
/// can be put on the process. Its code runs in every [`Engine`] of the same [`compatibility`].
///
/// # Errors
/// Wasmtime refuses the configuration.
pub(crate) fn compiler() -> Result<wasmtime::Engine, EngineError> {
    wasmtime::Engine::new(&config::compiler())
        .map_err(|e| EngineError::Compiler(e.into_boxed_dyn_error()))
}

/// Raised when the files that the compile worker writes change in a way that wasmtime cannot see.
const LAYOUT: &str = "ringfence-aot-1";

/// See [`Engine::hash`].
pub(crate) fn compatibility(engine: &wasmtime::Engine) -> String {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0 // never asked for: the whole digest is used
        }
    }
    let mut sha = Sha(Sha256::new_with_prefix(LAYOUT));
    engine.precompile_compatibility_hash().hash(&mut sha);
    hex::encode(&sha.0.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiler_and_runtime_agree_on_the_hash() {
        let engine = Engine::new(PoolSize::new(4)).unwrap();
        assert_eq!(engine.hash(), compatibility(&compiler().unwrap()));
        assert_eq!(engine.hash().len(), 32);
    }

    #[test]
    fn a_pool_that_cannot_be_reserved_is_made_smaller() {
        // 8 GiB each: far beyond the 128 TiB of a process.
        let engine = Engine::new(PoolSize::new(1 << 20)).unwrap();
        assert!(engine.pool().sandboxes() < 1 << 20);
        assert!(engine.pool().sandboxes() >= PoolSize::SMALLEST);
    }

    #[test]
    fn disabled_proposals_are_refused() {
        let engine = Engine::new(PoolSize::new(4)).unwrap();
        let module = |text: &str| {
            let text = format!("(component (core module {text}))");
            let wasm = wat::parse_str(text).unwrap();
            wasmtime::component::Component::from_binary(engine.wasmtime(), &wasm)
        };
        assert!(module("(memory 1) (table 1 funcref)").is_ok());
        for (what, text) in [
            ("threads", "(memory 1 1 shared)"),
            ("memory64", "(memory i64 1)"),
            ("multi-memory", "(memory 1) (memory 1)"),
            ("tail calls", "(func return_call 0)"),
            (
                "relaxed SIMD",
                "(func (param v128 v128) (result v128) local.get 0 local.get 1 i8x16.relaxed_swizzle)",
            ),
            ("GC", "(type (struct))"),
            ("exceptions", "(tag)"),
            (
                "function references",
                "(type $f (func)) (func (param (ref $f)))",
            ),
            ("a memory above the limit", "(memory 65536)"),
        ] {
            assert!(module(text).is_err(), "{what} is accepted");
        }
    }
}
