//! Extended attributes of a file (xattr(7)): names with values, kept with its node. Who may use
//! which, the calls know.

use crate::error::Errno;
use alloc::vec::Vec;
use machine::memory::{fallible, heap};
use machine::spin::SpinLock;

/// Bytes of a value, and of all names that are told (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
pub(crate) const MAX_VALUE: usize = 65_536;
/// Bytes that all of a file take: of a file system that keeps them in memory.
const MAX_ALL: usize = 2 * MAX_VALUE;

#[derive(Debug)]
struct Attribute {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// What setting one asks of what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Any,
    /// There is none of this name.
    Create,
    /// There is one.
    Replace,
}

/// Those of a node.
#[derive(Debug)]
pub(crate) struct Extended(SpinLock<Vec<Attribute>>);

impl Extended {
    /// None.
    pub(crate) const fn new() -> Self {
        Self(SpinLock::new(Vec::new()))
    }

    /// Sets one.
    pub(crate) fn set(&self, name: &[u8], value: Vec<u8>, how: Set) -> Result<(), Errno> {
        let name = fallible::bytes(name)?;
        if !heap::has_room_for_nodes(name.len() + value.len() + size_of::<Attribute>()) {
            return Err(Errno::ENOSPC);
        }
        let before = {
            let mut all = self.0.lock();
            let sum: usize = all.iter().map(|one| one.name.len() + one.value.len()).sum();
            let place = all.iter().position(|one| one.name == name);
            match (place, how) {
                (Some(_), Set::Create) => return Err(Errno::EEXIST),
                (None, Set::Replace) => return Err(Errno::ENODATA),
                _ if sum + name.len() + value.len() > MAX_ALL => return Err(Errno::ENOSPC),
                (Some(place), _) => Some(core::mem::replace(&mut all[place].value, value)),
                (None, _) => {
                    fallible::push(&mut all, Attribute { name, value })?;
                    None
                }
            }
        };
        // Without the lock.
        drop(before);
        Ok(())
    }

    /// The value of one.
    pub(crate) fn get(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let all = self.0.lock();
        let one = all.iter().find(|one| one.name == name).ok_or(Errno::ENODATA)?;
        Ok(fallible::bytes(&one.value)?)
    }

    /// Takes one out.
    pub(crate) fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        let taken = {
            let mut all = self.0.lock();
            let place = all.iter().position(|one| one.name == name).ok_or(Errno::ENODATA)?;
            all.remove(place)
        };
        drop(taken);
        Ok(())
    }

    /// The names for which `is_told` holds, each with a zero behind it.
    pub(crate) fn names(&self, is_told: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Errno> {
        let all = self.0.lock();
        let told = || all.iter().filter(|one| is_told(&one.name));
        let mut names = Vec::new();
        names
            .try_reserve_exact(told().map(|one| one.name.len() + 1).sum())
            .map_err(|_| Errno::ENOMEM)?;
        for one in told() {
            // CANNOT FAIL: reserved above.
            names.extend_from_slice(&one.name);
            names.push(0);
        }
        Ok(names)
    }
}
