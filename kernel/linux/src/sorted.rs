//! A sorted list whose memory can run out without harm: what a process's areas and a file's pages are kept in.
//!
//! ```text
//!   chunks   [ 3 7 9 ]  [ 12 20 21 30 ]  [ 44 45 ]      at most 64 items each, none empty
//! ```
//!
//! A B+-tree of two levels: a search is two binary searches; an insertion moves less than a chunk, and every 32nd at a
//! place moves the row of chunks, 32 bytes each. With the 65,530 areas that Linux allows that is 64 KiB; a plain vector
//! moves 1.5 MiB for each insertion, and a `BTreeMap` cannot report that memory has run out.
//!
//! Whoever changes several items at once asks for the room first ([`Sorted::reserve`]); the insertions then cannot fail, so
//! that a change happens whole or not at all.

use alloc::vec::Vec;
use core::mem;

/// What can be kept sorted.
pub trait Item: Clone {
    /// What it is sorted by. No two items have the same.
    fn key(&self) -> u64;

    /// How far the next item is away, for [`Sorted::pairs_down`].
    fn gap(&self, next: &Self) -> u64 {
        let _unused_without_gaps = next;
        0
    }
}

/// There was no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

/// Items in a chunk at most.
pub const CHUNK: usize = 64;
/// Chunks that can be kept for promised insertions.
const SPARES: usize = 4;

#[derive(Debug)]
struct Chunk<T> {
    items: Vec<T>,
    /// The widest gap between two items in it.
    widest: u64,
}

impl<T: Item> Chunk<T> {
    fn new() -> Result<Self, NoRoom> {
        let mut items = Vec::new();
        items.try_reserve_exact(CHUNK).map_err(|_| NoRoom)?;
        Ok(Self { items, widest: 0 })
    }

    fn measure(&mut self) {
        let gaps = self.items.windows(2).map(|pair| pair[0].gap(&pair[1]));
        self.widest = gaps.max().unwrap_or(0);
    }
}

/// Where an item is, until the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    chunk: usize,
    index: usize,
}

/// The sorted list.
#[derive(Debug)]
pub struct Sorted<T> {
    chunks: Vec<Chunk<T>>,
    spare: [Option<Chunk<T>>; SPARES],
    length: usize,
}

impl<T: Item> Sorted<T> {
    /// Nothing, without memory.
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), spare: [const { None }; SPARES], length: 0 }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Items in it.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// A copy, if there is memory for one.
    pub fn try_clone(&self) -> Result<Self, NoRoom> {
        let mut copy = Self::new();
        copy.chunks.try_reserve_exact(self.chunks.len()).map_err(|_| NoRoom)?;
        for chunk in &self.chunks {
            let mut new = Chunk::new()?;
            // CANNOT FAIL: a new chunk has room for all that one holds.
            new.items.extend_from_slice(&chunk.items);
            new.widest = chunk.widest;
            // CANNOT FAIL: reserved above.
            copy.chunks.push(new);
        }
        copy.length = self.length;
        Ok(copy)
    }

    pub fn get(&self, place: Place) -> Option<&T> {
        self.chunks.get(place.chunk)?.items.get(place.index)
    }

    /// The last item whose key is at most `key`.
    pub fn at_or_below(&self, key: u64) -> Option<Place> {
        let chunk = self.chunk_for(key)?;
        let index = self.chunks[chunk].items.partition_point(|item| item.key() <= key);
        Some(Place { chunk, index: index.checked_sub(1)? })
    }

    /// The first item whose key is at least `key`.
    pub fn at_or_above(&self, key: u64) -> Option<Place> {
        match self.at_or_below(key) {
            Some(place) if self.get(place).is_some_and(|item| item.key() == key) => Some(place),
            Some(place) => self.next(place),
            None => self.first(),
        }
    }

    fn first(&self) -> Option<Place> {
        (self.length > 0).then_some(Place { chunk: 0, index: 0 })
    }

    /// The item behind one.
    pub fn next(&self, place: Place) -> Option<Place> {
        let Place { chunk, index } = place;
        if index + 1 < self.chunks.get(chunk)?.items.len() {
            return Some(Place { chunk, index: index + 1 });
        }
        (chunk + 1 < self.chunks.len()).then_some(Place { chunk: chunk + 1, index: 0 })
    }

    /// The item before one.
    pub fn prev(&self, place: Place) -> Option<Place> {
        let Place { chunk, index } = place;
        if index > 0 {
            return Some(Place { chunk, index: index - 1 });
        }
        let chunk = chunk.checked_sub(1)?;
        Some(Place { chunk, index: self.chunks[chunk].items.len() - 1 })
    }

    /// All items, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.items.iter())
    }

    /// The items whose key is at least `key`, in order.
    pub fn from(&self, key: u64) -> impl Iterator<Item = &T> {
        let mut place = self.at_or_above(key);
        core::iter::from_fn(move || {
            let item = self.get(place?)?;
            place = self.next(place?);
            Some(item)
        })
    }

    /// Neighbours from the top down: above the last item, between each two whose gap may be `least` or more, below the first.
    pub fn pairs_down<R>(
        &self,
        least: u64,
        mut look: impl FnMut(Option<&T>, Option<&T>) -> Option<R>,
    ) -> Option<R> {
        let mut above = None;
        for chunk in self.chunks.iter().rev() {
            if let found @ Some(_) = look(chunk.items.last(), above) {
                return found;
            }
            if chunk.widest >= least {
                let mut inner = chunk.items.windows(2).rev();
                let found = inner.find_map(|pair| look(pair.first(), pair.last()));
                if found.is_some() {
                    return found;
                }
            }
            above = chunk.items.first();
        }
        look(None, above)
    }

    /// The chunk that an item with this key is or belongs in.
    fn chunk_for(&self, key: u64) -> Option<usize> {
        let after = self
            .chunks
            .partition_point(|chunk| chunk.items.first().is_some_and(|i| i.key() <= key));
        if self.chunks.is_empty() { None } else { Some(after.saturating_sub(1)) }
    }

    /// Sees to it that as many insertions as there are keys, at about these keys, cannot fail, also after removals between
    /// them.
    pub fn reserve(&mut self, keys: &[u64]) -> Result<(), NoRoom> {
        let is_full = |key: u64| match self.chunk_for(key) {
            Some(chunk) => self.chunks[chunk].items.len() + keys.len() > CHUNK,
            None => true,
        };
        let wanted = keys.iter().filter(|&&key| is_full(key)).count();
        self.chunks.try_reserve(wanted).map_err(|_| NoRoom)?;
        let there = self.spare.iter().flatten().count();
        for place in
            self.spare.iter_mut().filter(|place| place.is_none()).take(wanted.saturating_sub(there))
        {
            *place = Some(Chunk::new()?);
        }
        Ok(())
    }

    /// Adds an item. Without [`Sorted::reserve`] before, it may be that there is no memory: then nothing has changed.
    pub fn insert(&mut self, item: T) -> Result<(), NoRoom> {
        let Some(mut chunk) = self.chunk_for(item.key()) else {
            let mut new = self.take_spare()?;
            // CANNOT FAIL: a chunk has room for its items, and `take_spare` made room for the chunk.
            new.items.push(item);
            self.chunks.insert(0, new);
            self.length = 1;
            return Ok(());
        };
        if self.chunks[chunk].items.len() == CHUNK {
            let mut upper = self.take_spare()?;
            // What is added at the end, as a file's pages are, leaves full chunks behind.
            let is_last = chunk + 1 == self.chunks.len()
                && self.chunks[chunk].items.last().is_some_and(|last| last.key() < item.key());
            let kept = if is_last { CHUNK } else { CHUNK / 2 };
            // CANNOT FAIL: as above.
            upper.items.extend(self.chunks[chunk].items.drain(kept..));
            self.chunks[chunk].measure();
            upper.measure();
            let goes_up = upper.items.first().is_none_or(|first| first.key() < item.key());
            // CANNOT FAIL: as above.
            self.chunks.insert(chunk + 1, upper);
            chunk += usize::from(goes_up);
        }
        let chunk = &mut self.chunks[chunk];
        let index = chunk.items.partition_point(|other| other.key() < item.key());
        // CANNOT FAIL: it is not full.
        chunk.items.insert(index, item);
        chunk.measure();
        self.length += 1;
        Ok(())
    }

    /// A chunk without items, and room for it in the row.
    fn take_spare(&mut self) -> Result<Chunk<T>, NoRoom> {
        self.chunks.try_reserve(1).map_err(|_| NoRoom)?;
        match self.spare.iter_mut().find_map(Option::take) {
            Some(chunk) => Ok(chunk),
            None => Chunk::new(),
        }
    }

    fn keep_spare(&mut self, mut chunk: Chunk<T>) {
        chunk.items.clear();
        if let Some(place) = self.spare.iter_mut().find(|place| place.is_none()) {
            *place = Some(chunk);
        }
    }

    /// Puts another item in the place of one; the order must not change by it.
    pub fn replace(&mut self, place: Place, item: T) {
        let chunk = &mut self.chunks[place.chunk];
        chunk.items[place.index] = item;
        chunk.measure();
    }

    /// Takes an item out. A chunk that becomes empty stays as a spare one; one that gets small joins its neighbour.
    pub fn remove(&mut self, place: Place) -> T {
        let item = self.chunks[place.chunk].items.remove(place.index);
        self.length -= 1;
        self.chunks[place.chunk].measure();
        self.join(place.chunk);
        item
    }

    fn join(&mut self, chunk: usize) {
        if self.chunks[chunk].items.is_empty() {
            let empty = self.chunks.remove(chunk);
            self.keep_spare(empty);
            return;
        }
        let small = |this: &Self, lower: usize| {
            this.chunks.get(lower + 1).is_some_and(|upper| {
                this.chunks[lower].items.len() + upper.items.len() <= CHUNK / 2
            })
        };
        let lower = if small(self, chunk) {
            chunk
        } else if chunk > 0 && small(self, chunk - 1) {
            chunk - 1
        } else {
            return;
        };
        let mut upper = self.chunks.remove(lower + 1);
        // CANNOT FAIL: both together are half of what one has room for.
        self.chunks[lower].items.append(&mut upper.items);
        self.chunks[lower].measure();
        self.keep_spare(upper);
    }

    /// Takes all items out.
    pub fn take(&mut self) -> Self {
        mem::replace(self, Self::new())
    }
}

// Run on the host, by xtask's tests.
#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// From its key to where it ends.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Span {
        from: u64,
        to: u64,
    }

    impl Item for Span {
        fn key(&self) -> u64 {
            self.from
        }

        fn gap(&self, next: &Self) -> u64 {
            next.from - self.to
        }
    }

    fn list(keys: impl IntoIterator<Item = u64>) -> Sorted<Span> {
        let mut list = Sorted::new();
        for from in keys {
            list.insert(Span { from, to: from + 1 }).unwrap();
        }
        list
    }

    fn lengths(list: &Sorted<Span>) -> Vec<usize> {
        list.chunks.iter().map(|chunk| chunk.items.len()).collect()
    }

    fn spares(list: &Sorted<Span>) -> usize {
        assert!(list.spare.iter().flatten().all(|chunk| chunk.items.is_empty()));
        list.spare.iter().flatten().count()
    }

    /// The list keeps its own rules, and has what the model has.
    fn check(list: &Sorted<Span>, model: &BTreeMap<u64, Span>) {
        assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
        assert!(list.iter().eq(model.values()));
        for chunk in &list.chunks {
            assert!((1..=CHUNK).contains(&chunk.items.len()) && chunk.items.capacity() >= CHUNK);
            let widest = chunk.items.windows(2).map(|pair| pair[1].from - pair[0].to).max();
            assert_eq!(chunk.widest, widest.unwrap_or(0));
        }
        for pair in list.chunks.windows(2) {
            assert!(pair[0].items.len() + pair[1].items.len() > CHUNK / 2, "{:?}", lengths(list));
        }
        spares(list);
    }

    fn check_around(list: &Sorted<Span>, model: &BTreeMap<u64, Span>, key: u64) {
        let item = |place: Option<Place>| place.map(|place| *list.get(place).unwrap());
        let (below, above) = (list.at_or_below(key), list.at_or_above(key));
        assert_eq!(item(below), model.range(..=key).next_back().map(|(_, &span)| span));
        assert_eq!(item(above), model.range(key..).next().map(|(_, &span)| span));
        if let Some(place) = below {
            let from = item(below).unwrap().from;
            assert_eq!(
                item(list.prev(place)),
                model.range(..from).next_back().map(|(_, &span)| span)
            );
            assert_eq!(
                item(list.next(place)),
                model.range(from + 1..).next().map(|(_, &span)| span)
            );
        }
        assert!(list.from(key).eq(model.range(key..).map(|(_, span)| span)));
    }

    /// The highest place for `least`: between which two.
    fn gap_down(list: &Sorted<Span>, least: u64) -> (Option<(u64, u64)>, usize) {
        let mut looks = 0;
        let found = list.pairs_down(least, |lower, upper| {
            looks += 1;
            let (lower, upper) = (lower?, upper?);
            (upper.from - lower.to >= least).then_some((lower.from, upper.from))
        });
        (found, looks)
    }

    #[test]
    fn u1_t11_whatever_is_done_a_sorted_list_says_what_a_plain_one_says() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let (mut list, mut model) = (Sorted::new(), BTreeMap::new());
        for step in 0..12_000 {
            let key = draw(2000) * 4;
            // Filled, emptied, and so on.
            let fills = step / 3000 % 2 == 0;
            if draw(4) == 0 || model.contains_key(&key) != fills {
                let span = Span { from: key, to: key + 1 + draw(3) };
                match (list.at_or_below(key), model.contains_key(&key)) {
                    (Some(place), true) => list.replace(place, span),
                    _ => list.insert(span).unwrap(),
                }
                model.insert(key, span);
            } else if let Some(span) = model.remove(&key) {
                assert_eq!(list.remove(list.at_or_below(key).unwrap()), span);
            }
            if step % 16 == 0 {
                check(&list, &model);
                check_around(&list, &model, draw(8100));
                let least = draw(60);
                let all: Vec<_> = model.values().collect();
                let mut pairs = all.windows(2).rev();
                let wide = pairs.find(|pair| pair[1].from - pair[0].to >= least);
                assert_eq!(gap_down(&list, least).0, wide.map(|pair| (pair[0].from, pair[1].from)));
            }
        }
        let copy = list.try_clone().unwrap();
        check(&copy, &model);
        let taken = list.take();
        check(&taken, &model);
        check(&list, &BTreeMap::new());
        assert!(list.at_or_above(0).is_none() && list.at_or_below(9).is_none());
    }

    #[test]
    fn u1_a_full_chunk_is_left_behind_at_the_end_and_halved_elsewhere() {
        const FULL: u64 = CHUNK as u64;
        let mut at_the_end = list((0..3 * FULL).map(|n| 2 * n));
        assert_eq!(lengths(&at_the_end), [CHUNK; 3]);
        at_the_end.insert(Span { from: 1, to: 2 }).unwrap();
        assert_eq!(lengths(&at_the_end), [CHUNK / 2 + 1, CHUNK / 2, CHUNK, CHUNK]);
        let mut upper = list((0..FULL).map(|n| 2 * n));
        upper.insert(Span { from: 2 * FULL - 3, to: 2 * FULL - 2 }).unwrap();
        assert_eq!(lengths(&upper), [CHUNK / 2, CHUNK / 2 + 1]);
        // Right below the upper half: the lower one's.
        let mut between = list((0..FULL).map(|n| 2 * n));
        between.insert(Span { from: FULL - 1, to: FULL }).unwrap();
        assert_eq!(lengths(&between), [CHUNK / 2 + 1, CHUNK / 2]);
    }

    #[test]
    fn u1_chunks_that_fill_half_of_one_together_become_one() {
        let mut list = list((0..4 * CHUNK as u64).map(|n| 2 * n));
        let mut remove = |key| {
            let place = list.at_or_below(key).unwrap();
            list.remove(place);
            lengths(&list)
        };
        let mut left = Vec::new();
        // The first two: 16 each are joined, 17 and 16 are not.
        for n in 0..48 {
            remove(2 * n);
            left = remove(2 * (64 + n));
        }
        assert_eq!(left, [32, 64, 64], "joined with the one behind it");
        for n in 0..48 {
            remove(2 * (128 + n));
        }
        for n in 0..16 {
            left = remove(2 * (48 + n));
        }
        assert_eq!(left, [32, 64], "joined with what is behind the one that was small before");
        for n in 0..32 {
            left = remove(2 * (192 + n));
        }
        assert_eq!(left, [32, 32]);
        for n in 32..63 {
            remove(2 * (192 + n));
        }
        left = remove(2 * 112);
        assert_eq!(left, [32], "joined with the one before it");
        for n in (113..128).chain(176..192) {
            left = remove(2 * n);
        }
        assert_eq!(left, [1]);
        assert!(remove(2 * 255).is_empty());
        assert_eq!(spares(&list), SPARES, "what became free is kept for promised insertions");
    }

    #[test]
    fn u1_what_is_reserved_is_there_and_no_more() {
        let mut list = Sorted::<Span>::new();
        let span = |from| Span { from, to: from + 1 };
        list.reserve(&[1, 2]).unwrap();
        assert_eq!(spares(&list), 2, "each may be the first of a chunk");
        assert!(list.chunks.capacity() >= 2);
        list.reserve(&[1, 2]).unwrap();
        assert_eq!(spares(&list), 2, "promised already");
        list.insert(span(0)).unwrap();
        assert_eq!((spares(&list), list.len()), (1, 1), "a promised chunk is used");
        for from in 1..CHUNK as u64 - 2 {
            list.insert(span(2 * from)).unwrap();
        }
        list.spare = [const { None }; SPARES];
        assert_eq!(lengths(&list), [CHUNK - 2]);
        list.reserve(&[1, 3]).unwrap();
        assert_eq!(spares(&list), 0, "there is room for two");
        list.reserve(&[1, 3, 5]).unwrap();
        assert_eq!(spares(&list), 3, "and not for three");
        let capacity = list.chunks.capacity();
        assert!(capacity >= list.chunks.len() + 3);
    }

    #[test]
    fn u1_items_without_gaps_have_none() {
        #[derive(Debug, Clone, Copy)]
        struct Number(u64);
        impl Item for Number {
            fn key(&self) -> u64 {
                self.0
            }
        }
        let mut list = Sorted::new();
        for number in [1, 5] {
            list.insert(Number(number)).unwrap();
        }
        let mut seen = Vec::new();
        list.pairs_down(1, |lower, upper| -> Option<()> {
            seen.push((lower.map(|n| n.0), upper.map(|n| n.0)));
            None
        });
        assert_eq!(seen, [(Some(5), None), (None, Some(1))]);
    }

    #[test]
    fn u1_a_gap_is_looked_for_only_where_it_can_be() {
        // Four chunks: the gaps in the second one are 9 wide, all others 1, the ones between chunks too.
        let chunk = CHUNK as u64;
        let keys = (0..4 * chunk).map(|n| match n / chunk {
            0 => 2 * n,
            1 => 2 * chunk + 10 * (n - chunk),
            _ => 2 * chunk + 10 * (chunk - 1) + 2 * (n - 2 * chunk + 1),
        });
        let list = list(keys);
        assert_eq!(lengths(&list), [CHUNK; 4]);
        let last_of_second = 2 * chunk + 10 * (chunk - 1);
        assert_eq!(gap_down(&list, 9), (Some((last_of_second - 10, last_of_second)), 4));
        assert_eq!(gap_down(&list, 10), (None, 5), "the edges of four chunks");
        assert_eq!(
            gap_down(&list, 1).0,
            Some((last_of_second + 4 * chunk - 2, last_of_second + 4 * chunk))
        );
        let nothing = Sorted::<Span>::new();
        assert_eq!(
            nothing.pairs_down(1, |lower, upper| Some((lower.copied(), upper.copied()))),
            Some((None, None))
        );
    }
}
