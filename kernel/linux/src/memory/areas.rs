//! The areas of an address space: which stretches of it a program has, and for what.
//!
//! Nothing here touches a page table. Each change is checked first and then carried out whole:
//! [`Areas::prepare`] counts the areas there would be and fetches the memory, and what comes after
//! it cannot fail. Neighbours that are alike become one area, so a program that protects page by
//! page what it protects alike has one area in the end, as on Linux.

use super::totals::Totals;
use crate::abi::{USER_LOWEST, USER_TOP};
use crate::error::Errno;
use crate::sorted::{NoRoom, Place, Sorted};
use core::sync::atomic::{AtomicU64, Ordering};

pub use super::area::Area;
pub(crate) use super::area::{PAGE, STACK_GUARD_GAP, Source, flag};

/// Areas a process may have: Linux's `vm.max_map_count`.
pub(crate) static MAX_AREAS: AtomicU64 = AtomicU64::new(65_530);

impl From<NoRoom> for Errno {
    fn from(_: NoRoom) -> Self {
        Self::ENOMEM
    }
}

/// The areas of one process: sorted, not overlapping, none continued by its neighbour.
#[derive(Debug)]
pub struct Areas {
    list: Sorted<Area>,
    totals: Totals,
}

impl Areas {
    pub(crate) const fn new() -> Self {
        Self { list: Sorted::new(), totals: Totals::NONE }
    }

    pub(crate) fn try_clone(&self) -> Result<Self, Errno> {
        Ok(Self { list: self.list.try_clone()?, totals: self.totals })
    }

    /// Bytes of all of them, by kind.
    pub(crate) const fn totals(&self) -> &Totals {
        &self.totals
    }

    fn insert(&mut self, area: Area) -> Result<(), NoRoom> {
        let more = Totals::of(&area);
        self.list.insert(area)?;
        self.totals.change(&Totals::NONE, &more);
        Ok(())
    }

    /// Puts another area in the place of one.
    fn replace(&mut self, place: Place, area: Area) {
        let before = self.list.get(place).map_or(Totals::NONE, Totals::of);
        self.totals.change(&before, &Totals::of(&area));
        self.list.replace(place, area);
    }

    fn remove(&mut self, place: Place) {
        let gone = self.list.remove(place);
        self.totals.change(&Totals::of(&gone), &Totals::NONE);
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Area> {
        self.list.iter()
    }

    /// The area that holds an address.
    pub(crate) fn at(&self, address: u64) -> Option<&Area> {
        let area = self.list.get(self.list.at_or_below(address)?)?;
        (address < area.top).then_some(area)
    }

    /// The first area that ends above an address.
    pub(crate) fn at_or_after(&self, address: u64) -> Option<&Area> {
        self.at(address).or_else(|| self.list.from(address).next())
    }

    /// The areas that have something of a range, in order.
    pub(crate) fn within(&self, lowest: u64, top: u64) -> impl Iterator<Item = &Area> {
        let first = self.at(lowest).map_or(lowest, |area| area.lowest);
        self.list.from(first).take_while(move |area| area.lowest < top)
    }

    /// The first of them.
    pub(crate) fn first_within(&self, lowest: u64, top: u64) -> Option<&Area> {
        self.within(lowest, top).next()
    }

    /// Whether nothing of a range belongs to an area.
    pub(crate) fn is_free(&self, lowest: u64, top: u64) -> bool {
        self.first_within(lowest, top).is_none()
    }

    /// Whether nothing is in a range, nor near above it a stack that may grow into it.
    pub(crate) fn is_free_with_gap(&self, lowest: u64, top: u64) -> bool {
        self.at_or_after(lowest).is_none_or(|next| top <= next.lowest_with_gap())
    }

    /// Whether all of a range belongs to areas.
    pub(crate) fn is_covered(&self, lowest: u64, top: u64) -> bool {
        let mut covered = lowest;
        for area in self.within(lowest, top) {
            if area.lowest > covered {
                return false;
            }
            covered = area.top;
        }
        covered >= top
    }

    /// Free address space for `length` bytes, as high as possible below `limit`; a gap is kept
    /// below a stack.
    pub(crate) fn find_space(&self, length: u64, limit: u64) -> Option<u64> {
        self.list.pairs_down(limit, length, |below, above| {
            let top = above.map_or(USER_TOP, Area::lowest_with_gap).min(limit);
            let bottom = below.map_or(USER_LOWEST, |area| area.top).max(USER_LOWEST);
            top.checked_sub(length).filter(|&lowest| lowest >= bottom)
        })
    }

    /// Before a range is taken out and `more` areas (0 or 1) are put in, one of them there: sees to
    /// it that neither can fail.
    pub(crate) fn prepare(&mut self, lowest: u64, top: u64, more: usize) -> Result<(), Errno> {
        let after = self.len() + more - self.lost(lowest, top) + self.cut(lowest, top);
        // A new one may be the first that is too many, as on Linux.
        self.check_number(after, more)?;
        Ok(self.list.reserve(&[lowest, top])?)
    }

    /// The same before two ranges that do not overlap are taken out, and an area is put into the
    /// second.
    pub(crate) fn prepare_move(&mut self, from: (u64, u64), to: (u64, u64)) -> Result<(), Errno> {
        let lost = self.lost(from.0, from.1) + self.lost(to.0, to.1);
        let cut = self.cut(from.0, from.1) + self.cut(to.0, to.1);
        self.check_number(self.len() + 1 + cut - lost, 0)?;
        Ok(self.list.reserve(&[from.0, from.1, to.0, to.1])?)
    }

    /// Fewer areas are always allowed, so that a program at the limit can still give some back.
    fn check_number(&self, after: usize, beyond: usize) -> Result<(), Errno> {
        let most = MAX_AREAS.load(Ordering::Relaxed) + beyond as u64;
        if after as u64 > most && after > self.len() { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Areas that go with a range.
    fn lost(&self, lowest: u64, top: u64) -> usize {
        self.within(lowest, top).filter(|area| lowest <= area.lowest && area.top <= top).count()
    }

    /// Areas that a range cuts in two: 1 or 0.
    fn cut(&self, lowest: u64, top: u64) -> usize {
        self.at(lowest).map_or(0, |area| usize::from(area.lowest < lowest && top < area.top))
    }

    /// Takes a range out, after [`Areas::prepare`].
    pub(crate) fn carve(&mut self, lowest: u64, top: u64) {
        if let Some(place) = self.list.at_or_below(lowest)
            && let Some(area) = self.list.get(place)
            && area.lowest < lowest
            && lowest < area.top
        {
            let upper = (top < area.top).then(|| area.from(top));
            let below = area.up_to(lowest);
            self.replace(place, below);
            if let Some(upper) = upper {
                self.put(upper);
                return;
            }
        }
        while let Some(place) = self.list.at_or_above(lowest)
            && let Some(area) = self.list.get(place)
            && area.lowest < top
        {
            if area.top <= top {
                self.remove(place);
            } else {
                let above = area.from(top);
                self.replace(place, above);
            }
        }
    }

    /// Puts an area where nothing is, after [`Areas::prepare`]; it becomes one with neighbours that
    /// are like it.
    pub(crate) fn put_and_merge(&mut self, area: Area) {
        let (lowest, top) = (area.lowest, area.top);
        self.put(area);
        self.merge_around(lowest, top);
    }

    fn put(&mut self, area: Area) {
        // CANNOT FAIL: `prepare` or `protect` reserved the room.
        self.insert(area).expect("the room for it was reserved");
    }

    /// Adds an area; it must not overlap another.
    pub(crate) fn add(&mut self, area: Area) -> Result<(), Errno> {
        let fits = USER_LOWEST <= area.lowest && area.lowest < area.top && area.top <= USER_TOP;
        if !fits || !self.is_free(area.lowest, area.top) {
            return Err(Errno::EINVAL);
        }
        self.prepare(area.lowest, area.top, 1)?;
        self.put_and_merge(area);
        Ok(())
    }

    /// Makes one of neighbours that are alike, from the area before a range to the one behind it.
    fn merge_around(&mut self, lowest: u64, top: u64) {
        let mut at = lowest.saturating_sub(1);
        while let Some(place) = self.list.at_or_below(at).or_else(|| self.list.at_or_above(at))
            && let Some(area) = self.list.get(place)
            && area.lowest <= top
        {
            let next = self.list.next(place);
            match next.and_then(|next| self.list.get(next)) {
                Some(after) if area.continues_in(after) => {
                    let whole = area.up_to(after.top);
                    at = area.lowest;
                    if let Some(next) = next {
                        self.remove(next);
                    }
                    // Joining chunks may have moved it.
                    if let Some(place) = self.list.at_or_below(at) {
                        self.replace(place, whole);
                    }
                }
                Some(after) => at = after.lowest,
                None => break,
            }
        }
    }

    /// Changes the areas of a range, but for where they are: all of it, or nothing if it is not all
    /// there or there would be too many areas.
    pub(crate) fn change(
        &mut self,
        lowest: u64,
        top: u64,
        change: impl Fn(&mut Area),
    ) -> Result<(), Errno> {
        if !self.is_covered(lowest, top) {
            return Err(Errno::ENOMEM);
        }
        self.change_what_is_there(lowest, top, change)
    }

    /// The same where holes are no error.
    pub(crate) fn change_what_is_there(
        &mut self,
        lowest: u64,
        top: u64,
        change: impl Fn(&mut Area),
    ) -> Result<(), Errno> {
        self.check_number(self.areas_after(lowest, top, &change), 0)?;
        self.list.reserve(&[lowest, top])?;
        self.split(lowest);
        self.split(top);
        let mut place = self.list.at_or_above(lowest);
        while let Some(here) = place
            && let Some(area) = self.list.get(here)
            && area.lowest < top
        {
            let mut changed = area.clone();
            change(&mut changed);
            self.replace(here, changed);
            place = self.list.next(here);
        }
        self.merge_around(lowest, top);
        Ok(())
    }

    /// How many areas there are once those of a range are changed and neighbours are one.
    fn areas_after(&self, lowest: u64, top: u64, change: &impl Fn(&mut Area)) -> usize {
        let below = lowest.checked_sub(1).and_then(|below| self.at(below));
        let mut last = below.map(|area| area.up_to(area.top.min(lowest)));
        let (mut before, mut after) = (0, 0);
        let mut piece = |piece: Area| {
            after += usize::from(last.as_ref().is_none_or(|last| !last.continues_in(&piece)));
            last = Some(piece);
        };
        for area in self.within(lowest, top) {
            // What begins below the range stays there, as `below`.
            before += usize::from(area.lowest >= lowest);
            let mut changed = area.from(area.lowest.max(lowest)).up_to(area.top.min(top));
            change(&mut changed);
            piece(changed);
            if top < area.top {
                piece(area.from(top));
            }
        }
        if let Some(next) = self.at(top)
            && next.lowest == top
        {
            before += 1;
            piece(next.clone());
        }
        self.len() - before + after
    }

    fn split(&mut self, address: u64) {
        if let Some(place) = self.list.at_or_below(address)
            && let Some(area) = self.list.get(place)
            && area.lowest < address
            && address < area.top
        {
            let (below, above) = (area.up_to(address), area.from(address));
            self.replace(place, below);
            self.put(above);
        }
    }

    /// The area for an address, after growing the stack above it down to it, if that is what it
    /// takes.
    ///
    /// As Linux does: not beyond `limit` bytes, and not nearer than the gap to what is accessible
    /// below. A guard that the program made may be right below: it does the gap's work.
    pub(crate) fn grown_to(
        &mut self,
        address: u64,
        may_grow: impl FnOnce(&Area, u64) -> bool,
    ) -> Option<&Area> {
        let found = self.list.at_or_below(address);
        if let Some(place) =
            found.filter(|&place| self.list.get(place).is_some_and(|a| address < a.top))
        {
            return self.list.get(place);
        }
        let place = match found {
            Some(place) => self.list.next(place)?,
            None => self.list.at_or_above(address)?,
        };
        let stack = self.list.get(place).filter(|area| area.grows)?;
        let lowest = address & !(PAGE - 1);
        if lowest < USER_LOWEST || !may_grow(stack, lowest) {
            return None;
        }
        if let Some(below) = self.list.prev(place).and_then(|place| self.list.get(place))
            && !below.grows
            && below.is_accessible()
            && lowest - below.top < STACK_GUARD_GAP
        {
            return None;
        }
        let grown = Area { lowest, ..stack.clone() };
        self.replace(place, grown);
        self.list.get(place)
    }
}
