//! What the compile worker gives up before it reads a byte of its input.
//!
//! Everything here works without root and is inherited by every thread that starts later. Limits on
//! resources must hold, or the worker refuses to run; Landlock and seccomp are used where the kernel
//! has them, because a host without them still has the process boundary.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use rustix::process::{Resource, Rlimit, getpid, getppid, nice, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde::{Deserialize, Serialize};

/// Limits of one worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// Bytes of address space.
    pub memory_bytes: u64,
    /// Seconds of processor time, all threads together.
    pub cpu_seconds: u64,
    /// Seconds from start to end.
    pub wall_seconds: u64,
    /// Bytes of component.
    pub input_bytes: u64,
    /// Bytes of compiled code.
    pub output_bytes: u64,
}

/// What holds, for the log and the tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// No file can be opened, no TCP port used, no process outside signalled.
    pub landlock: bool,
    /// No socket, no other process, no other program.
    pub seccomp: bool,
}

/// Why the worker will not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum JailError {
    #[error("failed to set a resource limit")]
    Limit(#[source] rustix::io::Errno),
    #[error("failed to give up new privileges")]
    Privileges(#[source] rustix::io::Errno),
}

/// Locks the process in. Called once, before any other thread exists.
pub(super) fn enter(limits: &Limits) -> Result<Held, JailError> {
    watch(Duration::from_secs(limits.wall_seconds));
    // The kernel should take the compiler before the host, and run it after the host.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let _ = nice(10);
    let between = |resource, soft, hard| {
        let limit = Rlimit {
            current: Some(soft),
            maximum: Some(hard),
        };
        setrlimit(resource, limit).map_err(JailError::Limit)
    };
    let cap = |resource, value| between(resource, value, value);
    cap(Resource::As, limits.memory_bytes)?;
    // The soft limit's signal tells the host what happened, the hard one only kills.
    between(
        Resource::Cpu,
        limits.cpu_seconds,
        limits.cpu_seconds.saturating_add(2),
    )?;
    cap(Resource::Fsize, limits.output_bytes)?;
    cap(Resource::Core, 0)?;
    rustix::thread::set_no_new_privs(true).map_err(JailError::Privileges)?;
    let held = Held {
        landlock: landlock(),
        seccomp: seccomp(),
    };
    // Nothing is opened after this point: what is open is stdin, stdout, stderr, and whatever the
    // host itself was started with.
    cap(Resource::Nofile, 3)?;
    Ok(held)
}

/// Ends the process when its host has died or its time is up. The host kills it as well, but a host
/// that was itself killed cannot.
fn watch(wall: Duration) {
    let (host, until) = (getppid(), Instant::now() + wall + Duration::from_secs(5));
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            if getppid() != host || Instant::now() > until {
                std::process::exit(super::worker::EXIT_ABANDONED);
            }
        }
    });
}

/// No rule is added, so nothing is allowed.
fn landlock() -> bool {
    let abi = ABI::V6;
    let restrict = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?
            .restrict_self()
    };
    match restrict() {
        Ok(status) => status.ruleset != RulesetStatus::NotEnforced,
        Err(_) => false,
    }
}

/// A list of what is refused, not of what is allowed: an allowed list would break on the next libc,
/// and the code in here is safe Rust that only allocates, computes, starts threads and writes.
fn seccomp() -> bool {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let Some(conditional) = conditional() else {
        return false;
    };
    refused.extend(conditional);
    // Unknown to the caller rather than refused: libc then falls back to `clone`, whose flags a
    // filter can see.
    let unknown = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let install = |rules, errno: i32| -> Option<()> {
        let errno = SeccompAction::Errno(errno.unsigned_abs());
        let arch = std::env::consts::ARCH.try_into().ok()?;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch).ok()?;
        let program: BpfProgram = filter.try_into().ok()?;
        seccompiler::apply_filter(&program).ok()
    };
    install(unknown, libc::ENOSYS).is_some() && install(refused, libc::EPERM).is_some()
}

/// Calls that are refused depending on their arguments.
fn conditional() -> Option<Vec<(i64, Vec<SeccompRule>)>> {
    let rule = |op, value| {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, op, value).ok()?;
        SeccompRule::new(vec![condition]).ok()
    };
    let own = u64::from(getpid().as_raw_nonzero().get().unsigned_abs());
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    Some(vec![
        // A thread is fine, a process is not.
        (
            libc::SYS_clone,
            vec![rule(SeccompCmpOp::MaskedEq(thread), 0)?],
        ),
        // `abort` signals its own thread.
        (libc::SYS_tgkill, vec![rule(SeccompCmpOp::Ne, own)?]),
        // Its own limits may be read (they cannot be raised), other processes' may not be touched.
        (libc::SYS_prlimit64, vec![rule(SeccompCmpOp::Ne, 0)?]),
    ])
}

const REFUSED: &[i64] = &[
    // Network.
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    // Large attack surface of the kernel that no compiler needs.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_personality,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
];
