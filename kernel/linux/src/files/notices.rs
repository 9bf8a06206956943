//! Files that tell of input and room by a signal (`O_ASYNC`, fcntl(2)): pipes, sockets, terminals.
//!
//! Files know no process: who sends the signals is set from outside, as in [`super::signaller`].
//!
//! # Invariants
//!
//! 1. An open file that has `O_ASYNC` stands once in each list of what it leads to, by its address,
//!    and takes itself out before it goes.
//! 2. A list has a copy of whom the file tells, renewed when that changes: telling looks at no
//!    file, so that it needs no count of it, and can be done in an interrupt.

use crate::error::Errno;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// Whom a file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Whom {
    #[default]
    None,
    Thread(u64),
    Process(u64),
    Group(u64),
}

/// Whom a file tells, by which signal, and who has said so.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Addressee {
    pub(crate) whom: Whom,
    /// 0: SIGIO, without what else there is to tell.
    pub(crate) signal: u32,
    /// The user who named it, and the one it acted as.
    pub(crate) users: [u32; 2],
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    Input,
    Room,
    HangUp,
    /// A lease is asked for.
    Message,
    /// Something has happened in a directory (`super::directory_notices`).
    Directory,
}

/// What sends a signal about a descriptor.
pub(crate) type Sender = fn(&Addressee, Notice, i32);

static SENDER: SpinLock<Option<Sender>> = SpinLock::new(None);

/// Sets what sends the signals.
pub(crate) fn set_sender(sender: Sender) {
    *SENDER.lock() = Some(sender);
}

/// Tells one of them. Without a lock that sending a signal may need.
pub(super) fn tell(addressee: &Addressee, notice: Notice, descriptor: i32) {
    let sender = *SENDER.lock();
    if let Some(sender) = sender {
        sender(addressee, notice, descriptor);
    }
}

/// One open file that is to tell.
#[derive(Debug, Clone, Copy)]
struct Teller {
    file: usize,
    descriptor: i32,
    addressee: Addressee,
}

/// The open files that tell of one kind of change.
#[derive(Debug)]
pub struct Notices {
    /// Looked at without the lock.
    is_used: AtomicBool,
    tellers: SpinLock<Vec<Teller>>,
}

impl Notices {
    pub(crate) const fn new() -> Self {
        Self { is_used: AtomicBool::new(false), tellers: SpinLock::new(Vec::new()) }
    }

    /// Tells. Without a lock of the file's.
    #[inline]
    pub(crate) fn tell(&self, notice: Notice) {
        if self.is_used.load(Ordering::SeqCst) {
            self.tell_all(notice);
        }
    }

    #[cold]
    fn tell_all(&self, notice: Notice) {
        let Some(sender) = *SENDER.lock() else { return };
        // One after the other: a signal is not sent under a lock that sending may need.
        for at in 0.. {
            let teller = self.tellers.lock().get(at).copied();
            let Some(teller) = teller else { break };
            sender(&teller.addressee, notice, teller.descriptor);
        }
    }

    /// Has an open file tell from now on, or tells whom it tells now.
    pub(crate) fn add(
        &self,
        file: usize,
        descriptor: i32,
        addressee: Addressee,
    ) -> Result<(), Errno> {
        let mut tellers = self.tellers.lock();
        match tellers.iter_mut().find(|teller| teller.file == file) {
            Some(teller) => (teller.descriptor, teller.addressee) = (descriptor, addressee),
            None => fallible::push(&mut tellers, Teller { file, descriptor, addressee })?,
        }
        self.is_used.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// An open file tells others from now on, if it tells at all.
    pub(crate) fn change(&self, file: usize, addressee: Addressee) {
        let mut tellers = self.tellers.lock();
        if let Some(teller) = tellers.iter_mut().find(|teller| teller.file == file) {
            teller.addressee = addressee;
        }
    }

    pub(crate) fn remove(&self, file: usize) {
        let mut tellers = self.tellers.lock();
        tellers.retain(|teller| teller.file != file);
        if tellers.is_empty() {
            // What is static keeps no room.
            *tellers = Vec::new();
            self.is_used.store(false, Ordering::SeqCst);
        }
    }
}
