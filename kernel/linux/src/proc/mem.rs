//! /proc/PID/mem: the memory of a process, as a debugger gets at it (proc_pid_mem(5)).
//!
//! An open file is of the address space that the process had when it was opened: after an execve
//! it still is, and after the end of that space there is nothing more to read or write.

use super::subject::Subject;
use crate::error::Errno;
use crate::files::made::Bytes;
use crate::memory::object::AccessError;
use crate::memory::space::Memory;
use crate::process::Process;
use crate::process::identity::permissions::{self, Looks};
use alloc::sync::{Arc, Weak};
use machine::memory::fallible;
use threads::sched::{self, Mutex};

#[derive(Debug)]
struct Space(Weak<Mutex<Memory>>);

/// The memory of whom a folder is about, for one who may look into it.
pub(super) fn of(subject: &Subject) -> Result<Arc<dyn Bytes>, Errno> {
    let process = subject.process();
    if !process.is_none_or(|process| permissions::may_look_into(process, Looks::AsFile)) {
        return Err(Errno::EACCES);
    }
    // A thread of the kernel has none, and a process that has ended has none any more.
    let memory = process.and_then(Process::memory);
    let space = memory.as_ref().map_or_else(Weak::new, Arc::downgrade);
    Ok(fallible::shared(Space(space))?)
}

impl Space {
    /// Moves bytes page by page: as many as can be moved, and an error only if that is none.
    fn each_page(
        &self,
        position: u64,
        length: usize,
        mut step: impl FnMut(&mut Memory, u64, usize) -> Result<usize, AccessError>,
    ) -> Result<usize, Errno> {
        let Some(memory) = self.0.upgrade() else { return Ok(0) };
        let mut done = 0;
        while done < length && !sched::current().killed() {
            let moved = match position.checked_add(done as u64) {
                Some(at) => step(&mut memory.lock(), at, done),
                None => Err(AccessError::Address),
            };
            match moved {
                Ok(moved) => done += moved,
                Err(_) if done > 0 => break,
                Err(_) => return Err(Errno::EIO),
            }
        }
        Ok(done)
    }
}

impl Bytes for Space {
    fn read_at(&self, position: u64, to: &mut [u8]) -> Result<usize, Errno> {
        self.each_page(position, to.len(), |memory, at, done| {
            memory.read_forced(at, &mut to[done..])
        })
    }

    fn write_at(&self, position: u64, from: &[u8]) -> Result<usize, Errno> {
        self.each_page(position, from.len(), |memory, at, done| {
            memory.write_forced(at, &from[done..])
        })
    }
}
