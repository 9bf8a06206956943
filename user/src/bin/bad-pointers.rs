//! Passes to system calls what no sound program would; status 0 if each is refused as Linux refuses it, and nothing is lost.

#![no_std]
#![no_main]

use user::must;

user::entry!(main);

const EPERM: isize = -1;
const EBADF: isize = -9;
const ENOMEM: isize = -12;
const EFAULT: isize = -14;
const EINVAL: isize = -22;
const ENOSYS: isize = -38;

/// Null, unmapped, the last page below the kernel, its first byte, the stack arena, the end of the address space.
const BAD: [usize; 6] = [
    0,
    0x1234_5000,
    0x7fff_ffff_f000,
    0xffff_8000_0000_0000,
    0xffff_c900_0000_4000,
    usize::MAX - 7,
];

fn call(number: usize, arguments: [usize; 3]) -> isize {
    // SAFETY: (1) nothing: the addresses are bad on purpose, and the kernel must refuse them.
    unsafe { user::system_call(number, arguments) }
}

fn main() -> i32 {
    for bad in BAD {
        // write, stat, open, getcwd, uname, clock_gettime, pipe, execve, nanosleep, rt_sigaction
        must!(call(1, [1, bad, 8]) == EFAULT, "write");
        must!(call(4, [bad, bad, 0]) == EFAULT, "stat");
        must!(call(2, [bad, 0, 0]) == EFAULT, "open");
        must!(call(79, [bad, 100, 0]) == EFAULT, "getcwd");
        must!(call(63, [bad, 0, 0]) == EFAULT, "uname");
        must!(call(228, [0, bad, 0]) == EFAULT, "clock_gettime");
        must!(call(22, [bad, 0, 0]) == EFAULT, "pipe");
        must!(call(59, [bad, 0, 0]) == EFAULT, "execve");
        must!(call(35, [bad, 0, 0]) == EFAULT, "nanosleep");
    }
    // Read-only memory of the program itself.
    must!(call(63, [(main as *const ()).addr(), 0, 0]) == EFAULT, "uname into code");
    // A range that wraps around.
    must!(call(1, [1, usize::MAX - 4095, 8192]) == EFAULT, "write that wraps");
    // execve with a good path and a bad list.
    let path = c"/bin/busybox".as_ptr().addr();
    must!(call(59, [path, 0x1234_5000, 0]) == EFAULT, "execve with a bad argv");
    must!(call(59, [path, usize::MAX - 15, 0]) == EFAULT, "execve with an argv at the end");
    // Descriptors that are none; sizes and alignments that cannot be.
    must!(call(0, [77, 0, 1]) == EBADF, "read from no file");
    must!(call(3, [usize::MAX, 0, 0]) == EBADF, "close of no file");
    must!(call(11, [0x1001, 4096, 0]) == EINVAL, "munmap of an odd address");
    must!(call(9, [0, usize::MAX - 4095, 3]) == ENOMEM, "mmap of everything");
    must!(call(9, [0, 0, 3]) == EINVAL, "mmap of nothing");
    // A thread-local storage base in the kernel.
    must!(
        call(158, [0x1002, 0xffff_8000_0000_0000, 0]) == EPERM,
        "arch_prctl with a kernel address"
    );
    must!(
        call(158, [0x1002, 0x8000_0000_0000, 0]) == EPERM,
        "arch_prctl with a non-canonical address"
    );
    // Calls that do not exist, twice: logged once.
    must!(call(9999, [0; 3]) == ENOSYS, "an unknown call");
    must!(call(9999, [0; 3]) == ENOSYS, "an unknown call, again");
    must!(call(usize::MAX, [0; 3]) == ENOSYS, "the largest number");
    must!(call(272, [0; 3]) == ENOSYS, "unshare");
    0
}
