//! Allocation that can fail: what a program can make the kernel allocate is made here, and a heap
//! that is used up is an error to that program.
//!
//! The standard library's own constructors end the kernel when the heap has nothing left. Each of
//! these stands for one of them:
//!
//! | instead of | write |
//! | --- | --- |
//! | `Box::new(x)`, `Arc::new(x)` | [`boxed`], [`shared`] |
//! | `x.to_vec()`, `x.to_string()` | [`bytes`], [`text`] |
//! | `iterator.collect()`, `list.push(x)` | [`collect`], [`push`] |
//! | `format!` | `write!` to a [`Text`] |
//!
//! `cargo xtask lint` refuses the left column in `linux` and in `threads::sched`.

use crate::memory::heap;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::fmt;

/// The heap has no block of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory;

/// A value on the heap.
pub fn boxed<T>(value: T) -> Result<Box<T>, NoMemory> {
    const { assert!(size_of::<T>() > 0, "a value without bytes needs no box") };
    let layout = Layout::new::<T>();
    // SAFETY: (1) the size is not zero, checked above.
    let block = unsafe { alloc::alloc::alloc(layout) }.cast::<T>();
    if block.is_null() {
        return Err(NoMemory);
    }
    // SAFETY: (1) the block came from the global allocator with the value's layout, which is what a
    // box is made of; (2) it is ours alone, and written before it is a box.
    unsafe {
        block.write(value);
        Ok(Box::from_raw(block))
    }
}

/// A value with a count of its users.
pub fn shared<T>(value: T) -> Result<Arc<T>, NoMemory> {
    heap::with_promised(shared_layout::<T>(), || Arc::new(value)).ok_or(NoMemory)
}

/// What an `Arc` asks the heap for: two counters, then the value.
pub const fn shared_layout<T>() -> Layout {
    let Ok((both, _)) = Layout::new::<[usize; 2]>().extend(Layout::new::<T>()) else {
        panic!("a value that large has no layout")
    };
    both.pad_to_align()
}

/// A copy of bytes.
pub fn bytes(from: &[u8]) -> Result<Vec<u8>, NoMemory> {
    let mut to = Vec::new();
    to.try_reserve_exact(from.len()).map_err(|_| NoMemory)?;
    to.extend_from_slice(from);
    Ok(to)
}

/// So many zeros.
pub fn zeros(length: usize) -> Result<Vec<u8>, NoMemory> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(length).map_err(|_| NoMemory)?;
    zeros.resize(length, 0);
    Ok(zeros)
}

/// A copy of text.
pub fn text(from: &str) -> Result<String, NoMemory> {
    let mut to = String::new();
    to.try_reserve_exact(from.len()).map_err(|_| NoMemory)?;
    to.push_str(from);
    Ok(to)
}

/// A list of what an iterator gives.
pub fn collect<T>(from: impl Iterator<Item = T>) -> Result<Vec<T>, NoMemory> {
    let mut to = Vec::new();
    to.try_reserve(from.size_hint().0).map_err(|_| NoMemory)?;
    for one in from {
        push(&mut to, one)?;
    }
    Ok(to)
}

/// One more at the end of a list.
pub fn push<T>(to: &mut Vec<T>, one: T) -> Result<(), NoMemory> {
    to.try_reserve(1).map_err(|_| NoMemory)?;
    to.push(one);
    Ok(())
}

/// Text that grows by `write!`, which fails when the heap has nothing left.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// No text yet.
    pub const fn new() -> Self {
        Self(String::new())
    }

    /// Bytes of it so far.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none so far.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }

    /// The text's bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        self.0.try_reserve(more.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(more);
        Ok(())
    }
}
