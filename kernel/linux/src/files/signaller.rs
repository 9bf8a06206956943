//! What sends a terminal's signals to process groups: files know no process, so it is set from
//! outside.

use crate::abi::signals::Signal;
use machine::spin::SpinLock;

/// What sends a signal to a process group.
pub(super) type Signaller = fn(u64, Signal);

static SIGNALLER: SpinLock<Option<Signaller>> = SpinLock::new(None);

/// Sets what sends a signal to a process group.
pub(super) fn set(signaller: Signaller) {
    *SIGNALLER.lock() = Some(signaller);
}

/// Sends a signal to a process group, if there is one: 0 is none. Also in the interrupt.
pub(super) fn signal(group: u64, signal: Signal) {
    let signaller = *SIGNALLER.lock();
    if let Some(signaller) = signaller
        && group != 0
    {
        signaller(group, signal);
    }
}
