//! When a key ends.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest life that a key can be given.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// A moment after which a key is refused; RFC 3339 in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(OffsetDateTime);

impl Expiry {
    /// So long from now, to the second; none beyond a hundred years.
    pub fn after(life: Duration) -> Option<Self> {
        let end = OffsetDateTime::now_utc().checked_add(life.try_into().ok()?)?;
        (life <= LONGEST).then(|| Self(end.replace_nanosecond(0).unwrap_or(end)))
    }

    /// Whether it is over.
    pub fn is_over(&self, now: SystemTime) -> bool {
        OffsetDateTime::from(now) >= self.0
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Expiry {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OffsetDateTime::parse(text, &Rfc3339)
            .map(Self)
            .map_err(|_| "a key expires at a time like 2030-01-31T12:00:00Z")
    }
}

impl Serialize for Expiry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_ends_to_the_second() {
        let now = SystemTime::now();
        let expiry = Expiry::after(Duration::from_secs(60)).unwrap();
        assert!(!expiry.is_over(now));
        assert!(!expiry.is_over(now + Duration::from_secs(58)));
        assert!(expiry.is_over(now + Duration::from_secs(61)));
        assert_eq!(expiry.to_string().parse(), Ok(expiry));
        assert_eq!(Expiry::after(Duration::MAX), None);
        assert!("tomorrow".parse::<Expiry>().is_err());
    }
}
