//! How many instances of which revision there should be next: arithmetic, as Deployments do it.

/// What the numbers have to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Instances that are wanted.
    pub(super) replicas: u32,
    /// Instances that there may be beyond that.
    pub(super) surge: u32,
    /// Instances that may be missing.
    pub(super) unavailable: u32,
}

/// Instances of one side: of the revision that takes over, or of all others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Side {
    /// All of them.
    pub(super) total: u32,
    /// Those that can be called.
    pub(super) available: u32,
}

impl Side {
    fn missing(self) -> u32 {
        self.total - self.available
    }
}

/// Where it should come to, as far as the bounds let it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aim {
    /// Instances of the revision that takes over.
    pub(super) own: u32,
    /// Instances of the others.
    pub(super) rest: u32,
    /// Whether others can be made where there are fewer.
    pub(super) fill: bool,
}

impl Aim {
    /// The revision alone.
    pub(super) fn takeover(bounds: Bounds) -> Self {
        Self {
            own: bounds.replicas,
            rest: 0,
            fill: false,
        }
    }

    /// `share` instances of it, and the others beside.
    pub(super) fn canary(bounds: Bounds, share: u32, rest: Side, fill: bool) -> Self {
        let beside = bounds.replicas.saturating_sub(share).max(1);
        // Where no other can be made, it has to stand in.
        let own = match fill {
            true => share,
            false => share.max(bounds.replicas.saturating_sub(rest.total)),
        };
        Self {
            own,
            rest: beside,
            fill,
        }
    }

    /// As it is; only how many are wanted may change. `start` tells whether the first of the revision may
    /// be made where no other can.
    pub(super) fn frozen(bounds: Bounds, own: Side, rest: Side, fill: bool, start: bool) -> Self {
        let there = own.total + rest.total;
        let mut aim = Self {
            own: own.total,
            rest: rest.total,
            fill,
        };
        if there < bounds.replicas {
            let more = bounds.replicas - there;
            if fill {
                aim.rest += more;
            } else if start || own.total > 0 {
                aim.own += more;
            }
        } else if there > bounds.replicas + bounds.surge {
            // Both in proportion, and none vanishes that need not.
            let least = u32::from(own.total > 0 && bounds.replicas > 1);
            let most = bounds.replicas - u32::from(rest.total > 0 && bounds.replicas > 1);
            let share = u64::from(own.total) * u64::from(bounds.replicas);
            let share = u32::try_from(share / u64::from(there)).unwrap_or(u32::MAX);
            aim.own = match rest.total {
                0 => bounds.replicas,
                _ => share.max(least).min(most),
            };
            aim.rest = bounds.replicas - aim.own;
        }
        aim
    }
}

/// What to do with one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Instances to make.
    pub(super) make: u32,
    /// Instances to delete of those that cannot be called.
    pub(super) drop_missing: u32,
    /// Instances to delete of those that can.
    pub(super) drop_available: u32,
}

impl Change {
    fn dropped(self) -> u32 {
        self.drop_missing + self.drop_available
    }
}

/// The next step on the way: `(own, rest)`. It never deletes an available instance where fewer than
/// `replicas - unavailable` would be left, and never makes one beyond `replicas + surge`.
pub(super) fn amounts(bounds: Bounds, own: Side, rest: Side, aim: Aim) -> (Change, Change) {
    let least = bounds.replicas.saturating_sub(bounds.unavailable);
    let total = own.total + rest.total;
    let mut spare = (own.available + rest.available).saturating_sub(least);
    let (mut of_own, mut of_rest) = (Change::default(), Change::default());

    // Others that cannot be called just now may be back sooner than what takes over gets ready: as many
    // as are needed are left.
    let surplus = rest.total.saturating_sub(aim.rest);
    let free = total
        .saturating_sub(least)
        .saturating_sub(own.missing())
        .min(surplus);
    of_rest.drop_missing = rest.missing().min(free);
    of_rest.drop_available = (free - of_rest.drop_missing).min(spare).min(rest.available);
    spare -= of_rest.drop_available;

    let surplus = own.total.saturating_sub(aim.own);
    of_own.drop_missing = own.missing().min(surplus);
    of_own.drop_available = (surplus - of_own.drop_missing).min(spare);

    let left = total - of_own.dropped() - of_rest.dropped();
    let mut room = (bounds.replicas + bounds.surge).saturating_sub(left);
    if aim.fill {
        of_rest.make = aim.rest.saturating_sub(rest.total).min(room);
        room -= of_rest.make;
    }
    of_own.make = aim.own.saturating_sub(own.total).min(room);
    (of_own, of_rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn side(total: u32, available: u32) -> Side {
        Side { total, available }
    }

    fn bounds() -> impl Strategy<Value = Bounds> {
        (1_u32..30, 0_u32..10, 0_u32..10).prop_map(|(replicas, surge, unavailable)| Bounds {
            replicas,
            surge,
            unavailable: match (surge, unavailable) {
                (0, 0) => 1,
                _ => unavailable.min(replicas),
            },
        })
    }

    fn sides() -> impl Strategy<Value = (Side, Side)> {
        let one = || (0_u32..40).prop_flat_map(|total| (Just(total), 0..=total));
        (one(), one()).prop_map(|((a, b), (c, d))| (side(a, b), side(c, d)))
    }

    /// How the aim of a step is found.
    #[derive(Debug, Clone, Copy)]
    enum Way {
        Takeover,
        Canary(u32),
        Frozen,
    }

    fn ways() -> impl Strategy<Value = Way> {
        prop_oneof![
            Just(Way::Takeover),
            (1_u32..100).prop_map(Way::Canary),
            Just(Way::Frozen)
        ]
    }

    fn aim(way: Way, bounds: Bounds, own: Side, rest: Side, fill: bool) -> Aim {
        match way {
            Way::Takeover => Aim::takeover(bounds),
            Way::Canary(percent) => {
                let share = ringfence_api::share(bounds.replicas, percent);
                Aim::canary(bounds, share, rest, fill)
            }
            Way::Frozen => Aim::frozen(bounds, own, rest, fill, true),
        }
    }

    fn after(side: Side, change: Change) -> Side {
        Side {
            total: side.total + change.make - change.dropped(),
            available: side.available - change.drop_available,
        }
    }

    proptest! {
        #[test]
        fn the_bounds_are_kept(
            bounds in bounds(), (own, rest) in sides(), way in ways(), fill: bool,
        ) {
            let aim = aim(way, bounds, own, rest, fill);
            let (of_own, of_rest) = amounts(bounds, own, rest, aim);
            for (side, change) in [(own, of_own), (rest, of_rest)] {
                prop_assert!(change.drop_missing <= side.missing());
                prop_assert!(change.drop_available <= side.available);
                prop_assert!(change.make == 0 || change.dropped() == 0);
            }
            let least = bounds.replicas.saturating_sub(bounds.unavailable);
            let before = own.available + rest.available;
            let (own_after, rest_after) = (after(own, of_own), after(rest, of_rest));
            prop_assert!(own_after.available + rest_after.available >= least.min(before));
            let made = of_own.make + of_rest.make;
            if made > 0 {
                let total = own_after.total + rest_after.total;
                prop_assert!(total <= bounds.replicas + bounds.surge);
            }
        }

        /// However the hosts are doing meanwhile, once everything gets ready it comes to its end, and
        /// then there is nothing to do.
        #[test]
        fn it_comes_to_an_end(
            bounds in bounds(), (own, rest) in sides(), percent in 1_u32..100, canary: bool,
            fill: bool, luck in proptest::collection::vec((0_u32..5, 0_u32..5), 0..20),
        ) {
            prop_assume!(!canary || bounds.surge > 0);
            let way = if canary { Way::Canary(percent) } else { Way::Takeover };
            let (mut own, mut rest) = (own, rest);
            let mut luck = luck.into_iter();
            for _ in 0..400 {
                let aim = aim(way, bounds, own, rest, fill);
                let (of_own, of_rest) = amounts(bounds, own, rest, aim);
                let still = own.missing() + rest.missing() == 0
                    && of_own == Change::default() && of_rest == Change::default();
                own = after(own, of_own);
                rest = after(rest, of_rest);
                if still && luck.len() == 0 {
                    break;
                }
                match luck.next() {
                    Some((up, down)) => {
                        own.available = (own.available + up).min(own.total);
                        rest.available = rest.available.saturating_sub(down);
                    }
                    None => {
                        own.available = own.total;
                        rest.available = rest.total;
                    }
                }
            }
            let aim = aim(way, bounds, own, rest, fill);
            prop_assert_eq!(
                amounts(bounds, own, rest, aim),
                (Change::default(), Change::default())
            );
            prop_assert!(own.total + rest.total <= bounds.replicas + bounds.surge.max(1));
            prop_assert!(own.total + rest.total >= bounds.replicas);
            if !canary {
                prop_assert_eq!((own.total, rest.total), (bounds.replicas, 0));
            }
        }

        #[test]
        fn what_is_frozen_is_scaled_only(bounds in bounds(), (own, rest) in sides(), fill: bool) {
            let (mut own, mut rest) = (own, rest);
            for _ in 0..3 {
                let aim = Aim::frozen(bounds, own, rest, fill, true);
                let (of_own, of_rest) = amounts(bounds, own, rest, aim);
                own = after(own, of_own);
                rest = after(rest, of_rest);
                own.available = own.total;
                rest.available = rest.total;
            }
            let aim = Aim::frozen(bounds, own, rest, fill, true);
            let (of_own, of_rest) = amounts(bounds, own, rest, aim);
            prop_assert_eq!((of_own.dropped(), of_rest.dropped()), (0, 0));
            prop_assert_eq!(of_own.make, 0);
        }
    }

    #[test]
    fn a_rollout_of_ten() {
        let bounds = Bounds {
            replicas: 10,
            surge: 3,
            unavailable: 2,
        };
        let step = |own, rest| {
            let (of_own, of_rest) = amounts(bounds, own, rest, Aim::takeover(bounds));
            (of_own.make, of_rest.drop_available)
        };
        assert_eq!(step(side(0, 0), side(10, 10)), (5, 2));
        assert_eq!(
            step(side(5, 0), side(8, 8)),
            (0, 0),
            "nothing of it is ready yet"
        );
        assert_eq!(step(side(5, 3), side(8, 8)), (3, 3));
        assert_eq!(step(side(10, 10), side(1, 1)), (0, 1));
    }

    #[test]
    fn a_canary_of_one_runs_beside_the_only_other() {
        let bounds = Bounds {
            replicas: 1,
            surge: 1,
            unavailable: 0,
        };
        let aim = Aim::canary(bounds, 1, side(1, 1), true);
        let (of_own, of_rest) = amounts(bounds, side(0, 0), side(1, 1), aim);
        assert_eq!((of_own.make, of_rest.dropped()), (1, 0));
        let (of_own, of_rest) = amounts(bounds, side(1, 1), side(1, 1), aim);
        assert_eq!((of_own, of_rest), Default::default());
    }
}
