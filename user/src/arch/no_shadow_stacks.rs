//! What machines without shadow stacks for programs have of them.

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
