//! Which of the hosts that run a target takes a call. Pure: what is known goes in, a choice comes out.

/// One host that runs the target and is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Whether it runs the revision that the run falls to, where a canary shares the runs.
    pub(crate) meant: bool,
    /// Whether it is this host.
    pub(crate) local: bool,
    /// Whether it drains: it still answers, and others are better.
    pub(crate) draining: bool,
    /// Whether it failed lately.
    pub(crate) ejected: bool,
    /// Whether it refused this very call.
    pub(crate) refused: bool,
    /// Calls of this host that run there now.
    pub(crate) in_flight: u32,
}

impl Candidate {
    /// The smaller, the better. A host that failed lately comes last, but it comes: where all failed,
    /// trying beats refusing.
    fn tier(&self) -> u8 {
        match (self.ejected, self.draining) {
            (false, false) => 0,
            (false, true) => 1,
            (true, _) => 2,
        }
    }
}

/// The index of the host to call; none where every candidate refused. Of the sound hosts those with the
/// revision that is meant, of those this host, else the less busy one of two that are drawn (Mitzenmacher,
/// "The Power of Two Choices"). While one revision takes over from another both are called, as each is
/// ready. `draw` gives a number below its argument.
pub(crate) fn choose(
    candidates: &[Candidate],
    mut draw: impl FnMut(usize) -> usize,
) -> Option<usize> {
    let open = || {
        candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| !candidate.refused)
    };
    let tier = open().map(|(_, candidate)| candidate.tier()).min()?;
    let in_tier = || open().filter(|(_, candidate)| candidate.tier() == tier);
    let meant = in_tier().map(|(_, candidate)| candidate.meant).max()?;
    let best: Vec<usize> = in_tier()
        .filter(|(_, candidate)| candidate.meant == meant)
        .map(|(index, _)| index)
        .collect();
    if let Some(here) = best.iter().find(|index| candidates[**index].local) {
        return Some(*here);
    }
    let first = best.get(draw(best.len()))?;
    if best.len() == 1 {
        return Some(*first);
    }
    // Another one than the first, each as likely.
    let rest: Vec<usize> = best
        .iter()
        .copied()
        .filter(|index| index != first)
        .collect();
    let second = rest.get(draw(rest.len()))?;
    let busy = |index: &usize| candidates[*index].in_flight;
    Some(if busy(second) < busy(first) {
        *second
    } else {
        *first
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate() -> Candidate {
        Candidate {
            meant: true,
            local: false,
            draining: false,
            ejected: false,
            refused: false,
            in_flight: 0,
        }
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        (any::<bool>(), flags, 0..5_u32).prop_map(
            |(meant, (local, draining, ejected, refused), in_flight)| Candidate {
                meant,
                local,
                draining,
                ejected,
                refused,
                in_flight,
            },
        )
    }

    proptest! {
        #[test]
        fn a_choice_is_the_best_there_is(
            all in proptest::collection::vec(any_candidate(), 0..8),
            seed in any::<u64>(),
        ) {
            let mut state = seed;
            let chosen = choose(&all, |most| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                usize::try_from(state >> 33).unwrap() % most
            });
            let open: Vec<_> = all.iter().filter(|c| !c.refused).collect();
            prop_assert_eq!(chosen.is_some(), !open.is_empty());
            if let Some(chosen) = chosen.map(|index| all[index]) {
                prop_assert!(!chosen.refused);
                for other in open {
                    prop_assert!(chosen.tier() <= other.tier());
                    if chosen.tier() == other.tier() {
                        prop_assert!(chosen.meant >= other.meant);
                        let equal = chosen.meant == other.meant;
                        prop_assert!(!(equal && other.local && !chosen.local));
                    }
                }
            }
        }
    }

    #[test]
    fn of_two_the_less_busy_one_is_called() {
        let busy = Candidate {
            in_flight: 9,
            ..candidate()
        };
        let all = [busy, candidate()];
        for first in 0..2 {
            let mut drawn = [first, 0].into_iter();
            assert_eq!(choose(&all, |_| drawn.next().unwrap()), Some(1));
        }
    }

    #[test]
    fn where_all_failed_lately_one_is_tried() {
        let failed = Candidate {
            ejected: true,
            ..candidate()
        };
        assert_eq!(choose(&[failed], |_| 0), Some(0));
        let other = Candidate {
            meant: false,
            ..candidate()
        };
        assert_eq!(choose(&[failed, other], |_| 0), Some(1));
    }
}
