//! Open files and the descriptors that lead to them, under one name.

pub(crate) use super::open_file::flag;
pub use super::open_file::{OpenFile, Target};
pub use super::table::{Descriptor, Files, add};
