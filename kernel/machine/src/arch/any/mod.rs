//! What every machine has alike; each tree passes it on as its own.

pub mod based;
pub mod bases;
pub mod cpu;
pub mod entries;
pub mod exceptions;
pub mod extras;
pub mod flush;
pub mod flushes;
pub mod mappings;
pub mod no_breakpoints;
pub mod no_segments;
pub mod paging;
pub mod segments;
pub mod start;
