//! Whether memory is short: that of the control group, as the kubelet counts it, or that of the machine.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Memory is short when this share of it is used.
pub const MEMORY_SHORT: f64 = 0.90;
/// It is short until less than this share of it is used, so that a host does not waver.
pub const MEMORY_RELIEVED: f64 = 0.80;

/// Watches memory.
pub(super) struct Memory {
    root: PathBuf,
    short: bool,
}

impl Memory {
    /// The memory of this process.
    pub(super) fn new() -> Self {
        Self::under(Path::new("/"))
    }

    fn under(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            short: false,
        }
    }

    /// Whether memory is short now. Where nothing can be read, what was known holds.
    pub(super) fn is_short(&mut self) -> bool {
        if let Some(used) = used(&self.root) {
            self.short = used
                >= if self.short {
                    MEMORY_RELIEVED
                } else {
                    MEMORY_SHORT
                };
        }
        self.short
    }
}

/// The share that is used of whatever is tightest.
fn used(root: &Path) -> Option<f64> {
    let groups = read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let shares = groups.lines().flat_map(|line| group(root, line));
    shares.chain(machine(root)).reduce(f64::max)
}

/// Shares of the limits of one line of `/proc/self/cgroup` (`ID:CONTROLLERS:PATH`): of the group, and of
/// those that it is in. In a container the path may be one that only the machine knows; then the group is at
/// the root of the file system.
fn group(root: &Path, line: &str) -> Vec<f64> {
    let mut fields = line.splitn(3, ':');
    let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
    else {
        return Vec::new();
    };
    let (mount, limit, usage, reclaimable) = if controllers.is_empty() {
        (
            "sys/fs/cgroup",
            "memory.max",
            "memory.current",
            "inactive_file",
        )
    } else if controllers.split(',').any(|name| name == "memory") {
        (
            "sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        )
    } else {
        return Vec::new();
    };
    let mount = root.join(mount);
    let own = mount.join(path.trim_start_matches('/'));
    let groups = own
        .ancestors()
        .take_while(|group| group.starts_with(&mount));
    let share = |group: &Path| {
        // `max` is no number: there is no limit.
        let limit = number(&read_to_string(group.join(limit)).ok()?)?;
        let usage = number(&read_to_string(group.join(usage)).ok()?)?;
        let stat = read_to_string(group.join("memory.stat")).unwrap_or_default();
        // Files that were read once are given up first; they are not what memory is short of.
        let reclaimable = field(&stat, reclaimable).unwrap_or(0);
        Some(share(usage.saturating_sub(reclaimable), limit))
    };
    groups.filter_map(share).collect()
}

fn machine(root: &Path) -> Option<f64> {
    let memory = read_to_string(root.join("proc/meminfo")).ok()?;
    let (total, available) = (
        field(&memory, "MemTotal:")?,
        field(&memory, "MemAvailable:")?,
    );
    Some(share(total.saturating_sub(available), total))
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    lines.find_map(|mut words| match words.next() {
        Some(word) if word == name => words.next()?.parse().ok(),
        _ => None,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
fn share(used: u64, of: u64) -> f64 {
    used as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        /// One with 1,000 kB, of which 900 are available.
        fn new(cgroup: &str) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            machine.put("proc/self/cgroup", cgroup);
            machine.available(900);
            machine
        }

        fn put(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, text).unwrap();
        }

        fn available(&self, kb: u64) {
            let text = format!("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:   {kb} kB\n");
            self.put("proc/meminfo", &text);
        }

        fn used(&self) -> f64 {
            used(self.0.path()).unwrap()
        }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_tightest_limit_counts() {
        let machine = Machine::new("0::/pods/host\n");
        assert!(near(machine.used(), 0.1), "the machine's, without another");
        let group = "sys/fs/cgroup/pods/host";
        machine.put(&format!("{group}/memory.max"), "max\n");
        machine.put(&format!("{group}/memory.current"), "500\n");
        assert!(near(machine.used(), 0.1), "no limit");
        machine.put(&format!("{group}/memory.max"), "1000\n");
        assert!(near(machine.used(), 0.5));
        machine.put(
            &format!("{group}/memory.stat"),
            "anon 1\ninactive_file 200\n",
        );
        assert!(near(machine.used(), 0.3), "without what can be given up");
        machine.put("sys/fs/cgroup/pods/memory.max", "1000");
        machine.put("sys/fs/cgroup/pods/memory.current", "700");
        assert!(near(machine.used(), 0.7), "the group around it");
        machine.available(200);
        assert!(near(machine.used(), 0.8), "the machine");
    }

    #[test]
    fn a_container_has_its_limits_at_the_root() {
        let machine = Machine::new("0::/kubepods/unknown/here\n");
        machine.put("sys/fs/cgroup/memory.max", "1000");
        machine.put("sys/fs/cgroup/memory.current", "850");
        assert!(near(machine.used(), 0.85));
    }

    #[test]
    fn version_one_is_known_too() {
        let machine = Machine::new("3:cpu,cpuacct:/x\n2:hugetlb,memory:/x\n1:name=systemd:/\n");
        let group = "sys/fs/cgroup/memory/x";
        machine.put(&format!("{group}/memory.limit_in_bytes"), "1000");
        machine.put(&format!("{group}/memory.usage_in_bytes"), "900");
        machine.put(
            &format!("{group}/memory.stat"),
            "inactive_file 800\ntotal_inactive_file 300\n",
        );
        assert!(near(machine.used(), 0.6));
        machine.put(
            &format!("{group}/memory.limit_in_bytes"),
            "9223372036854771712",
        );
        assert!(near(machine.used(), 0.1), "no limit");
    }

    #[test]
    fn it_does_not_waver() {
        let machine = Machine::new("");
        let mut memory = Memory::under(machine.0.path());
        for (available, short) in [
            (900, false),
            (101, false),
            (100, true),
            (150, true),
            (200, true),
            (201, false),
            (150, false),
            (50, true),
        ] {
            machine.available(available);
            assert_eq!(memory.is_short(), short, "{available} of 1,000 available");
        }
        machine.put("proc/meminfo", "");
        assert!(memory.is_short(), "nothing is known: it is as it was");
    }

    #[test]
    fn this_machine_has_some() {
        let used = used(Path::new("/")).unwrap();
        assert!(used > 0.0 && used < 2.0, "{used}");
    }
}
