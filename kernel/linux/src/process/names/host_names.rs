//! The names that a machine has for programs.

use crate::spaces::user::Users;
use alloc::sync::Arc;
use machine::spin::SpinLock;

/// Bytes of a name.
pub(crate) const MAX_BYTES: usize = 64;

/// See the module's head.
#[derive(Debug, Clone)]
pub(crate) struct HostNames {
    host: ([u8; MAX_BYTES], usize),
    domain: ([u8; MAX_BYTES], usize),
}

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
    /// As the machine starts.
    pub(in crate::process) const fn first() -> Self {
        Self { host: named(b"kstack"), domain: named(b"(none)") }
    }

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
pub(crate) type Own = Option<Arc<Numbered>>;

/// Names of a namespace, and the number that it is known by.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    /// The user namespace that it belongs to.
    pub(crate) owner: Users,
    pub(crate) names: SpinLock<HostNames>,
}
