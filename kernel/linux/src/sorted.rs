//! A sorted list whose memory can run out without harm: what a process's areas and a file's pages
//! are kept in.
//!
//! ```text
//!   chunks   [ 3 7 9 ]  [ 12 20 21 30 ]  [ 44 45 ]      at most 64 items each, none empty
//! ```
//!
//! A B+-tree of two levels: a search is two binary searches; an insertion moves less than a chunk,
//! and every 32nd at a place moves the row of chunks, 40 bytes each. With the 65,530 areas that
//! Linux allows that is 80 KiB; a plain vector moves 1.5 MiB for each insertion, and a `BTreeMap`
//! cannot report that memory has run out.
//!
//! A gap of some width is found without a look at every chunk: each knows its widest gap, and each
//! [`GROUP`] of chunks theirs. With 65,530 items that is a look at some 60 groups, 32 chunks and 64
//! items at most.
//!
//! A change of several items at once asks for the room first ([`Sorted::reserve`]); the insertions
//! then cannot fail, so that a change happens whole or not at all.

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
/// Chunks whose widest gap is kept in one number.
const GROUP: usize = 32;

/// Looks at a gap: the items below and above it.
type Look<'l, T, R> = &'l mut dyn FnMut(Option<&T>, Option<&T>) -> Option<R>;

#[cfg(test)]
std::thread_local! {
    /// Groups, chunks and items that a search for a gap looked at.
    static STEPS: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

/// Counts a step of a search, where a test asks how many there are.
fn note_steps(steps: usize) {
    #[cfg(test)]
    STEPS.with(|count| count.set(count.get() + steps));
    let _counted_by_tests = steps;
}

#[derive(Debug)]
struct Chunk<T> {
    items: Vec<T>,
    /// The widest gap between two items in it.
    widest: u64,
    /// The gap to the next chunk.
    after: u64,
}

impl<T: Item> Chunk<T> {
    fn new() -> Result<Self, NoRoom> {
        let mut items = Vec::new();
        items.try_reserve_exact(CHUNK).map_err(|_| NoRoom)?;
        Ok(Self { items, widest: 0, after: 0 })
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
    /// The widest gap of each group of chunks, with those behind them.
    groups: Vec<u64>,
    spare: [Option<Chunk<T>>; SPARES],
    length: usize,
}

impl<T: Item> Sorted<T> {
    /// Nothing, without memory.
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), groups: Vec::new(), spare: [const { None }; SPARES], length: 0 }
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
        copy.groups.try_reserve_exact(self.groups.len()).map_err(|_| NoRoom)?;
        // CANNOT FAIL: reserved right here.
        copy.groups.extend_from_slice(&self.groups);
        for chunk in &self.chunks {
            let mut new = Chunk::new()?;
            // CANNOT FAIL: a new chunk has room for all that one holds.
            new.items.extend_from_slice(&chunk.items);
            (new.widest, new.after) = (chunk.widest, chunk.after);
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

    /// Neighbours from a key down: around the key, between each two below whose gap is `least` or
    /// more, below the first.
    pub fn pairs_down<R>(
        &self,
        key: u64,
        least: u64,
        mut look: impl FnMut(Option<&T>, Option<&T>) -> Option<R>,
    ) -> Option<R> {
        let below = key.checked_sub(1).and_then(|key| self.at_or_below(key));
        let above = below.map_or_else(|| self.first(), |place| self.next(place));
        let item = |place: Option<Place>| place.and_then(|place| self.get(place));
        let found = look(item(below), item(above));
        let Some(Place { chunk, index }) = below.filter(|_| found.is_none()) else { return found };
        let within = |items: &[T], look: Look<'_, T, R>| {
            note_steps(items.len());
            let mut pairs = items.windows(2).rev();
            pairs.find_map(|pair| match pair {
                [lower, upper] if lower.gap(upper) >= least => look(Some(lower), Some(upper)),
                _ => None,
            })
        };
        let here = &self.chunks[chunk];
        if here.widest >= least
            && let found @ Some(_) = within(&here.items[..=index], &mut look)
        {
            return found;
        }
        // The chunks below this one are left, and the gap between it and them.
        let mut left = chunk;
        while left > 0 {
            note_steps(1);
            if left.is_multiple_of(GROUP) && self.groups[left / GROUP - 1] < least {
                left -= GROUP;
                continue;
            }
            left -= 1;
            let here = &self.chunks[left];
            if here.after >= least
                && let found @ Some(_) =
                    look(here.items.last(), self.chunks[left + 1].items.first())
            {
                return found;
            }
            if here.widest >= least
                && let found @ Some(_) = within(&here.items, &mut look)
            {
                return found;
            }
        }
        look(None, item(self.first()))
    }

    /// Measures the gap behind a chunk.
    fn measure_after(&mut self, chunk: usize) {
        let Some(last) = self.chunks.get(chunk).and_then(|chunk| chunk.items.last()) else {
            return;
        };
        let next = self.chunks.get(chunk + 1).and_then(|chunk| chunk.items.first());
        self.chunks[chunk].after = next.map_or(0, |next| last.gap(next));
    }

    /// Measures a group.
    fn measure_group(&mut self, group: usize) {
        let chunks = self.chunks.iter().skip(group * GROUP).take(GROUP);
        let widest = chunks.map(|chunk| chunk.widest.max(chunk.after)).max().unwrap_or(0);
        if let Some(place) = self.groups.get_mut(group) {
            *place = widest;
        }
    }

    /// The items of a chunk have changed: measures what depends on them.
    fn measure(&mut self, chunk: usize) {
        self.chunks[chunk].measure();
        self.measure_after(chunk);
        self.measure_group(chunk / GROUP);
        if let Some(before) = chunk.checked_sub(1) {
            self.measure_after(before);
            self.measure_group(before / GROUP);
        }
    }

    /// The same, and from this chunk on others are where they were not before.
    fn measure_from(&mut self, chunk: usize) {
        // CANNOT FAIL: who adds a chunk reserved the room.
        self.groups.resize(self.chunks.len().div_ceil(GROUP), 0);
        let first = chunk.saturating_sub(1);
        for chunk in first..=(chunk + 1).min(self.chunks.len().saturating_sub(1)) {
            self.measure_after(chunk);
        }
        for group in first / GROUP..self.groups.len() {
            self.measure_group(group);
        }
    }

    /// Room in the row for so many chunks more.
    fn reserve_chunks(&mut self, more: usize) -> Result<(), NoRoom> {
        self.chunks.try_reserve(more).map_err(|_| NoRoom)?;
        let groups = (self.chunks.len() + more).div_ceil(GROUP);
        self.groups.try_reserve(groups.saturating_sub(self.groups.len())).map_err(|_| NoRoom)
    }

    /// The chunk that an item with this key is or belongs in.
    fn chunk_for(&self, key: u64) -> Option<usize> {
        let after = self
            .chunks
            .partition_point(|chunk| chunk.items.first().is_some_and(|i| i.key() <= key));
        if self.chunks.is_empty() { None } else { Some(after.saturating_sub(1)) }
    }

    /// Sees to it that as many insertions as there are keys, at about these keys, cannot fail, also
    /// after removals between them.
    pub fn reserve(&mut self, keys: &[u64]) -> Result<(), NoRoom> {
        let is_full = |key: u64| match self.chunk_for(key) {
            Some(chunk) => self.chunks[chunk].items.len() + keys.len() > CHUNK,
            None => true,
        };
        let wanted = keys.iter().filter(|&&key| is_full(key)).count();
        self.reserve_chunks(wanted)?;
        let there = self.spare.iter().flatten().count();
        for place in
            self.spare.iter_mut().filter(|place| place.is_none()).take(wanted.saturating_sub(there))
        {
            *place = Some(Chunk::new()?);
        }
        Ok(())
    }

    /// Adds an item. Without [`Sorted::reserve`] before, it may be that there is no memory: then
    /// nothing has changed.
    pub fn insert(&mut self, item: T) -> Result<(), NoRoom> {
        let Some(mut chunk) = self.chunk_for(item.key()) else {
            let mut new = self.take_spare()?;
            // CANNOT FAIL: a chunk has room for its items, and `take_spare` made room for the
            // chunk.
            new.items.push(item);
            self.chunks.insert(0, new);
            self.length = 1;
            self.measure_from(0);
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
            self.measure_from(chunk);
            chunk += usize::from(goes_up);
        }
        let items = &mut self.chunks[chunk].items;
        let index = items.partition_point(|other| other.key() < item.key());
        // CANNOT FAIL: it is not full.
        items.insert(index, item);
        self.measure(chunk);
        self.length += 1;
        Ok(())
    }

    /// A chunk without items, and room for it in the row.
    fn take_spare(&mut self) -> Result<Chunk<T>, NoRoom> {
        self.reserve_chunks(1)?;
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
        self.chunks[place.chunk].items[place.index] = item;
        self.measure(place.chunk);
    }

    /// Takes an item out. A chunk that becomes empty stays as a spare one; one that gets small
    /// joins its neighbour.
    pub fn remove(&mut self, place: Place) -> T {
        let item = self.chunks[place.chunk].items.remove(place.index);
        self.length -= 1;
        self.measure(place.chunk);
        self.join(place.chunk);
        item
    }

    fn join(&mut self, chunk: usize) {
        if self.chunks[chunk].items.is_empty() {
            let empty = self.chunks.remove(chunk);
            self.keep_spare(empty);
            self.measure_from(chunk);
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
        self.measure_from(lower);
    }

    /// Takes all items out.
    pub fn take(&mut self) -> Self {
        mem::replace(self, Self::new())
    }
}

#[cfg(test)]
#[path = "sorted/tests.rs"]
mod tests;
