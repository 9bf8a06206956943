//! What our own user programs have in common: an entry, system calls, a panic that ends the process.
//!
//! The programs are static Linux executables without a C library, built for the same bare-metal target
//! as the kernel. They exist only for what no existing program exercises; everything else is shown
//! with Debian's busybox. Each is one file in `src/bin`, and lies in the image as `/kstack/bin/NAME`.
//!
//! They run on Linux as well, which is how their figures are compared.

#![no_std]

mod syscall;

pub use syscall::{exit, getppid, raw_getppid, write_all};

/// The status of a program that panicked, as the standard library has it.
const PANICKED: i32 = 101;

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    let _ = write_all(2, b"a user program panicked\n");
    exit(PANICKED)
}

/// Makes a function `fn() -> i32` the program: its result is the exit status.
///
/// The kernel enters with SP at the argument count, 16-byte aligned, as the ABI says; the call pushes
/// the return address that a function expects above its frame.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Where the kernel enters the program.
        ///
        /// In: SP at argc. Out: does not return. SP stays where the kernel put it.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn _start() -> ! {
            core::arch::naked_asm!(
                // The outermost frame: a frame pointer of zero ends every backtrace.
                "xor ebp, ebp",
                "call {body}",
                // Nothing to return to: a return of the body would be a bug, and stops here.
                "ud2",
                body = sym body,
            )
        }

        extern "C" fn body() -> ! {
            $crate::exit($main())
        }
    };
}
