//! The page through which programs use `sysenter`: in every address space, below the kernel's part.
//!
//! ```text
//!   0xbfff_f000  push ecx; push edx; push ebp; mov ebp, esp; sysenter
//!   0xbfff_f007  pop ebp; pop edx; pop ecx; ret        where every sysenter returns
//!   0xc000_0000  the kernel's part
//! ```

/// The page with the code above, in every address space.
pub const SYSENTER_PAGE: u64 = 0xbfff_f000;
/// Where `sysenter` returns.
pub const SYSENTER_RETURN: u64 = SYSENTER_PAGE + SYSENTER_RETURN_OFFSET as u64;
const SYSENTER_RETURN_OFFSET: usize = 7;
/// What is on the page.
pub(super) const SYSENTER_CODE: [u8; 11] =
    [0x51, 0x52, 0x55, 0x89, 0xe5, 0x0f, 0x34, 0x5d, 0x5a, 0x59, 0xc3];
