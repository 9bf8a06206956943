//! The descriptors of a process.

use super::directory_notices;
use super::locks;
use super::open_file::OpenFile;
use crate::error::Errno;
use crate::limits;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// Descriptors of a process: what Linux allows one that has not asked for more.
pub(crate) const MAX_FILES: usize = 1024;

/// One descriptor.
#[derive(Debug, Clone)]
pub struct Descriptor {
    pub file: Arc<OpenFile>,
    pub close_on_exec: bool,
}

/// All descriptors of a process.
#[derive(Debug)]
pub struct Files {
    slots: Vec<Option<Descriptor>>,
    /// One more than the highest number (RLIMIT_NOFILE).
    limit: usize,
    /// What its locks know it by.
    id: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn new_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl Drop for Files {
    fn drop(&mut self) {
        locks::table_is_dropped(self.id);
        if directory_notices::are_there() {
            for descriptor in self.slots.iter().flatten() {
                directory_notices::forget((descriptor.file.address(), self.id));
            }
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self { slots: Vec::new(), limit: MAX_FILES, id: new_id() }
    }
}

impl Files {
    /// Input, output and errors on one file each.
    pub fn standard(input: Arc<OpenFile>, output: Arc<OpenFile>) -> Result<Self, Errno> {
        let descriptor =
            |file: &Arc<OpenFile>| Some(Descriptor { file: file.clone(), close_on_exec: false });
        let three = [descriptor(&input), descriptor(&output), descriptor(&output)];
        let slots = fallible::collect(three.into_iter())?;
        Ok(Self { slots, limit: MAX_FILES, id: new_id() })
    }

    /// The same descriptors for a child. `EMFILE`: one of them has a number beyond what there may
    /// be now.
    pub fn try_clone(&self) -> Result<Self, Errno> {
        let last = self.slots.iter().rposition(Option::is_some);
        let used = last.map_or(0, |last| last + 1);
        let most = limits::MAX_FILES.load(Ordering::Relaxed).next_multiple_of(64);
        if used as u64 > most {
            return Err(Errno::EMFILE);
        }
        let slots = fallible::collect(self.slots[..used].iter().cloned())?;
        Ok(Self { slots, limit: self.limit, id: new_id() })
    }

    /// What the locks of its process know it by.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub fn get(&self, number: u64) -> Result<Descriptor, Errno> {
        let slot = usize::try_from(number).ok().and_then(|number| self.slots.get(number));
        slot.and_then(Clone::clone).ok_or(Errno::EBADF)
    }

    /// The lowest free number from `lowest` on, with a place.
    fn free_number(&mut self, lowest: u64) -> Result<usize, Errno> {
        // Without any numbers, none is free.
        let is_one = |&lowest: &usize| lowest == 0 || lowest < self.limit;
        let lowest = usize::try_from(lowest).ok().filter(is_one);
        let mut numbers = lowest.ok_or(Errno::EINVAL)?..self.limit;
        let free = numbers.find(|&i| self.slots.get(i).is_none_or(Option::is_none));
        let number = free.ok_or(Errno::EMFILE)?;
        self.make_place(number)?;
        Ok(number)
    }

    fn make_place(&mut self, number: usize) -> Result<(), Errno> {
        if number >= self.slots.len() {
            let more = number + 1 - self.slots.len();
            self.slots.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.slots.resize(number + 1, None);
        }
        Ok(())
    }

    /// Replaces what a number leads to; gives out what it led to before.
    pub fn set(
        &mut self,
        number: u64,
        to: Option<Descriptor>,
    ) -> Result<Option<Descriptor>, Errno> {
        let number =
            usize::try_from(number).ok().filter(|&i| i < self.limit).ok_or(Errno::EBADF)?;
        self.make_place(number)?;
        Ok(core::mem::replace(&mut self.slots[number], to))
    }

    /// Takes a descriptor out: of a number beyond the limit too, which may have been lowered since.
    pub fn remove(&mut self, number: u64) -> Result<Descriptor, Errno> {
        let slot = usize::try_from(number).ok().and_then(|number| self.slots.get_mut(number));
        slot.and_then(Option::take).ok_or(Errno::EBADF)
    }

    /// The first descriptor at or above a number, and its number.
    pub fn next(&self, lowest: u64) -> Option<(u64, &Descriptor)> {
        let lowest = usize::try_from(lowest).ok()?;
        let slots = self.slots.iter().enumerate().skip(lowest);
        let mut there = slots.filter_map(|(at, slot)| Some((at as u64, slot.as_ref()?)));
        there.next()
    }

    /// Places for descriptors, as Linux makes them: a power of two.
    pub(crate) fn places(&self) -> usize {
        const FIRST: usize = usize::BITS as usize;
        const NEXT: usize = 1024 / size_of::<usize>();
        match self.slots.len() {
            0..=FIRST => FIRST,
            more => more.next_power_of_two().max(NEXT),
        }
    }

    /// Sets how many numbers there are (RLIMIT_NOFILE).
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// How many numbers there are.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// One descriptor that execve closes.
    pub fn take_close_on_exec(&mut self) -> Option<Descriptor> {
        self.slots.iter_mut().find_map(|slot| slot.take_if(|descriptor| descriptor.close_on_exec))
    }

    pub fn set_close_on_exec(&mut self, number: u64, to: bool) -> Result<(), Errno> {
        let slot = usize::try_from(number).ok().and_then(|number| self.slots.get_mut(number));
        slot.and_then(Option::as_mut).ok_or(Errno::EBADF)?.close_on_exec = to;
        Ok(())
    }
}

/// Gives a descriptor the lowest free number from `lowest` on. One that finds no place is dropped
/// without the lock: the last user of a pipe wakes others, that of a directory takes a tree apart.
pub fn add(files: &SpinLock<Files>, descriptor: Descriptor, lowest: u64) -> Result<u64, Errno> {
    let mut files = files.lock();
    let number = files.free_number(lowest)?;
    files.slots[number] = Some(descriptor);
    Ok(number as u64)
}
