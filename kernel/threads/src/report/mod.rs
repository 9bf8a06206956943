//! What is told about stacks: an overflow, a backtrace with names, a list.

pub mod asleep;
pub mod backtrace;
pub mod device_buffer;
pub mod on_purpose;
pub mod overflow;
pub mod pages;
pub mod running;
pub mod stacks;
pub mod symbols;
