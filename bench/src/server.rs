//! Servers in processes of their own: hosts and peers.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::setting::Setting;

/// A server that runs. It ends with this.
pub(crate) struct Server {
    child: Child,
    /// `http://ADDRESS:PORT`.
    pub(crate) base: String,
}

/// Where a server says what address it took.
pub(crate) enum Announces {
    /// On standard output.
    Stdout,
    /// On standard error.
    Stderr,
}

impl Server {
    /// `ringfence serve` on this data directory. Its log is `host.log` in there.
    pub(crate) fn host(setting: &Setting, data: &Path, more: &[String]) -> Result<Self> {
        let mut command = Command::new(&setting.ringfence);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .args(more)
            // A collector of this machine's user is no part of the measurement.
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        std::fs::create_dir_all(data)?;
        let log = data.join("host.log");
        command.stderr(File::create(&log)?);
        Self::start(command, &Announces::Stdout)
            .with_context(|| format!("the host does not start; see {}", log.display()))
    }

    /// Starts a server and waits until it says where it listens.
    pub(crate) fn start(mut command: Command, announces: &Announces) -> Result<Self> {
        command.stdin(Stdio::null());
        match announces {
            Announces::Stdout => command.stdout(Stdio::piped()),
            Announces::Stderr => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        let output: Option<Box<dyn Read + Send>> = match announces {
            Announces::Stdout => child.stdout.take().map(|pipe| Box::new(pipe) as _),
            Announces::Stderr => child.stderr.take().map(|pipe| Box::new(pipe) as _),
        };
        // From here on the process is ended whatever happens.
        let mut server = Self {
            child,
            base: String::new(),
        };
        let mut output = BufReader::new(output.context("the server has an output")?);
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if output.read_line(&mut line)? == 0 {
                bail!("the server ended: {said}");
            }
            if let Some(at) = line.find("http://") {
                server.base = line[at..].trim_end().trim_end_matches('/').to_owned();
                break;
            }
            said += &line;
        }
        // A full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Ok(server)
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        terminate(self.child.id())?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Lets it do nothing any more, as if it hung.
    pub(crate) fn hang(&self) -> Result<()> {
        signal(self.child.id(), Signal::STOP)
    }

    /// Bytes of memory that are resident now.
    pub(crate) fn resident(&self) -> Result<u64> {
        resident(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks a process to end.
pub(crate) fn terminate(process: u32) -> Result<()> {
    signal(process, Signal::TERM)
}

fn signal(process: u32, signal: Signal) -> Result<()> {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        kill_process(pid, signal)?;
    }
    Ok(())
}

/// Bytes of memory of a process that are resident now.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{}/smaps_rollup", process);
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix("kB"))
        .with_context(|| format!("{path} has no Rss"))?;
    Ok(kib.trim().parse::<u64>()? << 10)
}
