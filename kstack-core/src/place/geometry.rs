//! How large a stack is, how it is aligned and how wide its guards are.
//!
//! A stack lives in a *slot* of the arena. The slot owns guard pages on both sides of the body; the
//! guards are address space that is never mapped. One slot on x86_64, with the example addresses
//! that the tests quote:
//!
//! ```text
//!   0xffff_c900_0000_0000  slot lowest   +--------------------+
//!                                        | guard below 12 KiB |   a frame that overshoots lands here
//!   0xffff_c900_0000_3000  body lowest   +--------------------+
//!                                        | body        16 KiB |   mapped page by page; SP moves down in it
//!   0xffff_c900_0000_7000  body top      +--------------------+
//!                                        | guard above  4 KiB |
//!   0xffff_c900_0000_8000  next slot     +--------------------+
//! ```
//!
//! Invariants, checked when a geometry is made (at compile time for the constants):
//!
//! 1. body, both guards and the alignment are whole pages, none of them zero, but for the guards of
//!    [`Geometry::without_guards`];
//! 2. the stride (their sum) is a multiple of the alignment, so that every body in an arena is
//!    aligned like the first;
//! 3. the body is no larger than the alignment.
//!
//! With `align` = twice the body, the bit of weight `body` is 0 in every address of every body and
//! 1 in the bytes right below: one bit of SP tells an overflow (arm64, arm32).

use crate::addr::{Addr, ByteSize, PAGE_BYTES};
use crate::sentences::sentences;

/// The shape that all stacks of one arena share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    body: ByteSize,
    guard_below: ByteSize,
    guard_above: ByteSize,
    align: ByteSize,
}

/// Why a geometry was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GeometryError {
    /// A size is zero or not a whole number of pages.
    NotWholePages,
    /// The alignment is not a power of two, or smaller than the body.
    BadAlignment,
    /// Guards plus body are not a multiple of the alignment, so the second body would be
    /// misaligned.
    StrideNotAligned,
    /// Guards and body together are more than there are addresses.
    TooLarge,
}

sentences!(GeometryError {
    NotWholePages => "a size of the geometry is zero, or not a whole number of pages",
    BadAlignment => "the alignment of the geometry is not a power of two, or smaller than the body",
    StrideNotAligned => "guards and body together are not a multiple of the alignment",
    TooLarge => "guards and body together are more than there are addresses",
});

impl Geometry {
    /// x86_64: 16 KiB, aligned to their size.
    pub const X86_64: Self = Self::checked(16, 12, 4, 16);
    /// i386: 8 KiB, aligned to their size.
    pub const I386: Self = Self::checked(8, 4, 4, 8);
    /// arm64: 16 KiB, aligned to twice their size for the SP bit test.
    pub const ARM64: Self = Self::checked(16, 12, 4, 32);
    /// arm32: 8 KiB, aligned to twice their size for the SP bit test.
    pub const ARM32: Self = Self::checked(8, 4, 4, 16);
    /// riscv64: 16 KiB, aligned to their size: the entry compares SP with the bounds of the stacks
    /// that it may be on. The compiler has no stack probes there, so the guard is as wide as any
    /// frame may be.
    pub const RISCV64: Self = Self::checked(16, 44, 4, 16);

    const fn checked(
        body_kib: usize,
        below_kib: usize,
        above_kib: usize,
        align_kib: usize,
    ) -> Self {
        let made = Self::new(
            ByteSize::kib(body_kib),
            ByteSize::kib(below_kib),
            ByteSize::kib(above_kib),
            ByteSize::kib(align_kib),
        );
        match made {
            Ok(geometry) => geometry,
            Err(_) => panic!("a built-in geometry breaks its own rules"),
        }
    }

    /// A geometry of your own. Sizes in bytes; see the module's invariants.
    ///
    /// # Errors
    ///
    /// [`GeometryError`] names the invariant that the sizes break.
    pub const fn new(
        body: ByteSize,
        guard_below: ByteSize,
        guard_above: ByteSize,
        align: ByteSize,
    ) -> Result<Self, GeometryError> {
        let mut i = 0;
        let sizes = [body, guard_below, guard_above, align];
        while i < sizes.len() {
            if sizes[i].get() == 0 || sizes[i].get() % PAGE_BYTES != 0 {
                return Err(GeometryError::NotWholePages);
            }
            i += 1;
        }
        if !align.get().is_power_of_two() || align.get() < body.get() {
            return Err(GeometryError::BadAlignment);
        }
        // Wrapped, a guard of nearly all addresses would make a small stride, and the bodies would
        // overlap.
        let Some(below) = body.checked_plus(guard_below) else {
            return Err(GeometryError::TooLarge);
        };
        let Some(stride) = below.checked_plus(guard_above) else {
            return Err(GeometryError::TooLarge);
        };
        if stride.get() % align.get() != 0 {
            return Err(GeometryError::StrideNotAligned);
        }
        Ok(Self { body, guard_below, guard_above, align })
    }

    /// The shape of stacks in memory that is mapped as a whole, next to memory of others: no guard
    /// page. What the alignment leaves between two bodies is counted as "guard above"; it is other
    /// memory, and nothing stops there:
    ///
    /// ```text
    ///   body 16 KiB, align 16 KiB     | body        | body        | body        |
    ///   body 16 KiB, align 32 KiB     | body        | of others   | body        | of others   |
    /// ```
    ///
    /// # Errors
    ///
    /// [`GeometryError`] names the invariant that the sizes break.
    pub const fn without_guards(body: ByteSize, align: ByteSize) -> Result<Self, GeometryError> {
        if body.get() == 0 || body.get() % PAGE_BYTES != 0 {
            return Err(GeometryError::NotWholePages);
        }
        if !align.get().is_power_of_two() || align.get() < body.get() {
            return Err(GeometryError::BadAlignment);
        }
        let rest = ByteSize::new(align.get() - body.get());
        Ok(Self { body, guard_below: ByteSize::ZERO, guard_above: rest, align })
    }

    /// Whether there is a page below each body at which an overflow stops.
    #[inline(always)]
    pub const fn has_guards(self) -> bool {
        self.guard_below.get() != 0
    }

    /// The same with the body, the guards and the alignment doubled, as a build under an address
    /// sanitizer wants it (its red zones and shadow checks about double the depth of every path).
    ///
    /// # Errors
    ///
    /// [`GeometryError::TooLarge`] if the sizes leave the address space.
    pub const fn doubled(self) -> Result<Self, GeometryError> {
        const fn twice(size: ByteSize) -> Option<ByteSize> {
            size.checked_plus(size)
        }
        match (
            twice(self.body),
            twice(self.guard_below),
            twice(self.guard_above),
            twice(self.align),
        ) {
            (Some(body), Some(below), Some(above), Some(align)) => {
                Self::new(body, below, above, align)
            }
            _ => Err(GeometryError::TooLarge),
        }
    }

    /// Usable bytes of a stack.
    #[inline(always)]
    pub const fn body(self) -> ByteSize {
        self.body
    }

    /// Width of the guard below the body, owned by the slot.
    #[inline(always)]
    pub const fn guard_below(self) -> ByteSize {
        self.guard_below
    }

    /// Width of the guard above the body, owned by the slot.
    #[inline(always)]
    pub const fn guard_above(self) -> ByteSize {
        self.guard_above
    }

    /// Alignment of every body.
    #[inline(always)]
    pub const fn align(self) -> ByteSize {
        self.align
    }

    /// Distance from one slot to the next.
    #[inline(always)]
    pub const fn stride(self) -> ByteSize {
        ByteSize::new(self.body.get() + self.guard_below.get() + self.guard_above.get())
    }

    /// Whether the bit test finds `sp` outside a body: true when the bit of weight `body` is set.
    /// Only meaningful where the alignment is twice the body.
    #[inline(always)]
    pub const fn sp_bit_says_overflow(self, sp: Addr) -> bool {
        sp.get() & self.body.get() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t1_default_sizes_are_the_catalogues() {
        let table = [
            (Geometry::X86_64, 16, 16),
            (Geometry::I386, 8, 8),
            (Geometry::ARM64, 16, 32),
            (Geometry::ARM32, 8, 16),
            (Geometry::RISCV64, 16, 16),
        ];
        for (geometry, body_kib, align_kib) in table {
            assert_eq!(geometry.body(), ByteSize::kib(body_kib));
            assert_eq!(geometry.align(), ByteSize::kib(align_kib));
            let doubled = geometry.doubled().expect("small enough");
            assert_eq!(doubled.body(), ByteSize::kib(2 * body_kib));
            assert_eq!(doubled.align(), ByteSize::kib(2 * align_kib));
            assert_eq!(doubled.guard_below().get(), 2 * geometry.guard_below().get());
            assert_eq!(doubled.guard_above().get(), 2 * geometry.guard_above().get());
            assert_eq!(doubled.stride().get(), 2 * geometry.stride().get());
            assert_eq!(geometry.stride().get() % geometry.align().get(), 0);
        }
    }

    /// The guard below is as wide as any frame that may step over it: where the compiler has no
    /// probes, 44 KiB; elsewhere a few pages.
    #[test]
    fn t1_o3_guards_are_as_wide_as_the_catalogue_says() {
        let table = [
            (Geometry::X86_64, 12, 4),
            (Geometry::I386, 4, 4),
            (Geometry::ARM64, 12, 4),
            (Geometry::ARM32, 4, 4),
            (Geometry::RISCV64, 44, 4),
        ];
        for (geometry, below_kib, above_kib) in table {
            assert_eq!(geometry.guard_below(), ByteSize::kib(below_kib));
            assert_eq!(geometry.guard_above(), ByteSize::kib(above_kib));
            let sum = geometry.body().get() + geometry.guard_below().get() + 4096;
            assert_eq!(geometry.stride().get(), sum);
        }
    }

    #[test]
    fn t1_sizes_whose_sum_is_more_than_all_addresses_are_refused() {
        let (page, kib) = (ByteSize::PAGE, ByteSize::kib);
        let huge = ByteSize::new(usize::MAX - 0xfff);
        let half = ByteSize::new(1 << (usize::BITS - 1));
        for (body, below, above, align) in [
            // Wrapped, the stride would be 16 KiB.
            (kib(16), huge, page, kib(16)),
            (kib(16), page, huge, kib(16)),
            (half, half, page, half),
            (page, half, half, page),
        ] {
            assert_eq!(Geometry::new(body, below, above, align), Err(GeometryError::TooLarge));
        }
        assert_eq!(
            Geometry::new(kib(usize::MAX), page, page, kib(16)),
            Err(GeometryError::NotWholePages)
        );
        let quarter = ByteSize::new(half.get() / 2);
        let large = Geometry::new(page, quarter, ByteSize::new(quarter.get() - 4096), page);
        let large = large.expect("half of all addresses");
        assert_eq!(large.doubled(), Err(GeometryError::TooLarge));
        let aligned = Geometry::new(page, ByteSize::new(half.get() - 8192), page, half);
        assert_eq!(aligned.and_then(Geometry::doubled), Err(GeometryError::TooLarge));
    }

    /// Red if the stride is not the alignment: then one body in two would begin where the block of
    /// frames that it is in does not.
    #[test]
    fn t3_without_guards_the_bodies_follow_each_other_at_their_alignment() {
        let kib = ByteSize::kib;
        for (body, align) in [(16, 16), (8, 8), (16, 32), (8, 16)] {
            let shape = Geometry::without_guards(kib(body), kib(align)).expect("whole pages");
            assert!(!shape.has_guards());
            assert_eq!((shape.body(), shape.stride()), (kib(body), kib(align)));
            assert_eq!(shape.guard_above(), kib(align - body));
        }
        assert!(Geometry::X86_64.has_guards());
        let refused = |body, align| Geometry::without_guards(body, align).unwrap_err();
        assert_eq!(refused(ByteSize::new(100), kib(16)), GeometryError::NotWholePages);
        assert_eq!(refused(ByteSize::ZERO, kib(16)), GeometryError::NotWholePages);
        assert_eq!(refused(kib(16), kib(8)), GeometryError::BadAlignment);
        assert_eq!(refused(kib(12), kib(24)), GeometryError::BadAlignment);
    }

    #[test]
    fn t1_a_geometry_that_breaks_a_rule_is_refused_by_name() {
        let page = ByteSize::PAGE;
        let kib = ByteSize::kib;
        assert_eq!(
            Geometry::new(kib(16), ByteSize::new(100), page, kib(16)),
            Err(GeometryError::NotWholePages)
        );
        assert_eq!(
            Geometry::new(kib(16), ByteSize::ZERO, page, kib(16)),
            Err(GeometryError::NotWholePages)
        );
        assert_eq!(Geometry::new(kib(16), page, page, kib(8)), Err(GeometryError::BadAlignment));
        assert_eq!(Geometry::new(kib(16), page, page, kib(12)), Err(GeometryError::BadAlignment));
        assert_eq!(
            Geometry::new(kib(16), page, page, kib(16)),
            Err(GeometryError::StrideNotAligned)
        );
    }
}
