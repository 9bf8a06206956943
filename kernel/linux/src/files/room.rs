//! How much there may be in a file system in memory that was mounted with limits (tmpfs(5)): its
//! nodes, and the pages of its files.
//!
//! A node takes a [`Seat`] when it gets its first place in a tree, and keeps it to its end: moved
//! to another file system, it still counts where it was made.

use crate::error::Errno;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// What there may be, and what there is; `0`: as much as one likes.
#[derive(Debug)]
pub(crate) struct Room {
    most_nodes: AtomicU64,
    nodes: AtomicU64,
    most_pages: AtomicU64,
    pages: AtomicU64,
}

/// One more, if there may be.
fn add(number: &AtomicU64, most: &AtomicU64) -> Result<(), Errno> {
    let most = most.load(Ordering::Relaxed);
    if number.fetch_add(1, Ordering::Relaxed) >= most && most != 0 {
        number.fetch_sub(1, Ordering::Relaxed);
        return Err(Errno::ENOSPC);
    }
    Ok(())
}

impl Room {
    /// With nothing in it.
    pub(crate) const fn new(most_nodes: u64, most_pages: u64) -> Self {
        Self {
            most_nodes: AtomicU64::new(most_nodes),
            nodes: AtomicU64::new(0),
            most_pages: AtomicU64::new(most_pages),
            pages: AtomicU64::new(0),
        }
    }

    /// Other limits from now on. `EINVAL`: there is more in it already, or what had none is to have
    /// some.
    pub(crate) fn change(&self, nodes: Option<u64>, pages: Option<u64>) -> Result<(), Errno> {
        let fits = |to: Option<u64>, is: &AtomicU64, most: &AtomicU64| {
            let (is, most) = (is.load(Ordering::Relaxed), most.load(Ordering::Relaxed));
            to.is_none_or(|to| to == 0 || most != 0 && is <= to)
        };
        if !fits(nodes, &self.nodes, &self.most_nodes)
            || !fits(pages, &self.pages, &self.most_pages)
        {
            return Err(Errno::EINVAL);
        }
        nodes.inspect(|&to| self.most_nodes.store(to, Ordering::Relaxed));
        pages.inspect(|&to| self.most_pages.store(to, Ordering::Relaxed));
        Ok(())
    }

    /// Pages that there may be, and those that are left, where there is a limit.
    pub(crate) fn pages(&self) -> Option<(u64, u64)> {
        let most = self.most_pages.load(Ordering::Relaxed);
        let left = most.saturating_sub(self.pages.load(Ordering::Relaxed));
        (most != 0).then_some((most, left))
    }

    /// One page more. `ENOSPC`: there may be none.
    pub(super) fn add_page(&self) -> Result<(), Errno> {
        add(&self.pages, &self.most_pages)
    }

    pub(super) fn remove_page(&self) {
        self.pages.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A node's place among those that there may be.
#[derive(Debug)]
pub(super) struct Seat(Arc<Room>);

impl Seat {
    /// `ENOSPC`: there is none.
    pub(super) fn take(room: Arc<Room>) -> Result<Self, Errno> {
        add(&room.nodes, &room.most_nodes)?;
        Ok(Self(room))
    }

    pub(super) fn room(&self) -> Arc<Room> {
        self.0.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.nodes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number with a unit behind it, as `memparse` of Linux reads it.
pub(crate) fn scaled(value: &str) -> Result<u64, Errno> {
    const UNITS: &[u8] = b"kmgtpe";
    let unit = value.bytes().last().map(|last| last.to_ascii_lowercase());
    let power = UNITS.iter().zip(1..).find(|&(&name, _)| Some(name) == unit);
    let (digits, shift) = match power {
        Some((_, power)) => (&value[..value.len() - 1], 10 * power),
        None => (value, 0),
    };
    let number: u64 = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    }
    .map_err(|_| Errno::EINVAL)?;
    if number > u64::MAX >> shift { Err(Errno::EINVAL) } else { Ok(number << shift) }
}
