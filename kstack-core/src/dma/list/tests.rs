//! Lists against a naive model: the physical place of every byte, in order.

use super::*;
use std::vec::Vec;
use std::{format, vec};

/// A small generator (SplitMix64), so that a failure comes again with its seed.
pub(in crate::dma) struct Random(pub(in crate::dma) u64);

impl Random {
    pub(in crate::dma) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub(in crate::dma) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Entries that often follow each other in memory, in tables of any length, empty ones among them.
pub(in crate::dma) fn tables(random: &mut Random) -> Vec<Vec<Entry>> {
    let mut end = random.below(1 << 20);
    (0..1 + random.below(4))
        .map(|_| {
            let entries = (0..random.below(6)).map(|_| {
                if random.below(2) == 0 {
                    end = random.below(1 << 20);
                }
                let entry = Entry::at(end, 1 + random.below(600) as u32).unwrap();
                end = entry.last() + 1;
                entry
            });
            entries.collect()
        })
        .collect()
}

/// Runs `with` on the chain of these tables. Each link is a call: it refers to the one after it.
pub(in crate::dma) fn chained(tables: &[Vec<Entry>], with: &mut dyn FnMut(&List<'_>)) {
    fn before(tables: &[Vec<Entry>], rest: &List<'_>, with: &mut dyn FnMut(&List<'_>)) {
        match tables.split_last() {
            None => with(rest),
            Some((last, others)) => before(others, &List::chained(last, rest).unwrap(), with),
        }
    }
    before(tables, &List::of(&[]).unwrap(), with);
}

/// The place of every byte.
pub(in crate::dma) fn places(entries: impl Iterator<Item = Entry>) -> Vec<u64> {
    entries.flat_map(|entry| entry.lowest()..=entry.last()).collect()
}

/// Red where a table of the chain is left out or looked at twice, where a cut takes a byte too few
/// or too many, and where sizes are those of the first table.
#[test]
fn d1_any_part_of_any_chain_has_its_bytes_in_order_and_no_others() {
    let mut random = Random(3);
    let mut crossed = 0;
    for _ in 0..4000 {
        let tables = tables(&mut random);
        let all = places(tables.iter().flatten().copied());
        let (skip, bytes) = (random.below(2500), random.below(2500));
        chained(&tables, &mut |list| {
            assert_eq!(list.bytes(), all.len() as u64);
            assert_eq!(list.count(), tables.iter().flatten().count());
            assert_eq!(list.tables(), tables.len() + 1);
            assert_eq!(places(list.walk()), all);
            let part = list.part(skip, bytes);
            let from = (skip as usize).min(all.len());
            let to = (from + bytes as usize).min(all.len());
            assert_eq!(places(part), all[from..to], "{list}, {bytes} from {skip} on");
            crossed += usize::from(to - from > 1200);
        });
    }
    assert!(crossed > 100, "no part went across tables: {crossed}");
}

#[test]
fn d1_a_list_says_what_it_has_and_is_not_longer_than_can_be_counted() {
    let end = [Entry::at(0x3000, 0x1000).unwrap()];
    let end = List::of(&end).unwrap();
    let entries = vec![Entry::new(7, 0xf00, 0x300).unwrap()];
    let list = List::chained(&entries, &end).unwrap();
    assert_eq!(
        format!("{list}"),
        "4864 bytes in 2 entries: page 0x7 + 0xf00, 768 bytes; page 0x3 + 0x0, 4096 bytes"
    );
    let none: [Entry; 0] = [];
    assert_eq!(format!("{}", List::of(&none).unwrap()), "0 bytes in 0 entries");
    // The same table again and again: a chain of references doubles no memory, but the sizes do.
    let most = vec![Entry::at(0, u32::MAX).unwrap(); 1 << 16];
    let list = List::of(&most).unwrap();
    assert_eq!(list.bytes(), u64::from(u32::MAX) << 16);
    let full = List::<Entry> { bytes: u64::MAX, ..list };
    assert_eq!(List::chained(&most, &full).unwrap_err(), TooLong);
}
