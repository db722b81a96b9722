//! Starts compile workers, holds them to their limits, and says how each ended.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_api::TenantName;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::NamedTempFile;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::files;
use super::jail::Limits;
use super::worker::{ANSWER, Answer, Compiled, Task};
use crate::telemetry::Metrics;

/// Bytes of address space of a worker.
pub const COMPILE_MEMORY_BYTES: u64 = 2 << 30;
/// Time that a worker may take. The largest guests (a JavaScript or Python runtime) take about 10 s
/// on two cores.
pub const COMPILE_WALL: Duration = Duration::from_secs(120);
/// Processor time that a worker may take, all threads together.
pub const COMPILE_CPU: Duration = Duration::from_secs(240);
/// Bytes of compiled code of one component.
pub const COMPILED_BYTES: u64 = 512 << 20;
/// Workers at the same time: each uses all cores for the larger part of its time.
pub const COMPILE_CONCURRENCY: usize = 2;
/// Components that may wait for a worker; further ones are refused.
pub const COMPILE_QUEUE: usize = 32;
/// Components of one tenant that may be compiled or wait at the same time.
pub const COMPILE_PER_TENANT: usize = 8;
/// Bytes of a worker's answer, which holds the inspection.
const ANSWER_BYTES: u64 = 16 << 20;

/// What compiling may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of address space of one worker.
    pub memory_bytes: u64,
    /// Time from start to end of one worker.
    pub wall: Duration,
    /// Processor time of one worker, all threads together; whole seconds.
    pub cpu: Duration,
    /// Bytes of compiled code.
    pub compiled_bytes: u64,
    /// Workers at the same time.
    pub concurrency: usize,
    /// Components that may wait.
    pub queue: usize,
    /// Components of one tenant that may be compiled or wait.
    pub per_tenant: usize,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory_bytes: COMPILE_MEMORY_BYTES,
            wall: COMPILE_WALL,
            cpu: COMPILE_CPU,
            compiled_bytes: COMPILED_BYTES,
            concurrency: COMPILE_CONCURRENCY,
            queue: COMPILE_QUEUE,
            per_tenant: COMPILE_PER_TENANT,
        }
    }
}

/// How to start this program as a compile worker.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Launcher {
    /// `program` has to call [`super::worker::main`] when it is started with `arguments`.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = String>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().collect(),
        }
    }

    /// The running program itself, with one hidden argument.
    ///
    /// # Errors
    /// The system does not say which program is running.
    pub fn this_program(argument: &str) -> io::Result<Self> {
        Ok(Self::new(std::env::current_exe()?, [argument.to_owned()]))
    }
}

/// How compiling can fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The queue is full.
    #[error("too many components are being compiled at the moment; try again")]
    Busy,
    /// The component is not one that this host can run.
    #[error("{0}")]
    Refused(String),
    /// It needs more memory than a worker may have.
    #[error("compiling it needs more than {maximum} bytes of memory; make the component smaller")]
    OutOfMemory {
        /// The limit.
        maximum: u64,
    },
    /// It takes longer than a worker may.
    #[error("compiling it takes more than {} s; make the component or its largest function smaller", .maximum.as_secs())]
    TooSlow {
        /// The limit.
        maximum: Duration,
    },
    /// Its compiled code is too large.
    #[error("its compiled code is larger than {maximum} bytes; make the component smaller")]
    TooMuchCode {
        /// The limit.
        maximum: u64,
    },
    /// The worker died: a bug in the compiler, most likely.
    #[error("the compile worker ended with {how}")]
    Crashed {
        /// Exit code or signal.
        how: String,
    },
    /// The worker cannot be started or does not speak our language.
    #[error("the compile worker cannot run: {0}")]
    Worker(String),
    /// The files that go in and out.
    #[error("failed to prepare the compile worker")]
    Io(#[from] io::Error),
}

/// Compiles, a bounded number at a time.
#[derive(Debug)]
pub(super) struct Compiler {
    launcher: Launcher,
    limits: CompileLimits,
    running: Semaphore,
    waiting: AtomicUsize,
    tenants: Arc<Mutex<HashMap<TenantName, usize>>>,
    metrics: Arc<Metrics>,
}

/// A compiled component, not yet in its place.
#[derive(Debug)]
pub(super) struct Output {
    pub code: NamedTempFile,
    pub compiled: Compiled,
}

impl Compiler {
    pub(super) fn new(launcher: Launcher, limits: CompileLimits, metrics: Arc<Metrics>) -> Self {
        Self {
            running: Semaphore::new(limits.concurrency.max(1)),
            waiting: AtomicUsize::new(0),
            tenants: Arc::default(),
            metrics,
            launcher,
            limits,
        }
    }

    /// Compiles the file `input` of at most `input_bytes`; the output file is in `temp`. A tenant is
    /// named where it caused the work. Dropping the future kills the worker.
    pub(super) async fn compile(
        &self,
        tenant: Option<&TenantName>,
        input: &Path,
        input_bytes: u64,
        temp: &Path,
    ) -> Result<Output, CompileError> {
        let _share = match tenant {
            Some(tenant) => Some(self.share(tenant).ok_or(CompileError::Busy)?),
            None => None,
        };
        let _turn = match self.running.try_acquire() {
            Ok(turn) => turn,
            Err(_) => {
                let _place = self.queue().ok_or(CompileError::Busy)?;
                self.running
                    .acquire()
                    .await
                    .map_err(|_| CompileError::Busy)?
            }
        };
        let started = std::time::Instant::now();
        let output = self.run(input, input_bytes, temp).await;
        let took = started.elapsed();
        match &output {
            Ok(done) => {
                self.metrics.compiled(took);
                tracing::info!(
                    digest = %done.compiled.digest,
                    code_bytes = done.compiled.size,
                    milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    landlock = done.compiled.held.landlock,
                    seccomp = done.compiled.held.seccomp,
                    "compiled a component"
                );
            }
            Err(error) => tracing::info!(%error, "refused to compile a component"),
        }
        output
    }

    async fn run(
        &self,
        input: &Path,
        input_bytes: u64,
        temp: &Path,
    ) -> Result<Output, CompileError> {
        let limits = &self.limits;
        let task = Task {
            limits: Limits {
                memory_bytes: limits.memory_bytes,
                cpu_seconds: limits.cpu.as_secs().max(1),
                wall_seconds: limits.wall.as_secs().max(1),
                input_bytes,
                output_bytes: limits.compiled_bytes,
            },
        };
        let task = serde_json::to_string(&task).map_err(io::Error::from)?;
        let mut code = files::temporary(temp)?;
        let mut child = Command::new(&self.launcher.program)
            .args(&self.launcher.arguments)
            .arg(task)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(File::open(input)?))
            .stdout(Stdio::from(code.as_file().try_clone()?))
            .stderr(Stdio::piped())
            // Its own group, so that a terminal's interrupt goes to the host alone, which decides.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| {
                CompileError::Worker(format!("{}: {e}", self.launcher.program.display()))
            })?;
        let ended = tokio::time::timeout(limits.wall, answer(&mut child)).await;
        let Ok(ended) = ended else {
            kill(&child);
            // Reaps it; it cannot survive SIGKILL.
            child.wait().await?;
            return Err(CompileError::TooSlow {
                maximum: limits.wall,
            });
        };
        let (status, text) = ended?;
        match parse(&text) {
            Some(Answer::Compiled(compiled)) if status.success() => {
                code.rewind()?;
                if code.as_file().metadata()?.len() != compiled.size {
                    return Err(CompileError::Worker("it wrote less than it said".into()));
                }
                Ok(Output {
                    code,
                    compiled: *compiled,
                })
            }
            Some(Answer::Refused(reason)) => Err(CompileError::Refused(reason)),
            Some(Answer::TooMuchCode) => Err(CompileError::TooMuchCode {
                maximum: limits.compiled_bytes,
            }),
            Some(Answer::OutOfMemory) => Err(CompileError::OutOfMemory {
                maximum: limits.memory_bytes,
            }),
            Some(Answer::Unfit(reason)) => Err(CompileError::Worker(reason)),
            Some(Answer::Compiled(_)) | None => Err(self.died(status, &text)),
        }
    }

    /// A worker that ended without an answer.
    fn died(&self, status: ExitStatus, text: &str) -> CompileError {
        let limits = &self.limits;
        let signal = status.signal().and_then(Signal::from_named_raw);
        match signal {
            // An allocation that the limit refused; Rust and its thread pool say so and abort.
            Some(Signal::ABORT) if out_of_memory(text) => CompileError::OutOfMemory {
                maximum: limits.memory_bytes,
            },
            // A panic does not abort: a thread that could not be started, for one.
            None if out_of_memory(text) => CompileError::OutOfMemory {
                maximum: limits.memory_bytes,
            },
            // The limit on processor time is hard as well as soft, so the kernel may send either; and
            // nobody but the kernel, for memory, sends the second otherwise.
            Some(Signal::XCPU) => CompileError::TooSlow {
                maximum: limits.cpu,
            },
            Some(Signal::XFSZ) => CompileError::TooMuchCode {
                maximum: limits.compiled_bytes,
            },
            _ => {
                let last = text.lines().last().unwrap_or_default();
                tracing::warn!(%status, stderr = last, "a compile worker crashed");
                CompileError::Crashed {
                    how: status.to_string(),
                }
            }
        }
    }

    fn share(&self, tenant: &TenantName) -> Option<Share> {
        let mut tenants = self.tenants.lock();
        let held = tenants.entry(tenant.clone()).or_default();
        if *held >= self.limits.per_tenant {
            return None;
        }
        *held += 1;
        Some(Share {
            tenants: Arc::clone(&self.tenants),
            tenant: tenant.clone(),
        })
    }

    fn queue(&self) -> Option<Place<'_>> {
        let place = Place(&self.waiting);
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        (before < self.limits.queue).then_some(place)
    }
}

/// A place in the queue.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A tenant's use of the compiler.
struct Share {
    tenants: Arc<Mutex<HashMap<TenantName, usize>>>,
    tenant: TenantName,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut tenants = self.tenants.lock();
        if let Some(held) = tenants.get_mut(&self.tenant) {
            *held -= 1;
            if *held == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

async fn answer(child: &mut Child) -> io::Result<(ExitStatus, String)> {
    let mut text = Vec::new();
    if let Some(pipe) = child.stderr.take() {
        // Closing the pipe at the limit ends a worker that writes on.
        pipe.take(ANSWER_BYTES).read_to_end(&mut text).await?;
    }
    Ok((
        child.wait().await?,
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

fn parse(text: &str) -> Option<Answer> {
    let json = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(ANSWER))?;
    serde_json::from_str(json).ok()
}

/// Whether a worker's last words, or wasmtime's error, say that an allocation failed.
pub(super) fn out_of_memory(text: &str) -> bool {
    // From Rust, from wasmtime, from the system, and from starting a thread.
    let signs = [
        "memory allocation of",
        "failed to allocate",
        "out of memory",
        "outofmemory",
        "cannot allocate memory",
        "resource temporarily unavailable",
    ];
    let text = text.to_ascii_lowercase();
    signs.iter().any(|sign| text.contains(sign))
}

fn kill(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It may have ended in this moment.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(per_tenant: usize, queue: usize) -> Compiler {
        let limits = CompileLimits {
            per_tenant,
            queue,
            ..CompileLimits::default()
        };
        Compiler::new(Launcher::new("/nonexistent", []), limits, Arc::default())
    }

    #[test]
    fn one_tenant_cannot_take_all_places() {
        let compiler = compiler(2, 8);
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let held = [compiler.share(&a), compiler.share(&a)];
        assert!(compiler.share(&a).is_none());
        assert!(compiler.share(&b).is_some());
        drop(held);
        assert!(compiler.share(&a).is_some());
        assert!(compiler.tenants.lock().is_empty());
    }

    #[test]
    fn the_queue_is_bounded_and_places_come_back() {
        let compiler = compiler(1, 1);
        let first = compiler.queue();
        assert!(first.is_some());
        assert!(compiler.queue().is_none());
        drop(first);
        assert!(compiler.queue().is_some());
    }

    #[test]
    fn a_death_is_told_from_its_signal_and_last_words() {
        let compiler = compiler(1, 1);
        let died = |signal, text: &str| compiler.died(ExitStatus::from_raw(signal), text);
        let oom = "memory allocation of 42 bytes failed";
        assert!(matches!(died(6, oom), CompileError::OutOfMemory { .. }));
        assert!(matches!(died(6, "assertion"), CompileError::Crashed { .. }));
        assert!(matches!(died(24, ""), CompileError::TooSlow { .. }));
        assert!(matches!(died(25, ""), CompileError::TooMuchCode { .. }));
        assert!(matches!(died(11, ""), CompileError::Crashed { .. }));
    }

    #[tokio::test]
    async fn a_worker_that_cannot_be_started_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in");
        std::fs::write(&input, b"x").unwrap();
        let failed = compiler(1, 1).compile(None, &input, 9, dir.path()).await;
        assert!(matches!(failed, Err(CompileError::Worker(_))));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
