//! A child process that never outlives this one, with a log, and with signals for tests that inject faults.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;

/// How much of a log an error shows.
const TAIL: u64 = 4096;
/// Time between two looks at a process that becomes ready.
const POLL: Duration = Duration::from_millis(25);

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Its name, for messages.
    pub(crate) name: &'static str,
    /// The binary.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Its working folder.
    pub(crate) folder: PathBuf,
    /// Where its output goes; a further start appends.
    pub(crate) log: PathBuf,
    /// Where it runs, if not beside this process.
    pub(crate) inside: Option<Namespaces>,
}

/// The namespaces that an `unshare` with this process id has made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Namespaces(pub(crate) u32);

impl Namespaces {
    /// What `nsenter` has to be told before the command.
    pub(crate) fn arguments(self) -> Vec<String> {
        let names = [
            ("mount", "mnt"),
            ("uts", "uts"),
            ("ipc", "ipc"),
            ("net", "net"),
            ("pid", "pid_for_children"),
        ];
        let mut arguments: Vec<_> = names
            .iter()
            .map(|(option, file)| format!("--{option}=/proc/{}/ns/{file}", self.0))
            .collect();
        arguments.push("--".to_owned());
        arguments
    }
}

/// A running program. It is killed when this is dropped, and by the kernel when this process ends.
#[derive(Debug)]
pub(crate) struct Process {
    program: Program,
    child: Child,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(program: Program) -> Result<Self, Error> {
        let failed = |source| Error::Spawn {
            program: program.name,
            source,
        };
        let log = || {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(&program.log)
        };
        // setpriv replaces itself by the program, so its process id is the program's. nsenter does not: it
        // starts the program, which is to die with it.
        let tied = ["--pdeathsig", "KILL", "--"];
        let mut command = Command::new("setpriv");
        command.args(tied);
        if let Some(namespaces) = program.inside {
            command.arg("nsenter").args(namespaces.arguments());
            command.arg("setpriv").args(tied);
        }
        command
            .arg(&program.path)
            .args(&program.arguments)
            .current_dir(&program.folder)
            .stdin(Stdio::null())
            .stdout(log().map_err(failed)?)
            .stderr(log().map_err(failed)?)
            .process_group(0); // what a terminal sends to end the tests is for the tests
        let child = spawn(command).map_err(failed)?;
        Ok(Self { program, child })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    /// When the process ends before, or the deadline passes.
    pub(crate) async fn ready(
        &mut self,
        deadline: Duration,
        ready: impl AsyncFn() -> bool,
    ) -> Result<(), Error> {
        let program = self.program.name;
        let end = Instant::now() + deadline;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = self.log_tail();
                return Err(Error::Ended {
                    program,
                    status,
                    log,
                });
            }
            // A request to a process that hangs would never return by itself.
            let left = end.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, ready()).await == Ok(true) {
                return Ok(());
            }
            if Instant::now() >= end {
                let log = self.log_tail();
                return Err(Error::NotReady {
                    program,
                    seconds: deadline.as_secs(),
                    log,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether the log says that the port was taken.
    pub(crate) fn lost_its_port(&self) -> bool {
        self.log_tail().contains("address already in use")
    }

    /// Stops it where it stands, as an overloaded or frozen machine would.
    pub(crate) fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus, Error> {
        let program = self.program.name;
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map_err(|source| Error::Signal { program, source })
    }

    /// Kills it and starts it anew with the same arguments.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.kill()?;
        *self = Self::start(self.program.clone())?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let sent = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(rustix::io::Errno::SRCH)
            .and_then(|id| kill_process(id, signal));
        sent.map_err(|error| Error::Signal {
            program: self.program.name,
            source: error.into(),
        })
    }

    fn log_tail(&self) -> String {
        tail(&self.program.log).unwrap_or_else(|error| format!("(cannot read the log: {error})"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut end = Vec::new();
    file.take(TAIL).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

/// Spawns from one thread that lives as long as this process: the kernel sends the parent-death signal when
/// the *thread* that forked ends, and the thread of a test ends with its test.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes has ended");
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in taken {
                // Nobody waits for the answer only if the asking thread was torn down with the process.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, answered) = mpsc::channel();
    spawner.send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}
