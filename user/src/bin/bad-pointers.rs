//! Passes to system calls what no sound program would; status 0 if each is refused as Linux refuses
//! it, and nothing is lost.

#![no_std]
#![no_main]

use user::arch::{self, nr};
use user::must;

user::entry!(main);

const EBADF: isize = -9;
const ENOMEM: isize = -12;
const EFAULT: isize = -14;
const EINVAL: isize = -22;
const ENOSYS: isize = -38;

/// Null, unmapped, the end of the address space; those of the machine come on top.
const BAD: [usize; 3] = [0, 0x1234_5000, usize::MAX - 7];
/// "The current directory", for calls that take a directory.
const HERE: usize = -100_isize as usize;

fn call<const N: usize>(number: usize, some: [usize; N]) -> isize {
    let mut arguments = [0; 6];
    arguments[..N].copy_from_slice(&some);
    // SAFETY: (1) nothing: the addresses are bad on purpose, and the kernel must refuse them.
    unsafe { arch::syscall(number, arguments) }
}

fn main() -> i32 {
    for bad in BAD.into_iter().chain(arch::BAD_ADDRESSES) {
        must!(call(nr::WRITE, [1, bad, 8]) == EFAULT, "write");
        must!(call(nr::FSTATAT, [HERE, bad, 0, 0]) == EFAULT, "fstatat");
        must!(call(nr::OPENAT, [HERE, bad, 0, 0]) == EFAULT, "openat");
        must!(call(nr::GETCWD, [bad, 100]) == EFAULT, "getcwd");
        must!(call(nr::UNAME, [bad]) == EFAULT, "uname");
        must!(call(nr::CLOCK_GETTIME, [0, bad]) == EFAULT, "clock_gettime");
        must!(call(nr::PIPE2, [bad, 0]) == EFAULT, "pipe2");
        must!(call(nr::EXECVE, [bad, 0, 0]) == EFAULT, "execve");
        must!(call(nr::NANOSLEEP, [bad, 0]) == EFAULT, "nanosleep");
    }
    // Read-only memory of the program itself.
    must!(call(nr::UNAME, [(main as *const ()).addr()]) == EFAULT, "uname into code");
    // A range that wraps around.
    must!(call(nr::WRITE, [1, usize::MAX - 4095, 8192]) == EFAULT, "write that wraps");
    // execve with a good path and a bad list.
    let path = c"/bin/busybox".as_ptr().addr();
    must!(call(nr::EXECVE, [path, 0x1234_5000, 0]) == EFAULT, "execve with a bad argv");
    must!(call(nr::EXECVE, [path, usize::MAX - 15, 0]) == EFAULT, "execve with an argv at the end");
    // Descriptors that are none; sizes and alignments that cannot be.
    must!(call(nr::READ, [77, 0, 1]) == EBADF, "read from no file");
    must!(call(nr::CLOSE, [usize::MAX]) == EBADF, "close of no file");
    must!(call(nr::MUNMAP, [0x1001, 4096]) == EINVAL, "munmap of an odd address");
    must!(call(nr::MMAP, [0, usize::MAX - 4095, 3]) == ENOMEM, "mmap of everything");
    must!(call(nr::MMAP, [0, 0, 3]) == EINVAL, "mmap of nothing");
    for &(_, number, arguments, result) in arch::REFUSED {
        must!(call(number, arguments) == result, "a call of this machine alone");
    }
    // Calls that do not exist, twice: logged once.
    must!(call(9999, [0]) == ENOSYS, "an unknown call");
    must!(call(9999, [0]) == ENOSYS, "an unknown call, again");
    must!(call(usize::MAX, [0]) == ENOSYS, "the largest number");
    must!(call(nr::NFSSERVCTL, [0]) == ENOSYS, "nfsservctl");
    0
}
