//! Where things are, and what machine this is.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// What every benchmark needs to know.
pub(crate) struct Setting {
    /// The repository.
    pub(crate) root: PathBuf,
    /// The `ringfence` command, from the same build as this program.
    pub(crate) ringfence: PathBuf,
    /// The `ringfence-operator` command, likewise.
    pub(crate) operator: PathBuf,
    /// Tools that are installed once.
    pub(crate) cache: PathBuf,
    /// Processor and number of cores, for the detail of each measurement.
    pub(crate) machine: String,
}

impl Setting {
    /// Looks around.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("this crate lies in the repository")?
            .to_owned();
        let program = std::env::current_exe().context("this program has a path")?;
        let beside = |name| {
            let path = program.with_file_name(name);
            ensure!(
                path.is_file(),
                "{} is missing: run `make bench`, which builds it",
                path.display()
            );
            Ok(path)
        };
        let ringfence = beside("ringfence")?;
        let operator = beside("ringfence-operator")?;
        let cache = match std::env::var_os("RINGFENCE_CACHE") {
            Some(cache) => PathBuf::from(cache),
            None => {
                let home =
                    std::env::var_os("HOME").context("HOME or RINGFENCE_CACHE has to be set")?;
                Path::new(&home).join(".cache/ringfence")
            }
        };
        Ok(Self {
            root,
            ringfence,
            operator,
            cache,
            machine: machine()?,
        })
    }

    /// The folder for results and for what benchmarks build.
    pub(crate) fn output(&self) -> Result<PathBuf> {
        let folder = self.root.join("target/bench");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(folder)
    }
}

fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("processor of unknown make", |(_, model)| model.trim());
    Ok(format!("{cores} cores, {model}"))
}

/// Processes that wanted a core in the last minute: figures of a busy machine are worth less.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
