//! Numbers and keys.
//!
//! Each thing belongs to a namespace, known by its number here: who is in another one finds neither
//! its key nor its number. Places and limits are common to all.
//!
//! # Invariants
//!
//! 1. A number is a place in the table, and above that how often one was given out: it is not given
//!    out again soon.
//! 2. A thing that was removed has no key.
//! 3. All places below the lowest free one are taken. What has a key is among the sorted ones, and
//!    what is there without is removed yet waited for.

use crate::error::Errno;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;

/// No key: each call makes one (`IPC_PRIVATE`).
pub(crate) const PRIVATE: i32 = 0;
const PLACE_BITS: u32 = 15;
const PLACES: i32 = (1 << PLACE_BITS) - 1;
/// How often a number's place was used, at most.
const MAX_GIVEN: i32 = 0xffff;

/// What is told of anything that has a number, and decides who may use it.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The namespace that it belongs to.
    pub(crate) space: u64,
    pub(crate) number: i32,
    pub(crate) key: i32,
    /// Whose it is; and who made it. A user and a group each.
    pub(crate) owner: [u32; 2],
    pub(crate) maker: [u32; 2],
    /// Permissions.
    pub(crate) mode: u32,
    /// When it was changed, in seconds of the day.
    pub(crate) changed: u64,
}

/// What a table keeps.
pub(crate) trait Kept {
    fn access(&self) -> &Access;
    /// Gives it the number that it is known by.
    fn set_number(&mut self, number: i32);
}

/// Things by place.
#[derive(Debug)]
pub(crate) struct Table<T> {
    kept: Vec<Option<T>>,
    count: usize,
    lowest_free: usize,
    /// Namespaces and keys, as they were given, and the places of what has them, sorted.
    keys: Vec<((u64, i32), u32)>,
    /// How often places were used that are given out now.
    given: i32,
    /// The place that was given out last.
    last: Option<usize>,
    /// As many there may be, as long as that is within the places that numbers have room for.
    most: &'static AtomicU64,
    /// The number that the next one is to have, if a program has asked for that.
    next: Option<i32>,
}

impl<T: Kept> Table<T> {
    pub(crate) const fn new(most: &'static AtomicU64) -> Self {
        Self {
            kept: Vec::new(),
            count: 0,
            lowest_free: 0,
            keys: Vec::new(),
            given: 0,
            last: None,
            most,
            next: None,
        }
    }

    /// All there are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.kept.iter().flatten()
    }

    /// The one with this number, of whichever namespace. `EINVAL`: there is none.
    pub(crate) fn get(&mut self, number: i32) -> Result<&mut T, Errno> {
        let place = (number & PLACES) as usize;
        let kept = self.kept.get_mut(place).and_then(Option::as_mut);
        kept.filter(|kept| kept.access().number == number).ok_or(Errno::EINVAL)
    }

    /// The same of one namespace.
    pub(crate) fn get_in(&mut self, space: u64, number: i32) -> Result<&mut T, Errno> {
        let kept = self.get(number)?;
        if kept.access().space == space { Ok(kept) } else { Err(Errno::EINVAL) }
    }

    /// The number of the one of a namespace at a place.
    pub(crate) fn at_place(&self, space: u64, place: usize) -> Option<i32> {
        let access = self.kept.get(place)?.as_ref()?.access();
        (access.space == space).then_some(access.number)
    }

    /// The first one at this place or behind it, and its place.
    pub(crate) fn from(&self, place: usize) -> Option<(usize, &T)> {
        let rest = self.kept.get(place..)?.iter().enumerate();
        rest.filter_map(|(more, kept)| Some((place + more, kept.as_ref()?))).next()
    }

    /// The same of one namespace.
    pub(crate) fn next_in(&self, space: u64, place: usize) -> Option<(usize, &T)> {
        let rest = self.kept.get(place..)?.iter().enumerate();
        rest.filter_map(|(more, kept)| Some((place + more, kept.as_ref()?)))
            .find(|(_, kept)| kept.access().space == space)
    }

    /// The number of the one with a key.
    pub(crate) fn find(&self, space: u64, key: i32) -> Option<i32> {
        let (_, place) = self.keys[self.place_of(space, key).ok()?];
        let access = self.kept.get(place as usize)?.as_ref()?.access();
        (access.key == key).then_some(access.number)
    }

    /// Where a key is among the sorted ones, or belongs there.
    fn place_of(&self, space: u64, key: i32) -> Result<usize, usize> {
        self.keys.binary_search_by_key(&(space, key), |(key, _)| *key)
    }

    /// Adds one. `EEXIST`: there is one with its key; `ENOSPC`: there are as many as there may be.
    pub(crate) fn add(&mut self, mut new: T) -> Result<i32, Errno> {
        let (space, key) = (new.access().space, new.access().key);
        if self.find(space, key).is_some() {
            return Err(Errno::EEXIST);
        }
        let lowest = self.next.map_or(0, |next| (next & PLACES) as usize);
        let place = self.free_from(lowest)?;
        match self.place_of(space, key) {
            _ if key == PRIVATE => {}
            Ok(at) => self.keys[at].1 = place as u32,
            Err(at) => {
                self.keys.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                // CANNOT FAIL: reserved above.
                self.keys.insert(at, ((space, key), place as u32));
            }
        }
        let times_given = match self.next.take() {
            Some(next) => next >> PLACE_BITS & MAX_GIVEN,
            None => {
                // Back at a place below the last one: each of them may have been used.
                let is_below = self.last.is_some_and(|last| place <= last);
                self.given = (self.given + i32::from(is_below)) & MAX_GIVEN;
                self.given
            }
        };
        self.last = Some(place);
        let number = times_given << PLACE_BITS | place as i32;
        new.set_number(number);
        self.kept[place] = Some(new);
        self.count += 1;
        if place == self.lowest_free {
            self.lowest_free += 1;
        }
        Ok(number)
    }

    /// A free place, from this one on.
    fn free_from(&mut self, lowest: usize) -> Result<usize, Errno> {
        let lowest = lowest.max(self.lowest_free);
        let free = (lowest..self.kept.len()).find(|&place| self.kept[place].is_none());
        let place = free.unwrap_or_else(|| self.kept.len().max(lowest));
        let most = self.most.load(Ordering::Relaxed);
        if place as u64 >= most || self.count as u64 >= most {
            return Err(Errno::ENOSPC);
        }
        while self.kept.len() <= place {
            fallible::push(&mut self.kept, None)?;
        }
        Ok(place)
    }

    /// The number that the next one is to have; -1: any (`kernel.msg_next_id`).
    pub(crate) fn next(&self) -> i32 {
        self.next.unwrap_or(-1)
    }

    /// Asks for that.
    pub(crate) fn set_next(&mut self, number: i32) {
        self.next = Some(number).filter(|number| *number >= 0);
    }

    /// Takes the first one out of which this is so; the caller drops it without the table's lock.
    pub(crate) fn take(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let place = self.kept.iter().position(|kept| kept.as_ref().is_some_and(&is_it))?;
        self.take_at(place)
    }

    /// The same of the one with a number.
    pub(crate) fn take_number(&mut self, number: i32) -> Option<T> {
        self.get(number).ok()?;
        self.take_at((number & PLACES) as usize)
    }

    fn take_at(&mut self, place: usize) -> Option<T> {
        let taken = self.kept.get_mut(place)?.take()?;
        self.count -= 1;
        self.lowest_free = self.lowest_free.min(place);
        let is_own = |at: &usize| self.keys[*at].1 as usize == place;
        let access = taken.access();
        let at = self.place_of(access.space, access.key).ok().filter(is_own);
        // What was removed before has no key: its place tells.
        let at = at.or_else(|| self.keys.iter().position(|(_, own)| *own as usize == place));
        if let Some(at) = at {
            self.keys.remove(at);
        }
        Some(taken)
    }

    /// All there are of a namespace.
    pub(crate) fn iter_in(&self, space: u64) -> impl Iterator<Item = &T> + Clone {
        self.iter().filter(move |kept| kept.access().space == space)
    }

    /// How many there are of a namespace, and the last place that one has.
    pub(crate) fn count(&self, space: u64) -> (usize, usize) {
        let is_its =
            |kept: &Option<T>| kept.as_ref().is_some_and(|kept| kept.access().space == space);
        let highest = self.kept.iter().rposition(is_its).unwrap_or(0);
        (self.iter_in(space).count(), highest)
    }
}

/// How often the place of this number was used.
pub(crate) const fn sequence(number: i32) -> u64 {
    (number >> PLACE_BITS) as u64 & MAX_GIVEN as u64
}
