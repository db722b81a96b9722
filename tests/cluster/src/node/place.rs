//! Where a node is: its namespaces and its control groups.

use std::fs;
use std::path::{Path, PathBuf};

use super::DEADLINE;
use crate::Error;
use crate::folder::Folder;
use crate::process::{Process, Program};

/// Makes the namespaces. Of `unshare` itself only its children are in the new process namespace; of the
/// others, it is too.
pub(super) async fn namespaces(folder: &Folder) -> Result<Process, Error> {
    let script = folder.write("start.sh", include_str!("start.sh"))?;
    let ready = folder.path().join("namespaces-are-ready");
    let arguments = [
        "--mount",
        "--pid",
        "--net",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
    ];
    let mut arguments: Vec<_> = arguments.iter().map(Into::into).collect();
    arguments.extend([script.into(), folder.path().into()]);
    let mut process = Process::start(Program {
        name: "unshare",
        path: "/usr/bin/unshare".into(),
        arguments,
        folder: folder.path().to_owned(),
        log: folder.path().join("namespaces.log"),
        inside: None,
    })?;
    process.ready(DEADLINE, async || ready.exists()).await?;
    Ok(process)
}

/// The name of the node's control groups, which no other node has or had.
pub(super) fn control_group(folder: &Folder) -> String {
    let name = folder.path().file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Makes the control groups of the node's Pods, one in each hierarchy, and sees to their removal when the
/// first process in the namespaces, which is the only child of `namespaces`, has ended.
pub(super) fn control_groups(folder: &Folder, namespaces: u32) -> Result<(), Error> {
    let root = Path::new("/sys/fs/cgroup");
    let name = control_group(folder);
    let unified = root.join("cgroup.procs").exists();
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    let groups: Vec<PathBuf> = if unified {
        vec![root.join(name)]
    } else {
        hierarchies
            .map(|hierarchy| hierarchy.path())
            .filter(|hierarchy| hierarchy.join("cgroup.procs").exists())
            .map(|hierarchy| hierarchy.join(&name))
            .collect()
    };
    let list: Vec<_> = groups
        .iter()
        .map(|group| group.display().to_string())
        .collect();
    // While a process of the node still dies, it may yet make one. The first process goes last; when it has
    // no program any more, the others are gone.
    let first = fs::read_to_string(format!("/proc/{namespaces}/task/{namespaces}/children"));
    let remove = format!(
        "for i in $(seq 100); do [ -e /proc/{}/exe ] || break; sleep 0.05; done\n\
         find {} -depth -type d -exec rmdir {{}} +\n",
        first.unwrap_or_default().trim(),
        list.join(" ")
    );
    folder.write("at-end.sh", &remove)?;
    for path in groups {
        fs::create_dir_all(&path).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}
