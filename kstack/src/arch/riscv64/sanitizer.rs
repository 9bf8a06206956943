//! What code that the kernel address sanitizer was compiled into calls: named by the compiler, and
//! handed on to [`crate::sanitizer`] with the caller's SP and frame pointer.
//!
//! In: a0 = the address, a1 = the size if the name says none; ra the return address, s0 the
//! caller's frame. Clobbers what any call may.

use crate::poison::{no_return, set_shadow};
use crate::sanitizer::check;
use core::arch::naked_asm;

/// Before an access of a size that the name says.
macro_rules! access {
    ($($name:ident $size:literal)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn $name() {
            naked_asm!(
                "li a1, {size}",
                "mv a2, sp",
                "mv a3, s0",
                "mv a4, ra",
                "tail {check}",
                size = const $size,
                check = sym check,
            )
        }
    )*};
}

access! {
    __asan_load1_noabort 1 __asan_load2_noabort 2 __asan_load4_noabort 4 __asan_load8_noabort 8
    __asan_load16_noabort 16
    __asan_store1_noabort 1 __asan_store2_noabort 2 __asan_store4_noabort 4
    __asan_store8_noabort 8 __asan_store16_noabort 16
}

/// Before one of a size that is an argument.
macro_rules! access_of {
    ($($name:ident)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn $name() {
            naked_asm!(
                "mv a2, sp",
                "mv a3, s0",
                "mv a4, ra",
                "tail {check}",
                check = sym check,
            )
        }
    )*};
}

access_of! { __asan_loadN_noabort __asan_storeN_noabort }

/// What of a frame may be touched: a value for so many bytes of shadow.
macro_rules! shadow {
    ($($name:ident $value:literal)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn $name() {
            naked_asm!(
                "li a2, {value}",
                "tail {set_shadow}",
                value = const $value,
                set_shadow = sym set_shadow,
            )
        }
    )*};
}

shadow! {
    __asan_set_shadow_00 0x00 __asan_set_shadow_01 0x01 __asan_set_shadow_02 0x02
    __asan_set_shadow_03 0x03 __asan_set_shadow_04 0x04 __asan_set_shadow_05 0x05
    __asan_set_shadow_06 0x06 __asan_set_shadow_07 0x07 __asan_set_shadow_f1 0xf1
    __asan_set_shadow_f2 0xf2 __asan_set_shadow_f3 0xf3 __asan_set_shadow_f5 0xf5
    __asan_set_shadow_f8 0xf8
}

/// Before a call that does not return.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn __asan_handle_no_return() {
    naked_asm!("mv a0, sp", "tail {no_return}", no_return = sym no_return)
}
