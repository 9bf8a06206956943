//! System calls: the way in, and which call is which.

use super::abi::{self, nr};
use super::error::{Errno, SysResult};
use super::{calls_files as files, calls_memory as memory, calls_misc as misc, current, life};
use crate::arch::regs::SavedRegs;
use crate::sched;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// Longest path.
const MOST_PATH: usize = 4096;
/// Strings execve takes at most, and bytes of all of them.
const MOST_STRINGS: usize = 4096;
const MOST_STRING_BYTES: usize = 4 << 20;

/// A system call. Number in `orig_rax`, arguments in rdi, rsi, rdx, r10, r8, r9; result in rax.
pub fn dispatch(regs: &mut SavedRegs) {
    let result = call(regs);
    sched::current().unpin_all();
    regs.rax = match result {
        Ok(value) => value,
        Err(error) => error.as_result(),
    };
}

fn call(regs: &mut SavedRegs) -> SysResult {
    let [a, b, c, d, e, f] = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
    match regs.orig_rax {
        nr::READ => files::read(a, b, c),
        nr::WRITE => files::write(a, b, c),
        nr::OPEN => files::open(a, b as u32, c as u32),
        nr::OPENAT => files::open(b, c as u32, d as u32),
        nr::CREAT => files::open(a, files::CREATE_TRUNCATE, b as u32),
        nr::CLOSE => files::close(a),
        nr::STAT => files::stat(a, b, true),
        nr::LSTAT => files::stat(a, b, false),
        nr::FSTAT => files::fstat(a, b),
        nr::NEWFSTATAT => files::fstatat(a, b, c, d),
        nr::POLL => files::poll(a, b, c as i32),
        nr::PPOLL => files::poll(a, b, if c == 0 { -1 } else { 0 }),
        nr::LSEEK => files::seek(a, b as i64, c),
        nr::PREAD64 => files::pread(a, b, c, d),
        nr::READV => files::vectored(a, b, c, files::read),
        nr::WRITEV => files::vectored(a, b, c, files::write),
        nr::ACCESS => files::access(a),
        nr::FACCESSAT | nr::FACCESSAT2 => files::access(b),
        nr::PIPE => files::pipe(a, 0),
        nr::PIPE2 => files::pipe(a, b),
        nr::DUP => files::dup(a),
        nr::DUP2 => files::dup_to(a, b, false, true),
        nr::DUP3 => files::dup_to(a, b, c & files::CLOSE_ON_EXEC != 0, false),
        nr::FCNTL => files::fcntl(a, b, c),
        nr::IOCTL => files::ioctl(a, b, c),
        nr::GETDENTS64 => files::getdents64(a, b, c),
        nr::GETCWD => files::getcwd(a, b),
        nr::CHDIR => files::chdir(a),
        nr::MKDIR => files::mkdir(a, b as u32),
        nr::MKDIRAT => files::mkdir(b, c as u32),
        nr::RMDIR => files::unlink(a, true),
        nr::UNLINK => files::unlink(a, false),
        nr::UNLINKAT => files::unlink(b, c & 0x200 != 0),
        nr::RENAME => files::rename(a, b),
        nr::RENAMEAT => files::rename(b, d),
        nr::SYMLINK => files::symlink(a, b),
        nr::SYMLINKAT => files::symlink(a, c),
        nr::READLINK => files::readlink(a, b, c),
        nr::READLINKAT => files::readlink(b, c, d),
        nr::FTRUNCATE => files::truncate(a, b),
        nr::SENDFILE => files::sendfile(a, b, c, d),
        nr::STATFS => files::statfs(b),
        nr::CHMOD
        | nr::FCHMOD
        | nr::FCHMODAT
        | nr::CHOWN
        | nr::FCHOWN
        | nr::LCHOWN
        | nr::UTIMENSAT
        | nr::FSYNC
        | nr::SYNC => Ok(0),
        nr::MMAP => memory::mmap(a, b, c, d, e, f),
        nr::MUNMAP => memory::munmap(a, b),
        nr::MPROTECT => memory::mprotect(a, b, c),
        nr::MREMAP => memory::mremap(a, b, c, d),
        nr::BRK => memory::brk(a),
        nr::MADVISE => Ok(0),
        nr::FORK => life::clone(regs, 0, 0, 0, 0, 0),
        nr::VFORK => life::clone(regs, 0x4100, 0, 0, 0, 0),
        nr::CLONE => life::clone(regs, a, b, c, d, e),
        nr::EXECVE => execve(regs, a, b, c),
        nr::EXIT => life::exit_thread((a as i32 & 0xff) << 8),
        nr::EXIT_GROUP => life::exit_group(a as i32),
        nr::WAIT4 => misc::wait4(i64::from(a as i32), b, c),
        nr::KILL => misc::kill(i64::from(a as i32), b),
        nr::TKILL => misc::tkill(a, b),
        nr::TGKILL => misc::tkill(b, c),
        nr::GETPID | nr::GETPGRP | nr::GETPGID | nr::GETSID => Ok(current().id),
        nr::GETTID => Ok(misc::thread_number()),
        nr::GETPPID => Ok(current().parent.load(Ordering::Relaxed)),
        nr::GETUID | nr::GETGID | nr::GETEUID | nr::GETEGID | nr::GETGROUPS => Ok(0),
        nr::SETUID | nr::SETGID | nr::SETREUID | nr::SETGROUPS | nr::SETPGID | nr::SETPRIORITY => {
            Ok(0)
        }
        nr::SETSID => Ok(current().id),
        nr::GETPRIORITY => Ok(20),
        nr::UMASK => Ok(0o022),
        nr::RT_SIGACTION => misc::sigaction(a, b, c),
        nr::RT_SIGPROCMASK => misc::sigprocmask(c, d),
        nr::RT_SIGPENDING => misc::write_zeros(a, b),
        nr::SIGALTSTACK => Ok(0),
        nr::PAUSE | nr::RT_SIGSUSPEND => misc::pause(),
        nr::SCHED_YIELD => {
            sched::yield_now();
            Ok(0)
        }
        nr::NANOSLEEP => misc::nanosleep(a),
        nr::CLOCK_NANOSLEEP => misc::clock_nanosleep(b, c),
        nr::CLOCK_GETTIME => misc::clock_gettime(b),
        nr::CLOCK_GETRES => misc::clock_getres(b),
        nr::GETTIMEOFDAY => misc::gettimeofday(a),
        nr::TIME => misc::time(a),
        nr::TIMES => misc::times(a),
        nr::GETRUSAGE => misc::write_zeros(b, 144),
        nr::SYSINFO => misc::sysinfo(a),
        nr::UNAME => misc::uname(a),
        nr::GETRANDOM => misc::getrandom(a, b),
        nr::PRLIMIT64 => misc::prlimit(b, d),
        nr::GETRLIMIT => misc::prlimit(a, b),
        nr::ARCH_PRCTL => misc::arch_prctl(a, b),
        nr::SET_TID_ADDRESS => misc::set_tid_address(a),
        nr::SET_ROBUST_LIST | nr::PRCTL => Ok(0),
        // Every start of a program asks for it, and does without.
        nr::RSEQ => Err(Errno::ENOSYS),
        nr::FUTEX => misc::futex(a, b, c, d),
        nr::SCHED_GETAFFINITY => misc::affinity(b, c),
        number => unknown(number),
    }
}

/// Numbers already logged, as bits.
static LOGGED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// ENOSYS, logged once per number.
fn unknown(number: u64) -> SysResult {
    // Numbers beyond all calls there are share the last bit: a program must not be able to fill the log.
    let number_logged = number.min(64 * LOGGED.len() as u64 - 1);
    let bit = 1 << (number_logged % 64);
    let before = LOGGED[(number_logged / 64) as usize].fetch_or(bit, Ordering::Relaxed);
    if before & bit == 0 {
        let name = abi::name(number).unwrap_or("no such call");
        log!("system call {number} ({name}) is not there: ENOSYS");
    }
    Err(Errno::ENOSYS)
}

/// A string of the program, without its NUL.
pub(super) fn string(at: u64, most: usize) -> Result<Vec<u8>, Errno> {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    let mut memory = memory.lock();
    let mut bytes = Vec::new();
    let mut piece = [0; 64];
    let mut at = at;
    loop {
        // Up to the end of the page: the next one may not be there.
        let length = piece.len().min((4096 - at % 4096) as usize);
        memory.read(at, &mut piece[..length])?;
        let end = piece[..length].iter().position(|&byte| byte == 0);
        bytes.extend_from_slice(&piece[..end.unwrap_or(length)]);
        if bytes.len() >= most {
            return Err(Errno::ENAMETOOLONG);
        }
        if end.is_some() {
            return Ok(bytes);
        }
        at += length as u64;
    }
}

/// A path of the program.
pub(super) fn path(at: u64) -> Result<String, Errno> {
    let path = life::as_text(string(at, MOST_PATH)?)?;
    if path.is_empty() { Err(Errno::ENOENT) } else { Ok(path) }
}

/// Writes to the program's memory.
pub(super) fn put(at: u64, bytes: &[u8]) -> Result<(), Errno> {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    Ok(memory.lock().write(at, bytes)?)
}

/// Reads from the program's memory.
pub(super) fn get<const N: usize>(at: u64) -> Result<[u8; N], Errno> {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    let mut bytes = [0; N];
    memory.lock().read(at, &mut bytes)?;
    Ok(bytes)
}

fn strings(at: u64, left: &mut usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if at == 0 {
        return Ok(strings);
    }
    for i in 0..MOST_STRINGS as u64 {
        let pointer = u64::from_le_bytes(get(at.checked_add(8 * i).ok_or(Errno::EFAULT)?)?);
        if pointer == 0 {
            return Ok(strings);
        }
        let one = string(pointer, kstack_core::exec::MOST_STRING)
            .map_err(|error| if error == Errno::ENAMETOOLONG { Errno::E2BIG } else { error })?;
        *left = left.checked_sub(one.len() + 8).ok_or(Errno::E2BIG)?;
        strings.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        strings.push(one);
    }
    Err(Errno::E2BIG)
}

fn execve(regs: &mut SavedRegs, at: u64, argv: u64, envp: u64) -> SysResult {
    let mut left = MOST_STRING_BYTES;
    let path = path(at)?;
    let argv = strings(argv, &mut left)?;
    let envp = strings(envp, &mut left)?;
    life::execve(regs, &path, &argv, &envp)
}
