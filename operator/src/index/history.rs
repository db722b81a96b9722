//! Histories, as they were watched.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;

use super::version::newer;
use super::{Change, Dirty, Index};
use crate::key::WorkloadId;

impl Index {
    /// The history of an agent or tool, in no order.
    pub fn history_of(&self, id: &WorkloadId) -> Vec<Arc<ControllerRevision>> {
        self.history.get(id).cloned().unwrap_or_default()
    }

    pub(super) fn put_revision(&mut self, entry: Arc<ControllerRevision>, dirty: &mut Dirty) {
        let Some(id) = WorkloadId::of_revision(&entry) else {
            return;
        };
        let entries = self.history.entry(id.clone()).or_default();
        let same = |known: &&mut Arc<_>| {
            let known: &ControllerRevision = known;
            known.metadata.name == entry.metadata.name
        };
        match entries.iter_mut().find(same) {
            Some(known) if !newer(&entry.metadata, &known.metadata) => return,
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
        dirty.workloads.insert(id);
    }

    pub(super) fn remove_revision(&mut self, id: WorkloadId, name: &str, dirty: &mut Dirty) {
        let Some(entries) = self.history.get_mut(&id) else {
            return;
        };
        entries.retain(|entry| entry.metadata.name.as_deref() != Some(name));
        if entries.is_empty() {
            self.history.remove(&id);
        }
        dirty.workloads.insert(id);
    }
}

/// The change that an entry makes by being there.
pub fn revision(mut entry: ControllerRevision) -> Option<Change> {
    // One for each revision of everything: who set which field is of no use here.
    entry.metadata.managed_fields = None;
    WorkloadId::of_revision(&entry)?;
    Some(Change::Revision(Arc::new(entry)))
}

/// The change that an entry makes by going.
pub fn revision_gone(entry: &ControllerRevision) -> Option<Change> {
    let name = entry.metadata.name.clone()?;
    Some(Change::RevisionGone(WorkloadId::of_revision(entry)?, name))
}
