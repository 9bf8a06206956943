//! What a transfer asks for besides addresses: which way it goes, what must be done to the CPUs'
//! caches around it, and whether the device can work on the buffer itself at all.

use core::fmt;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there are two ends")]
pub enum Direction {
    /// The device reads.
    ToDevice,
    /// The device writes.
    FromDevice,
    /// It does both.
    Both,
}

impl Direction {
    /// Whether the device writes.
    pub const fn device_writes(self) -> bool {
        !matches!(self, Self::ToDevice)
    }

    /// Whether the device reads.
    pub const fn device_reads(self) -> bool {
        !matches!(self, Self::FromDevice)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToDevice => "to the device",
            Self::FromDevice => "from the device",
            Self::Both => "both ways",
        })
    }
}

/// Whose turn it is: a buffer that is shared belongs to one side at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there are two sides")]
pub enum Turn {
    /// The device's from now on.
    Device,
    /// The CPU's from now on.
    Cpu,
}

/// What must be done to cached copies of a buffer, where a device does not see them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "caches have no third")]
pub enum Upkeep {
    /// Nothing.
    Nothing,
    /// What only a cache has is written to memory.
    Clean,
    /// What a cache has is forgotten.
    Invalidate,
}

/// What a device that does not see the CPUs' caches needs when a buffer's turn changes.
///
/// | | device's turn | CPU's turn |
/// | --- | --- | --- |
/// | to the device | clean: it reads memory, not caches | nothing |
/// | from the device | clean: a line written back later would cover what the device wrote | invalidate: what was fetched ahead meanwhile is older than that |
/// | both | clean | invalidate |
pub const fn upkeep(direction: Direction, turn: Turn) -> Upkeep {
    match (turn, direction) {
        (Turn::Device, _) => Upkeep::Clean,
        (Turn::Cpu, Direction::ToDevice) => Upkeep::Nothing,
        (Turn::Cpu, Direction::FromDevice | Direction::Both) => Upkeep::Invalidate,
    }
}

/// Why a device works on a copy (a bounce buffer) instead of the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Bounce {
    /// The buffer has bytes beyond what the device can name.
    OutOfReach,
    /// The device writes without the caches' knowledge, and the buffer shares a cache line with
    /// something else: one of the two would lose what was written.
    SharedLine,
}

impl fmt::Display for Bounce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfReach => "the device cannot reach it",
            Self::SharedLine => "it shares a cache line with something else",
        })
    }
}

/// Whether a device works on a copy of the buffer from `lowest` to `last`. `highest`: what the
/// device can name; `line`: bytes of the longest cache line if the device does not see caches.
pub const fn bounce(
    lowest: u64,
    last: u64,
    highest: u64,
    line: Option<u32>,
    direction: Direction,
) -> Option<Bounce> {
    if last > highest {
        return Some(Bounce::OutOfReach);
    }
    let line = match line {
        Some(line) if line > 1 && direction.device_writes() => line as u64,
        _ => return None,
    };
    // The byte behind the last one begins a line, too. It wraps to 0 behind all of memory.
    if lowest % line != 0 || last.wrapping_add(1) % line != 0 {
        return Some(Bounce::SharedLine);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// A memory with a write-back cache in front, for one CPU, and a device behind the cache. Lines
    /// are fetched ahead and written back at any time: a mask says when.
    struct Machine {
        memory: Vec<u8>,
        cache: Vec<Option<(u8, bool)>>,
    }

    impl Machine {
        fn new(bytes: usize) -> Self {
            Self { memory: vec![0; bytes], cache: vec![None; bytes] }
        }

        fn cpu_write(&mut self, at: usize, value: u8) {
            self.cache[at] = Some((value, true));
        }

        fn cpu_read(&mut self, at: usize) -> u8 {
            self.cache[at].get_or_insert((self.memory[at], false)).0
        }

        fn upkeep(&mut self, what: Upkeep) {
            for at in 0..self.memory.len() {
                match (what, self.cache[at]) {
                    (Upkeep::Clean, Some((value, _))) => {
                        self.memory[at] = value;
                        self.cache[at] = Some((value, false));
                    }
                    (Upkeep::Invalidate, _) => self.cache[at] = None,
                    _ => {}
                }
            }
        }

        /// What a cache may do whenever it likes.
        fn by_itself(&mut self, choice: u32) {
            for at in 0..self.memory.len() {
                match (choice >> (2 * at) & 3, self.cache[at]) {
                    // Fetched ahead.
                    (1, None) => self.cache[at] = Some((self.memory[at], false)),
                    // Written back and dropped.
                    (2, Some((value, dirty))) => {
                        if dirty {
                            self.memory[at] = value;
                        }
                        self.cache[at] = None;
                    }
                    _ => {}
                }
            }
        }
    }

    /// Every choice of the cache at every moment, for every direction. Red where the clean before a
    /// device's write is left out, where the invalidation after it is, or where it comes before.
    #[test]
    fn d4_with_its_upkeep_each_side_reads_what_the_other_wrote() {
        const BYTES: usize = 2;
        let choices = 1_u32 << (2 * BYTES);
        for direction in [Direction::ToDevice, Direction::FromDevice, Direction::Both] {
            for choice in 0..choices.pow(3) {
                let at_moment = |moment: u32| choice / choices.pow(moment) % choices;
                let mut machine = Machine::new(BYTES);
                (0..BYTES).for_each(|at| machine.cpu_write(at, 1));
                machine.upkeep(upkeep(direction, Turn::Device));
                machine.by_itself(at_moment(0));
                for at in 0..BYTES {
                    if direction.device_reads() {
                        assert_eq!(machine.memory[at], 1, "{direction}, choice {choice:#x}");
                    }
                    machine.by_itself(at_moment(1));
                    if direction.device_writes() {
                        machine.memory[at] = 2;
                    }
                }
                machine.by_itself(at_moment(2));
                machine.upkeep(upkeep(direction, Turn::Cpu));
                let expected = if direction.device_writes() { 2 } else { 1 };
                for at in 0..BYTES {
                    assert_eq!(machine.cpu_read(at), expected, "{direction}, choice {choice:#x}");
                }
            }
        }
    }

    #[test]
    fn d4_a_device_works_on_a_copy_of_what_it_cannot_reach_or_would_spoil() {
        let (from, to) = (Direction::FromDevice, Direction::ToDevice);
        let most = u64::MAX;
        assert_eq!(bounce(0x1000, 0x1fff, 0x1fff, None, from), None);
        assert_eq!(bounce(0x1000, 0x2000, 0x1fff, None, to), Some(Bounce::OutOfReach));
        // Lines matter where the device does not see caches and writes.
        assert_eq!(bounce(0x1008, 0x1fff, most, None, from), None);
        assert_eq!(bounce(0x1008, 0x1fff, most, Some(64), to), None);
        for direction in [from, Direction::Both] {
            assert_eq!(bounce(0x1000, 0x1fff, most, Some(64), direction), None);
            let spoiled = Some(Bounce::SharedLine);
            assert_eq!(bounce(0x1008, 0x1fff, most, Some(64), direction), spoiled);
            assert_eq!(bounce(0x1000, 0x1ffe, most, Some(64), direction), spoiled);
        }
        assert_eq!(bounce(most - 63, most, most, Some(64), from), None);
    }
}
