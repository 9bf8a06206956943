//! One CPU's interrupt state, in the CPU's block.

use core::cell::UnsafeCell;
use kstack_core::irq::IrqState;

/// One CPU's interrupt state.
#[derive(Debug)]
#[repr(transparent)]
pub struct IrqCell(UnsafeCell<IrqState>);

// SAFETY: (1) only the CPU itself changes it, with interrupts off; (2) others read single words for
// reports.
unsafe impl Sync for IrqCell {}

impl IrqCell {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(IrqState::new()))
    }

    /// The state of the CPU this runs on. Interrupts off.
    #[inline(always)]
    pub(crate) fn with<R>(&self, body: impl FnOnce(&mut IrqState) -> R) -> R {
        // SAFETY: (1) interrupts are off and `body` is a few lines of `crate::irq` that call
        // nothing: it is exclusive.
        body(unsafe { &mut *self.0.get() })
    }

    /// A copy, for reports and tests. Of another CPU it may be half old.
    #[inline]
    pub fn snapshot(&self) -> IrqState {
        // SAFETY: (1) plain words; a copy is made and not trusted.
        unsafe { self.0.get().read_volatile() }
    }
}
