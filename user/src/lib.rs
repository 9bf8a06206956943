//! What our own user programs have in common: an entry, system calls, a panic that ends the
//! process.
//!
//! The programs are static Linux executables without a C library, built for the same bare-metal
//! target as the kernel. They exist only for what no existing program exercises; everything else is
//! shown with Debian's busybox. Each is one file in `src/bin`, and lies in the image as
//! `/kstack/bin/NAME`.
//!
//! They run on Linux as well, which is how their figures are compared.

#![no_std]

pub mod arch;
pub mod attack;
pub mod calls;
pub mod draw;
pub mod memory;
pub mod shadow;
pub mod signals;
mod syscall;

pub use syscall::{Errno, exit, fork, getppid, wait, write_all, yield_now};

static FIRST_STACK: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

/// Keeps SP as the kernel set it. By the entry.
pub fn set_first_stack(stack: *const usize) {
    FIRST_STACK.store(stack.expose_provenance(), core::sync::atomic::Ordering::Relaxed);
}

/// Where SP was at the first instruction: the argument count lies there.
pub fn first_stack() -> *const usize {
    core::ptr::with_exposed_provenance(FIRST_STACK.load(core::sync::atomic::Ordering::Relaxed))
}

/// The argument of a program that has exactly one; `None` if it has another number of them.
pub fn only_argument() -> Option<&'static [u8]> {
    let stack = first_stack();
    // SAFETY: (1) argc and the pointers above it are as the kernel laid them out, and stay; (2)
    // with two words of them (the program's name is the first), the second is a string.
    unsafe {
        (*stack == 2).then(|| {
            let argument = core::ptr::with_exposed_provenance(*stack.add(2));
            core::ffi::CStr::from_ptr(argument).to_bytes()
        })
    }
}

/// The status of a program that panicked, as the standard library has it.
const PANICKED: i32 = 101;

#[panic_handler]
fn panicked(_: &core::panic::PanicInfo<'_>) -> ! {
    let _ = write_all(2, b"a user program panicked\n");
    exit(PANICKED)
}

/// Ends the program with a message and status 1 unless the condition holds.
#[macro_export]
macro_rules! must {
    ($condition:expr, $message:literal) => {
        if !$condition {
            // The status says it too, if the message cannot be written.
            let _ = $crate::write_all(1, concat!($message, "\n").as_bytes());
            return 1;
        }
    };
}

/// Makes a function `fn() -> i32` the program: its result is the exit status.
///
/// The kernel enters with SP at the argument count, 16-byte aligned, as the ABI says; the call
/// pushes the return address that a function expects above its frame.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Where the kernel enters the program.
        ///
        /// In: SP at argc. Out: does not return. SP stays where the kernel put it.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        extern "C" fn _start() -> ! {
            $crate::start!(body)
        }

        extern "C" fn body(stack: *const usize) -> ! {
            $crate::set_first_stack(stack);
            $crate::exit($main())
        }
    };
}
