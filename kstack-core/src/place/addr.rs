//! Addresses, sizes and CPU numbers as types of their own.
//!
//! A bare `usize` says neither unit nor meaning; a stack library that mixes a size with an address,
//! or bytes with pages, corrupts memory. All arithmetic here is explicit about wrapping.
//!
//! ```text
//!   lowest                                     top
//!     |<------------- AddrRange --------------->|      top is one past the highest byte
//!     0xffff_c900_0000_3000        0xffff_c900_0000_7000
//! ```

use core::fmt;

/// Bytes in a page. Every architecture kstack supports is run with 4 KiB pages.
pub const PAGE_BYTES: usize = 4096;

/// A virtual address in the kernel's address space. Never dereferenced in this crate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Addr(usize);

impl Addr {
    /// The address with this numeric value.
    #[inline(always)]
    pub const fn new(value: usize) -> Self {
        Self(value)
    }

    /// The numeric value.
    #[inline(always)]
    pub const fn get(self) -> usize {
        self.0
    }

    /// The address `size` above, or `None` past the end of the address space.
    #[inline(always)]
    pub const fn checked_add(self, size: ByteSize) -> Option<Self> {
        match self.0.checked_add(size.0) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The address `size` below, or `None` below zero.
    #[inline(always)]
    pub const fn checked_sub(self, size: ByteSize) -> Option<Self> {
        match self.0.checked_sub(size.0) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The address `size` above, wrapping at the end of the address space.
    #[inline(always)]
    #[must_use]
    pub const fn wrapping_add(self, size: ByteSize) -> Self {
        Self(self.0.wrapping_add(size.0))
    }

    /// The address `size` below, wrapping at zero.
    #[inline(always)]
    #[must_use]
    pub const fn wrapping_sub(self, size: ByteSize) -> Self {
        Self(self.0.wrapping_sub(size.0))
    }

    /// How far this address lies above `lower`; wraps if it does not.
    #[inline(always)]
    pub const fn bytes_above(self, lower: Self) -> ByteSize {
        ByteSize(self.0.wrapping_sub(lower.0))
    }

    /// Rounded down to a multiple of `align`, a power of two.
    #[inline(always)]
    #[must_use]
    pub const fn align_down(self, align: ByteSize) -> Self {
        Self(self.0 & !(align.0 - 1))
    }

    /// Whether the address is a multiple of `align`, a power of two.
    #[inline(always)]
    pub const fn is_aligned(self, align: ByteSize) -> bool {
        self.0 & (align.0 - 1) == 0
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A size in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct ByteSize(usize);

impl ByteSize {
    /// Zero bytes.
    pub const ZERO: Self = Self(0);
    /// One page.
    pub const PAGE: Self = Self(PAGE_BYTES);

    /// This many bytes.
    #[inline(always)]
    pub const fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// This many KiB. More than there are addresses is `usize::MAX` bytes, which is no size of
    /// anything: it is not a whole number of pages.
    #[inline(always)]
    pub const fn kib(kib: usize) -> Self {
        Self(kib.saturating_mul(1024))
    }

    /// This many pages. More than there are addresses is `usize::MAX` bytes, as for
    /// [`ByteSize::kib`].
    #[inline(always)]
    pub const fn pages(pages: usize) -> Self {
        Self(pages.saturating_mul(PAGE_BYTES))
    }

    /// The number of bytes.
    #[inline(always)]
    pub const fn get(self) -> usize {
        self.0
    }

    /// The number of whole pages.
    #[inline(always)]
    pub const fn in_pages(self) -> usize {
        self.0 / PAGE_BYTES
    }

    /// The sum, or `None` if there are not so many addresses.
    #[inline(always)]
    pub const fn checked_plus(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// The sum; wraps.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

/// A half-open range of addresses: `lowest` belongs to it, `top` is one past its highest byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(clippy::exhaustive_structs, reason = "two ends; made everywhere")]
pub struct AddrRange {
    /// The first byte.
    pub lowest: Addr,
    /// One past the last byte; for a stack, the value SP has when the stack is empty.
    pub top: Addr,
}

impl AddrRange {
    /// An empty range.
    pub const EMPTY: Self = Self { lowest: Addr(0), top: Addr(0) };

    /// The range of `size` bytes that starts at `lowest`. The sum must not pass the end of the
    /// address space.
    #[inline(always)]
    pub const fn sized(lowest: Addr, size: ByteSize) -> Self {
        Self { lowest, top: lowest.wrapping_add(size) }
    }

    /// Its length.
    #[inline(always)]
    pub const fn size(self) -> ByteSize {
        self.top.bytes_above(self.lowest)
    }

    /// Whether `addr` is one of its bytes.
    #[inline(always)]
    pub const fn contains(self, addr: Addr) -> bool {
        // One comparison: below `lowest` the subtraction wraps to a huge number.
        addr.bytes_above(self.lowest).0 < self.size().0
    }

    /// Whether `size` bytes from `addr` on all belong to it. Wrap-around at the end of the address
    /// space is refused.
    #[inline(always)]
    pub const fn contains_span(self, addr: Addr, size: ByteSize) -> bool {
        let offset = addr.bytes_above(self.lowest).0;
        let length = self.size().0;
        offset < length && size.0 <= length - offset
    }
}

impl fmt::Debug for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}..{})", self.lowest, self.top)
    }
}

/// The number of a CPU, counted from 0 in the order in which the kernel brought them up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct CpuId(u32);

impl CpuId {
    /// The CPU with this number.
    #[inline(always)]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number as an index into per-CPU tables.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for CpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b1_a_range_holds_its_lowest_byte_and_not_its_top() {
        let range = AddrRange::sized(Addr::new(0x3000), ByteSize::kib(16));
        assert!(!range.contains(Addr::new(0x2fff)));
        assert!(range.contains(Addr::new(0x3000)));
        assert!(range.contains(Addr::new(0x6fff)));
        assert!(!range.contains(Addr::new(0x7000)));
    }

    #[test]
    fn t1_sizes_beyond_all_addresses_are_the_largest_and_never_small_ones() {
        assert_eq!(ByteSize::kib(16).get(), 16 * 1024);
        assert_eq!(ByteSize::pages(3).get(), 3 * 4096);
        assert_eq!(ByteSize::pages(3).in_pages(), 3);
        assert_eq!(ByteSize::new(4095).in_pages(), 0);
        // One more than fits: wrapped, these would be 0.
        assert_eq!(ByteSize::kib(usize::MAX / 1024 + 1).get(), usize::MAX);
        assert_eq!(ByteSize::pages(usize::MAX / PAGE_BYTES + 1).get(), usize::MAX);
        let (one, most) = (ByteSize::new(1), ByteSize::new(usize::MAX));
        assert_eq!(most.checked_plus(one), None);
        assert_eq!(ByteSize::PAGE.checked_plus(one), Some(ByteSize::new(4097)));
        assert_eq!(most.plus(one), ByteSize::ZERO);
    }

    #[test]
    fn t1_addresses_are_rounded_down_and_only_multiples_are_aligned() {
        let align = ByteSize::new(0x1000);
        for (addr, down) in [
            (0, 0),
            (0xfff, 0),
            (0x1000, 0x1000),
            (0x1fff, 0x1000),
            (usize::MAX, usize::MAX - 0xfff),
        ] {
            let (addr, down) = (Addr::new(addr), Addr::new(down));
            assert_eq!(addr.align_down(align), down);
            assert!(down.is_aligned(align));
            assert_eq!(addr.is_aligned(align), addr == down);
        }
        assert_eq!(Addr::new(usize::MAX).checked_add(ByteSize::new(1)), None);
        assert_eq!(Addr::new(1).checked_add(ByteSize::new(2)), Some(Addr::new(3)));
        assert_eq!(Addr::new(0).checked_sub(ByteSize::new(1)), None);
        assert_eq!(Addr::new(3).checked_sub(ByteSize::new(2)), Some(Addr::new(1)));
    }

    #[test]
    fn b1_addresses_sizes_ranges_and_cpus_are_written_as_the_reports_have_them() {
        use std::format;
        let range = AddrRange::sized(Addr::new(0x3000), ByteSize::PAGE);
        assert_eq!(
            format!("{} {range:?} {:?}", range.lowest, range.top),
            "0x3000 [0x3000..0x4000) 0x4000"
        );
        assert_eq!(format!("{}", CpuId::new(3)), "3");
        assert_eq!((CpuId::new(3).get(), CpuId::new(3).index()), (3, 3));
    }

    #[test]
    fn b2_a_span_that_wraps_the_address_space_is_outside() {
        let range = AddrRange::sized(Addr::new(usize::MAX - 0xffff), ByteSize::kib(60));
        assert!(range.contains_span(range.lowest, range.size()));
        assert!(!range.contains_span(Addr::new(usize::MAX - 7), ByteSize::new(16)));
        assert!(!range.contains_span(range.lowest, ByteSize::new(usize::MAX)));
        // The top is no address of the range, not even of nothing.
        assert!(!range.contains_span(range.top, ByteSize::ZERO));
        assert!(range.contains_span(range.top.wrapping_sub(ByteSize::new(1)), ByteSize::new(1)));
    }
}
