use std::fmt;

/// A hybrid logical clock's stamp: 48 bits of milliseconds since the Unix epoch, then a 16-bit
/// counter that orders the stamps of one millisecond.
///
/// Servers make stamps, and they order history for people. They never decide a merge and are never a
/// sync cursor. With the [`crate::NodeId`] that made it, a stamp names one operation batch.
///
/// Source: Kulkarni, Demirbas et al., "Logical Physical Clocks", 2014.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HlcTimestamp(u64);

impl HlcTimestamp {
    /// The smallest stamp.
    pub const ZERO: Self = Self(0);
    /// The largest millisecond count that fits 48 bits (in the year 10,889).
    pub const MILLIS_MAX: u64 = (1 << 48) - 1;

    /// Puts a stamp together. Milliseconds over [`Self::MILLIS_MAX`] are clamped to it.
    pub fn new(millis: u64, counter: u16) -> Self {
        Self((millis.min(Self::MILLIS_MAX) << 16) | u64::from(counter))
    }

    /// The 64 bits as they stand in a record.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The stamp that stands in a record as `bits`.
    pub fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// The counter within the millisecond.
    pub fn counter(self) -> u16 {
        #[allow(clippy::cast_possible_truncation)] // The mask leaves exactly 16 bits.
        let counter = (self.0 & 0xffff) as u16;
        counter
    }

    /// The next stamp. A counter that is full borrows the next millisecond.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for HlcTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.counter())
    }
}
