//! What machines without another way to make system calls have of it.

use super::OldCall;

/// Makes a call the other way: none.
pub const OLD_CALL: Option<OldCall> = None;
