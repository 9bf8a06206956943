//! Segments as programs describe them, on machines that have some.

/// Segments that a table has at most.
pub const MOST: usize = 8192;

/// What a program says of a segment (`struct user_desc`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Where it begins.
    pub base: u32,
    /// Its last byte, or page.
    pub limit: u32,
    /// Whether the limit counts pages.
    pub in_pages: bool,
    /// Whether addresses and stack pointers in it have 32 bits.
    pub is_32_bit: bool,
    /// 0: data, 1: data that grows down, 2: code, 3: code that keeps its caller's privilege.
    pub contents: u8,
    /// Whether data cannot be written, or code not read.
    pub is_restricted: bool,
    /// Whether it is there.
    pub is_present: bool,
    /// The bit that is free for programs.
    pub is_available: bool,
}
