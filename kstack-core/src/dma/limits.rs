//! What one device can take, and a list cut to it.
//!
//! A device reads a table of segments of its own: how many it may have, how long each may be, which
//! lines in memory none may cross, and how far its addresses reach differ from device to device.
//! Entries that follow each other are merged first, then cut:
//!
//! ```text
//!   entries            |--- 0x1000 ---|-- 0x1e00 --|    |-- 0x9000 --|      one end is the next's beginning
//!   boundary 0x2000                        :
//!   segments           |===================|=======|    |============|      0x1000..0x2000..  0x9000..
//! ```
//!
//! To cut as late as possible each time gives the fewest segments: a cut that comes earlier only
//! makes the rest longer.

use super::entry::Entry;
use core::fmt;
use core::num::NonZeroU32;

/// What one device can take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a segment at most.
    segment: NonZeroU32,
    /// No segment crosses a multiple of two to this power; 64: it has no such lines.
    boundary: u32,
    /// Segments at most.
    count: usize,
    /// The highest address that the device can name.
    highest: u64,
}

/// Why a list cannot be given to a device as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LimitError {
    /// It needs more segments than the device takes.
    TooMany {
        /// What it takes.
        most: usize,
    },
    /// A byte lies beyond what the device can name.
    OutOfReach {
        /// Its physical address.
        at: u64,
        /// The highest that the device names.
        highest: u64,
    },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { most } => write!(f, "the device takes {most} segments at most"),
            Self::OutOfReach { at, highest } => {
                write!(f, "{at:#x} is out of the device's reach, which ends at {highest:#x}")
            }
        }
    }
}

impl core::error::Error for LimitError {}

/// A piece of memory as the device is told of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_structs, reason = "an address and a length, as in a device's table")]
pub struct Segment {
    /// Its first byte.
    pub lowest: u64,
    /// Its bytes; not 0.
    pub length: u32,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x} + {:#x}", self.lowest, self.length)
    }
}

impl Limits {
    /// A device that takes everything.
    pub const NONE: Self =
        Self { segment: NonZeroU32::MAX, boundary: 64, count: usize::MAX, highest: u64::MAX };

    /// The same, with segments of so many bytes at most; of one, if that is none.
    #[must_use]
    pub const fn segments_of(self, bytes: u32) -> Self {
        let segment = match NonZeroU32::new(bytes) {
            Some(bytes) => bytes,
            None => NonZeroU32::MIN,
        };
        Self { segment, ..self }
    }

    /// The same, where no segment crosses a multiple of two to this power. Of 64 and more there are
    /// none.
    #[must_use]
    pub const fn within(self, power: u32) -> Self {
        Self { boundary: if power > 64 { 64 } else { power }, ..self }
    }

    /// The same, with so many segments at most.
    #[must_use]
    pub const fn at_most(self, count: usize) -> Self {
        Self { count, ..self }
    }

    /// The same for a device whose addresses have so many bits.
    #[must_use]
    pub const fn addresses_of(self, bits: u32) -> Self {
        let highest = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
        Self { highest, ..self }
    }

    /// The same for a device that reaches memory up to this address.
    #[must_use]
    pub const fn up_to(self, highest: u64) -> Self {
        Self { highest, ..self }
    }

    /// The highest address that the device can name.
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// How many bytes a segment that begins there may have.
    const fn room_at(&self, lowest: u64) -> u64 {
        let most = self.segment.get() as u64;
        if self.boundary >= 64 {
            return most;
        }
        let line = 1_u64 << self.boundary;
        let to_line = line - (lowest & (line - 1));
        if to_line < most { to_line } else { most }
    }

    /// The segments of these entries. Counts nothing, and does not look at the device's reach:
    /// [`Limits::check`] does.
    pub fn segments<I>(&self, entries: I) -> Segments<I::IntoIter>
    where
        I: IntoIterator<Item = Entry>,
    {
        Segments { limits: *self, entries: entries.into_iter(), pending: None, after: None }
    }

    /// How many segments these entries make, if the device takes them.
    pub fn check(&self, entries: impl IntoIterator<Item = Entry>) -> Result<usize, LimitError> {
        let mut count = 0;
        for segment in self.segments(entries) {
            let last = segment.lowest + u64::from(segment.length - 1);
            if last > self.highest {
                let at = if segment.lowest > self.highest { segment.lowest } else { last };
                return Err(LimitError::OutOfReach { at, highest: self.highest });
            }
            if count == self.count {
                return Err(LimitError::TooMany { most: self.count });
            }
            count += 1;
        }
        Ok(count)
    }
}

/// See [`Limits::segments`].
#[derive(Debug)]
pub struct Segments<I> {
    limits: Limits,
    entries: I,
    /// What has been merged and not been given yet: where it begins and its bytes, not 0.
    pending: Option<(u64, u64)>,
    /// The entry behind it, which does not follow it in memory.
    after: Option<Entry>,
}

impl<I: Iterator<Item = Entry>> Iterator for Segments<I> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let (lowest, mut bytes) = match self.pending.take() {
            Some(pending) => pending,
            None => {
                let entry = self.after.take().or_else(|| self.entries.next())?;
                (entry.lowest(), u64::from(entry.length()))
            }
        };
        let room = self.limits.room_at(lowest);
        while bytes < room && self.after.is_none() {
            let Some(entry) = self.entries.next() else { break };
            // The last byte of memory has nothing behind it.
            if lowest.checked_add(bytes) == Some(entry.lowest()) {
                bytes += u64::from(entry.length());
            } else {
                self.after = Some(entry);
            }
        }
        let length = if bytes < room { bytes } else { room };
        if length < bytes {
            self.pending = Some((lowest + length, bytes - length));
        }
        // `room` is the length of a segment at most, which has 32 bits.
        Some(Segment { lowest, length: length as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::list::tests::{Random, places, tables};
    use std::vec::Vec;

    /// The naive way: byte by byte, a new segment where there must be one.
    fn naive(bytes: &[u64], most: u64, power: u32) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        for &at in bytes {
            match segments.last_mut() {
                Some(last)
                    if last.lowest + u64::from(last.length) == at
                        && u64::from(last.length) < most
                        && (power >= 64 || at % (1 << power) != 0) =>
                {
                    last.length += 1;
                }
                _ => segments.push(Segment { lowest: at, length: 1 }),
            }
        }
        segments
    }

    /// Red where two entries that follow each other stay two, where a segment crosses a line by a
    /// byte, where what is left behind a cut is lost, and where the entry that ended a run is.
    #[test]
    fn d1_segments_are_those_of_the_naive_way_for_any_limits() {
        let mut random = Random(5);
        let (mut merged, mut cut) = (0, 0);
        for _ in 0..6000 {
            let entries: Vec<Entry> = tables(&mut random).concat();
            let most = 1 + random.below(1500) as u32;
            let power = [6, 9, 10, 12, 64][random.below(5) as usize];
            let limits = Limits::NONE.segments_of(most).within(power);
            let segments: Vec<Segment> = limits.segments(entries.iter().copied()).collect();
            let bytes = places(entries.iter().copied());
            assert_eq!(segments, naive(&bytes, most.into(), power), "{entries:?} by {limits:?}");
            assert_eq!(limits.check(entries.iter().copied()), Ok(segments.len()));
            merged += usize::from(segments.len() < entries.len());
            cut += usize::from(segments.len() > entries.len());
        }
        assert!(merged > 500 && cut > 500, "{merged} merged, {cut} cut: it tried one thing only");
    }

    #[test]
    fn d1_a_device_gets_no_segment_too_many_and_none_out_of_its_reach() {
        let entry = |at, length| Entry::at(at, length).unwrap();
        let entries = [entry(0x1000, 0x1000), entry(0x2000, 0x1000), entry(0x9000, 0x10)];
        let check = |limits: Limits| limits.check(entries);
        assert_eq!(check(Limits::NONE), Ok(2));
        assert_eq!(check(Limits::NONE.at_most(2)), Ok(2));
        assert_eq!(check(Limits::NONE.at_most(1)), Err(LimitError::TooMany { most: 1 }));
        assert_eq!(check(Limits::NONE.within(13)), Ok(3));
        assert_eq!(check(Limits::NONE.segments_of(0).at_most(0x2010)), Ok(0x2010));
        let narrow = Limits::NONE.addresses_of(15);
        assert_eq!(narrow, Limits::NONE.up_to(0x7fff));
        assert_eq!(
            check(narrow),
            Err(LimitError::OutOfReach { at: 0x9000, highest: 0x7fff }),
            "a segment beyond"
        );
        let last = [entry(0x7ff0, 0x11)];
        assert_eq!(
            narrow.check(last),
            Err(LimitError::OutOfReach { at: 0x8000, highest: 0x7fff }),
            "a segment that ends beyond"
        );
        assert_eq!(narrow.check([entry(0x7ff0, 0x10)]), Ok(1));
        assert_eq!(Limits::NONE.addresses_of(64).highest(), u64::MAX);
        // The last byte of memory, and the first one: no neighbours.
        assert_eq!(Limits::NONE.check([entry(u64::MAX, 1), entry(0, 1)]), Ok(2));
    }
}
