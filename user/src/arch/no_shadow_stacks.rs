//! What machines without shadow stacks for programs have of them.

/// Whether the calls for shadow stacks are those of prctl.
pub const SHADOW_BY_PRCTL: bool = true;

/// Calls `body` with a shadow stack that is on in this mode. [`usize::MAX`]: there is none.
pub extern "C" fn with_shadow_stack(
    _mode: usize,
    _body: extern "C" fn(usize) -> usize,
    _argument: usize,
) -> usize {
    usize::MAX
}

/// Where the shadow stack is.
pub fn shadow_pointer() -> usize {
    0
}

/// Takes up the shadow stack whose word is at an address; where the one that was left has its own.
pub fn switch_shadow(_to: usize) -> usize {
    0
}

/// Returns to another address than it was called from.
pub extern "C" fn return_to(_address: usize) -> usize {
    0
}

/// Stores a word to a shadow stack.
pub fn store_shadow(_at: usize, _word: usize) {}

/// Makes the call that ends a handler, with the shadow stack's pointer elsewhere.
pub extern "C" fn sigreturn_above(_sp: usize, _words: usize) -> ! {
    crate::exit(1)
}
