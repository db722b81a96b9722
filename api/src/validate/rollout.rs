//! Validation of how revisions follow each other.

use super::{range, size};
use crate::problem::Report;
use crate::{Bound, CANARY_STEPS, REVISION_HISTORY, ROLLOUT_SECONDS, RolloutSpec};

/// Bytes of the mark of a restart: the time.
const MARK_BYTES: usize = 64;

impl RolloutSpec {
    pub(super) fn validate(&self, report: &mut Report<'_>) {
        let none =
            |bound: Option<Bound>| matches!(bound, Some(Bound::Count(0) | Bound::Percent(0)));
        if none(self.max_surge) && none(self.max_unavailable) {
            report.say(
                "maxSurge and maxUnavailable are both 0, so that nothing could ever be replaced: raise \
                 one of them",
            );
        }
        if none(self.max_surge) && self.canary.is_some() {
            let mut report = report.field("maxSurge");
            report.say("a canary runs beside the earlier revision: raise it to 1 or more");
        }
        for (field, value, least) in [
            ("minReadySeconds", self.min_ready_seconds, 0),
            ("progressDeadlineSeconds", self.progress_deadline_seconds, 1),
        ] {
            range(value, least, ROLLOUT_SECONDS, &mut report.field(field));
        }
        if self.min_ready() >= self.progress_deadline() {
            report
                .field("progressDeadlineSeconds")
                .say("has to be more than minReadySeconds; it is 600 where absent");
        }
        range(
            self.revision_history_limit,
            0,
            REVISION_HISTORY,
            &mut report.field("revisionHistoryLimit"),
        );
        if let Some(mark) = &self.restarted_at {
            let mut report = report.field("restartedAt");
            if mark.is_empty() {
                report.say("is empty: write the time, or remove it");
            }
            size(mark, MARK_BYTES, &mut report);
        }
        let Some(canary) = &self.canary else { return };
        let mut report = report.field("canary");
        let mut report = report.field("steps");
        range(Some(canary.steps.len()), 1, CANARY_STEPS, &mut report);
        for (index, step) in canary.steps.iter().enumerate() {
            let mut report = report.index(index);
            range(Some(step.weight), 1, 99, &mut report.field("weight"));
            let pause = &mut report.field("pauseSeconds");
            range(step.pause_seconds, 1, ROLLOUT_SECONDS, pause);
        }
    }
}
