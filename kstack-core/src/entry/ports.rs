//! Which I/O ports a program may use: the map that a PC's CPU reads, and what must be written when
//! another thread's map comes.
//!
//! ```text
//!   a map, as the CPU reads it (Intel SDM vol. 1, 19.5.2): bit p of it is 0 where port p is permitted
//!
//!   word 0           word 4                            word 2047
//!   |ffff ffff|  …  |fffe ffff|ffff ffff|  …  |ffff ffff| ff…       one byte of ones behind: an access of several bytes
//!   '------ kept ------------'                                      at the last port reads it
//! ```
//!
//! A program's map ends with its last word that permits a port: what follows is all ones, and is
//! neither kept nor copied. Each change of a map gives it a number of its own, its *sequence*. A
//! CPU's map remembers the sequence of what it holds, and how many of its words may hold a zero:
//!
//! | the CPU's map holds | the map that comes | is written |
//! | --- | --- | --- |
//! | the same sequence | | nothing |
//! | another, `dirty` words | `n` words | those `n`, and ones in the words from `n` to `dirty` |
//!
//! Invariant: every word of a CPU's map from `dirty` on is all ones. So a CPU that reads the map
//! whole reads what the last thread was permitted, whatever was there before.

/// How many ports there are.
pub const PORTS: u32 = 1 << 16;

/// Words of a whole map.
pub const WORDS: usize = (PORTS / u32::BITS) as usize;

/// All ports of a word refused.
pub const NONE: u32 = u32::MAX;

/// The word of a port, and its bit in there.
const fn place(port: u16) -> (usize, u32) {
    (port as usize / u32::BITS as usize, 1 << (port as u32 % u32::BITS))
}

/// Whether a map permits a port.
pub fn is_permitted(map: &[u32], port: u16) -> bool {
    let (word, bit) = place(port);
    map.get(word).is_some_and(|word| word & bit == 0)
}

/// How many words a map must have so that it can permit ports up to this one.
pub const fn words_up_to(last: u16) -> usize {
    place(last).0 + 1
}

/// Permits or refuses the ports from `first` to `last`, as far as the map goes: beyond it all are
/// refused.
pub fn set(map: &mut [u32], first: u16, last: u16, is_permitted: bool) {
    for port in first..=last {
        let (word, bit) = place(port);
        let Some(word) = map.get_mut(word) else { return };
        if is_permitted {
            *word &= !bit;
        } else {
            *word |= bit;
        }
    }
}

/// How many words of a map there are up to the last one that permits a port; 0: it permits none.
pub fn used_words(map: &[u32]) -> usize {
    map.iter().rposition(|&word| word != NONE).map_or(0, |last| last + 1)
}

/// What a thread's map is: its words up to the last one that permits a port, and the number of its
/// last change.
#[derive(Debug, Clone, Copy)]
pub struct Permitted<'m> {
    words: &'m [u32],
    sequence: u64,
}

impl<'m> Permitted<'m> {
    /// A map. `sequence` is not 0, and no other map ever has it.
    ///
    /// # Panics
    ///
    /// If there are more words than ports, or the sequence is 0.
    pub const fn new(words: &'m [u32], sequence: u64) -> Self {
        assert!(words.len() <= WORDS, "a map has more words than there are ports");
        assert!(sequence != 0, "0 is the sequence of a map that permits nothing");
        Self { words, sequence }
    }
}

/// The ports that user mode may use.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "what one word of a task state segment can say")]
pub enum Ports<'m> {
    /// None.
    None,
    /// Those of a map.
    These(Permitted<'m>),
    /// All.
    All,
}

/// What a CPU's map holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    sequence: u64,
    dirty: usize,
}

impl Held {
    /// A map of ones.
    pub const NOTHING: Self = Self { sequence: 0, dirty: 0 };

    /// Whether the CPU's map is this one already.
    pub const fn is(&self, permitted: &Permitted<'_>) -> bool {
        self.sequence == permitted.sequence
    }

    /// Makes a CPU's map that of a thread. How many words were written.
    ///
    /// # Panics
    ///
    /// If `map` is shorter than what was loaded into it.
    pub fn load(&mut self, map: &mut [u32], permitted: &Permitted<'_>) -> usize {
        if self.is(permitted) {
            return 0;
        }
        let used = permitted.words.len();
        let written = used.max(self.dirty);
        let (new, old) = map[..written].split_at_mut(used);
        new.copy_from_slice(permitted.words);
        old.fill(NONE);
        *self = Self { sequence: permitted.sequence, dirty: used };
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn permitted_ports(map: &[u32]) -> Vec<u16> {
        (0..=u16::MAX).filter(|&port| is_permitted(map, port)).collect()
    }

    #[test]
    fn x3_a_map_permits_the_ports_it_was_told_and_no_others() {
        let mut map = vec![NONE; WORDS];
        set(&mut map, 0x80, 0x80, true);
        set(&mut map, 0x3f8, 0x3ff, true);
        set(&mut map, 0xffff, 0xffff, true);
        let mut expected = vec![0x80];
        expected.extend(0x3f8..=0x3ff);
        expected.push(0xffff);
        assert_eq!(permitted_ports(&map), expected);
        assert_eq!((words_up_to(0), words_up_to(31), words_up_to(32)), (1, 1, 2));
        assert_eq!(words_up_to(u16::MAX), WORDS, "the last port is in the last word");
        assert_eq!(map[4], !1, "port 0x80 is bit 0 of word 4, as the CPU reads it");
        set(&mut map, 0x3f9, 0xffff, false);
        assert_eq!(permitted_ports(&map), [0x80, 0x3f8]);
        assert_eq!(used_words(&map), words_up_to(0x3f8));
        set(&mut map, 0, 0xffff, false);
        assert_eq!(used_words(&map), 0);
    }

    #[test]
    fn x3_a_short_map_refuses_what_is_beyond_it() {
        let mut map = [0; 2];
        assert!(is_permitted(&map, 63) && !is_permitted(&map, 64));
        set(&mut map, 32, 0xffff, false);
        assert_eq!(map, [0, NONE]);
    }

    /// Every order of four maps of different lengths, three deep: what the CPU reads is what was
    /// loaded last, byte for byte, and no more was written than had to be.
    #[test]
    fn x3_a_cpus_map_holds_the_last_one_whatever_was_there() {
        let mut maps = [vec![], vec![], vec![], vec![]];
        for (map, ports) in
            maps.iter_mut().zip([&[0x80][..], &[0x81, 0x40], &[0xffff], &[0, 0x3f8]])
        {
            map.resize(WORDS, NONE);
            for &port in ports {
                set(map, port, port, true);
            }
            map.truncate(used_words(map));
        }
        for order in 0..4_usize.pow(4) {
            let (mut map, mut held) = (vec![NONE; WORDS], Held::NOTHING);
            let mut dirty = 0;
            for step in 0..4 {
                let which = order / 4_usize.pow(step) % 4;
                let comes = Permitted::new(&maps[which], which as u64 + 1);
                let is_there = held.is(&comes);
                let written = held.load(&mut map, &comes);
                let used = maps[which].len();
                assert_eq!(written, if is_there { 0 } else { used.max(dirty) });
                dirty = used;
                assert_eq!(permitted_ports(&map), permitted_ports(&maps[which]), "order {order}");
                assert!(map[used..].iter().all(|&word| word == NONE));
                assert!(held.is(&comes));
            }
        }
    }
}
