//! The names of the machine, which sethostname and setdomainname change: those of all, or those of the processes that asked for their
//! own (`CLONE_NEWUTS`).

use super::task;
use crate::error::Errno;
use alloc::sync::Arc;
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::sched;

/// Bytes of a name.
pub(crate) const MAX_BYTES: usize = 64;

/// See the module's head.
#[derive(Debug, Clone)]
pub(crate) struct HostNames {
    host: ([u8; MAX_BYTES], usize),
    domain: ([u8; MAX_BYTES], usize),
}

static NAMES: SpinLock<HostNames> =
    SpinLock::new(HostNames { host: named(b"kstack"), domain: named(b"(none)") });

const fn named(name: &[u8]) -> ([u8; MAX_BYTES], usize) {
    let mut bytes = [0; MAX_BYTES];
    let mut at = 0;
    while at < name.len() {
        bytes[at] = name[at];
        at += 1;
    }
    (bytes, name.len())
}

fn text((bytes, length): &([u8; MAX_BYTES], usize)) -> &str {
    bytes[..*length].utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

impl HostNames {
    pub(crate) fn host(&self) -> &str {
        text(&self.host)
    }

    pub(crate) fn domain(&self) -> &str {
        text(&self.domain)
    }

    /// Sets one of the two, to at most [`MAX_BYTES`] bytes.
    pub(crate) fn set(&mut self, is_domain: bool, name: &[u8]) {
        let name = named(&name[..name.len().min(MAX_BYTES)]);
        if is_domain {
            self.domain = name;
        } else {
            self.host = name;
        }
    }
}

/// Names that some processes have of their own; `None`: the machine's.
pub(crate) type Own = Option<Arc<SpinLock<HostNames>>>;

fn own() -> Own {
    task::of(sched::current()).and_then(|task| task.process.host.lock().clone())
}

/// Calls `body` with the caller's names, under their lock.
pub(crate) fn with<R>(body: impl FnOnce(&mut HostNames) -> R) -> R {
    match own() {
        Some(own) => body(&mut own.lock()),
        None => body(&mut NAMES.lock()),
    }
}

/// Names that begin as the caller's, and are changed for themselves.
pub(super) fn copy() -> Result<Own, Errno> {
    let names = with(|names| names.clone());
    Ok(Some(fallible::shared(SpinLock::new(names))?))
}
