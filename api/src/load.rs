//! What a host says of its load, with each renewal of its Lease.

use std::fmt;
use std::str::FromStr;

/// Annotation of a host's Lease: how many of its sandboxes are in use, a [`PoolUsed`].
pub const POOL_USED_ANNOTATION: &str = "ringfence.dev/pool-used";
/// Seconds over which [`PoolUsed`] is an average.
pub const POOL_USED_SECONDS: u16 = 10;

/// How many sandboxes of a host were in use on average, in thousandths. As text it is a quantity of Kubernetes with
/// the suffix for thousandths: `2350m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolUsed(u32);

/// It is none: digits and an `m` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a count of sandboxes in thousandths, such as 2350m")]
pub struct PoolUsedError;

impl PoolUsed {
    /// From thousandths of a sandbox.
    pub fn from_thousandths(thousandths: u32) -> Self {
        Self(thousandths)
    }
}

impl fmt::Display for PoolUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.0)
    }
}

impl FromStr for PoolUsed {
    type Err = PoolUsedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_suffix('m').ok_or(PoolUsedError)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PoolUsedError);
        }
        digits.parse().map(Self).map_err(|_| PoolUsedError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for thousandths in [0, 1, 2_350, u32::MAX] {
            let used = PoolUsed::from_thousandths(thousandths);
            assert_eq!(used.to_string().parse(), Ok(used));
        }
    }

    #[test]
    fn anything_else_is_not() {
        for bad in [
            "",
            "m",
            "1",
            "-1m",
            "+1m",
            " 1m",
            "1.5m",
            "1M",
            "4294967296m",
            "NaN",
        ] {
            assert_eq!(bad.parse::<PoolUsed>(), Err(PoolUsedError), "{bad}");
        }
    }
}
