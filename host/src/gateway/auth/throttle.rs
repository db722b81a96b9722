//! Wrong keys, counted by where they come from.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Wrong keys that one address may send at once.
const BURST: f64 = 10.0;
/// Time until one more is allowed.
const REFILL: Duration = Duration::from_secs(6);
/// Addresses that are remembered.
const ADDRESSES: usize = 4096;

/// One bucket of allowed failures per address. Bounded: when there is no room for another address,
/// its failures are refused until some bucket is full again.
#[derive(Default)]
pub(crate) struct Throttle {
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn refilled(&self, now: Instant) -> f64 {
        let gained = now.duration_since(self.at).as_secs_f64() / REFILL.as_secs_f64();
        (self.left + gained).min(BURST)
    }
}

impl Throttle {
    /// Whether an address has sent all the wrong credentials that it may.
    pub(crate) fn is_spent(&self, from: IpAddr) -> bool {
        let now = Instant::now();
        let buckets = self.buckets.lock();
        let bucket = buckets.get(&network(from));
        bucket.is_some_and(|bucket| bucket.refilled(now) < 1.0)
    }

    /// Counts a failure; the error is the number of seconds until the next may be tried.
    pub(crate) fn failed(&self, from: IpAddr) -> Result<(), u64> {
        let now = Instant::now();
        let from = network(from);
        let mut buckets = self.buckets.lock();
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&from) {
            buckets.retain(|_, bucket| bucket.refilled(now) < BURST);
            if buckets.len() >= ADDRESSES {
                return Err(REFILL.as_secs());
            }
        }
        let bucket = buckets.entry(from).or_insert(Bucket {
            left: BURST,
            at: now,
        });
        let left = bucket.refilled(now);
        bucket.at = now;
        if left < 1.0 {
            bucket.left = left;
            return Err(REFILL.as_secs());
        }
        bucket.left = left - 1.0;
        Ok(())
    }
}

/// One subscriber of IPv6 has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_bounded_and_forgiven() {
        let throttle = Throttle::default();
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..10 {
            assert_eq!(throttle.failed(from), Ok(()));
        }
        assert!(throttle.failed(from).is_err());
        assert!(throttle.is_spent(from));
        assert_eq!(
            throttle.failed("192.0.2.2".parse().unwrap()),
            Ok(()),
            "others are not affected"
        );
        assert!(!throttle.is_spent("192.0.2.2".parse().unwrap()));
        tokio::time::advance(REFILL).await;
        assert!(!throttle.is_spent(from));
        assert_eq!(throttle.failed(from), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_does_not_grow() {
        let throttle = Throttle::default();
        for n in 0..u32::try_from(ADDRESSES).unwrap() + 100 {
            let _ = throttle.failed(IpAddr::from(std::net::Ipv4Addr::from(0xc612_0000 + n)));
        }
        assert_eq!(throttle.buckets.lock().len(), ADDRESSES);
        tokio::time::advance(REFILL * 2).await;
        assert_eq!(throttle.failed("192.0.2.9".parse().unwrap()), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let one = network("2001:db8:1:2:3::4".parse().unwrap());
        assert_eq!(one, network("2001:db8:1:2:ffff::1".parse().unwrap()));
    }
}
