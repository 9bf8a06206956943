//! System calls: the way in, and which call is which.

use super::abi::{self, Call};
use super::calls_files::HERE;
use super::error::{Errno, SysResult};
use super::exec_image::WordSize;
use super::{calls_files as files, calls_memory as memory, calls_misc as misc};
use super::{current, life, signals};
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::regs::SavedRegs;
use machine::memory::fallible;
use threads::sched;

/// Longest path.
const MOST_PATH: usize = 4096;

/// A system call.
pub fn dispatch(regs: &mut SavedRegs) {
    // Inlined, so that number and call are one table of jumps.
    let result = match abi::call(abi::number(regs)) {
        Some(call) => carry_out(call, regs),
        None => unknown(abi::number(regs)),
    };
    sched::current().unpin_all();
    abi::set_result(
        regs,
        match result {
            Ok(value) => value,
            Err(error) => error.as_result(),
        },
    );
}

fn carry_out(call: Call, regs: &mut SavedRegs) -> SysResult {
    let arguments = abi::arguments(regs);
    let [a, b, c, d, e, f] = arguments;
    match call {
        Call::Read => files::read(a, b, c),
        Call::Write => files::write(a, b, c),
        Call::Open => files::open(HERE, a, b as u32, c as u32),
        Call::Openat => files::open(a, b, c as u32, d as u32),
        Call::Creat => files::open(HERE, a, files::CREATE_TRUNCATE, b as u32),
        Call::Close => files::close(a),
        Call::Stat => files::stat(a, b, true),
        Call::Lstat => files::stat(a, b, false),
        Call::Fstat => files::fstat(a, b),
        Call::Newfstatat => files::fstatat(a, b, c, d),
        Call::Statx => files::statx(a, b, c, e),
        Call::Llseek => files::long_seek(a, b << 32 | c, d, e),
        Call::Poll => files::poll(a, b, c as i32),
        Call::Ppoll => files::poll(a, b, if c == 0 { -1 } else { 0 }),
        Call::Lseek => files::seek(a, b as i64, c),
        Call::Pread64 => files::pread(a, b, c, d),
        Call::Readv => files::vectored(a, b, c, files::read_from),
        Call::Writev => files::vectored(a, b, c, files::write_to),
        Call::Access => files::access(HERE, a),
        Call::Faccessat | Call::Faccessat2 => files::access(a, b),
        Call::Pipe => files::pipe(a, 0),
        Call::Pipe2 => files::pipe(a, b),
        Call::Dup => files::dup(a),
        Call::Dup2 => files::dup_to(a, b, false, true),
        Call::Dup3 => files::dup_to(a, b, c & files::CLOSE_ON_EXEC != 0, false),
        Call::Fcntl => files::fcntl(a, b, c),
        Call::Ioctl => files::ioctl(a, b, c),
        Call::Getdents64 => files::getdents64(a, b, c),
        Call::Getcwd => files::getcwd(a, b),
        Call::Chdir => files::chdir(a),
        Call::Mkdir => files::mkdir(HERE, a, b as u32),
        Call::Mkdirat => files::mkdir(a, b, c as u32),
        Call::Rmdir => files::unlink(HERE, a, true),
        Call::Unlink => files::unlink(HERE, a, false),
        Call::Unlinkat => files::unlink(a, b, c & 0x200 != 0),
        Call::Rename => files::rename(HERE, a, HERE, b),
        Call::Renameat => files::rename(a, b, c, d),
        Call::Symlink => files::symlink(a, HERE, b),
        Call::Symlinkat => files::symlink(a, b, c),
        Call::Readlink => files::readlink(HERE, a, b, c),
        Call::Readlinkat => files::readlink(a, b, c, d),
        Call::Ftruncate => files::truncate(a, b),
        Call::Sendfile => files::sendfile(a, b, c, d),
        Call::Statfs => files::statfs(b),
        Call::Chmod
        | Call::Fchmod
        | Call::Fchmodat
        | Call::Chown
        | Call::Fchown
        | Call::Lchown
        | Call::Utimensat
        | Call::Fsync
        | Call::Sync => Ok(0),
        Call::Mmap => memory::mmap(a, b, c, d, e, f),
        Call::Munmap => memory::munmap(a, b),
        Call::Mprotect => memory::mprotect(a, b, c),
        Call::Mremap => memory::mremap(a, b, c, d, e),
        Call::Brk => memory::brk(a),
        Call::Madvise => memory::madvise(a, b, c),
        Call::Fork => life::clone(regs, 0, 0, 0, 0, 0),
        Call::Vfork => life::clone(regs, 0x4100, 0, 0, 0, 0),
        Call::Clone => {
            let [flags, stack, parent_word, child_word, tls] = abi::clone_arguments(arguments);
            let tls = if flags & life::CLONE_SETTLS != 0 { abi::thread_local(tls)? } else { 0 };
            life::clone(regs, flags, stack, parent_word, child_word, tls)
        }
        Call::Execve => execve(regs, a, b, c),
        Call::Exit => life::exit_thread((a as i32 & 0xff) << 8),
        Call::ExitGroup => life::exit_group(a as i32),
        Call::Wait4 => misc::wait4(i64::from(a as i32), b, c),
        Call::Kill => signals::kill(i64::from(a as i32), u64::from(b as u32)),
        Call::Tkill => signals::tkill(None, a as i32, u64::from(b as u32)),
        Call::Tgkill => signals::tkill(Some(a as i32), b as i32, u64::from(c as u32)),
        Call::Getpid => Ok(current().id),
        Call::Getpgrp => misc::getpgid(0),
        Call::Getpgid => misc::getpgid(a),
        Call::Getsid => misc::getsid(a),
        Call::Gettid => Ok(misc::thread_number()),
        Call::Getppid => Ok(current().parent.load(Ordering::Relaxed)),
        Call::Getuid | Call::Getgid | Call::Geteuid | Call::Getegid | Call::Getgroups => Ok(0),
        Call::Setuid | Call::Setgid | Call::Setreuid | Call::Setgroups | Call::Setpriority => Ok(0),
        Call::Setpgid => misc::setpgid(a, b),
        Call::Setsid => misc::setsid(),
        Call::Getpriority => Ok(20),
        Call::Umask => Ok(0o022),
        Call::RtSigaction => signals::sigaction(u64::from(a as u32), b, c),
        Call::RtSigprocmask => misc::sigprocmask(c, d),
        Call::RtSigpending => misc::write_zeros(a, b),
        Call::Sigaltstack => Ok(0),
        Call::Pause | Call::RtSigsuspend => misc::pause(),
        Call::SchedYield => {
            sched::yield_now();
            Ok(0)
        }
        Call::Nanosleep => misc::nanosleep(a),
        Call::ClockGettime64 => misc::clock_gettime(b, abi::encode_long_pair),
        Call::ClockGetres64 => misc::clock_getres(b, abi::encode_long_pair),
        Call::ClockNanosleep64 => misc::clock_nanosleep(b, c, WordSize::Eight),
        Call::Futex64 => misc::futex(a, b, c, d, WordSize::Eight),
        Call::SetTls => misc::set_tls(a),
        // A page is made visible to instruction fetches when it becomes executable, and programs here do not write code into
        // executable pages.
        Call::CacheFlush => Ok(0),
        Call::SetThreadArea => misc::set_thread_area(a),
        Call::ClockNanosleep => misc::clock_nanosleep(b, c, abi::WORD),
        Call::ClockGettime => misc::clock_gettime(b, abi::encode_pair),
        Call::ClockGetres => misc::clock_getres(b, abi::encode_pair),
        Call::Gettimeofday => misc::gettimeofday(a),
        Call::Time => misc::time(a),
        Call::Times => misc::times(a),
        Call::Getrusage => misc::write_zeros(b, abi::RUSAGE_BYTES),
        Call::Sysinfo => misc::sysinfo(a),
        Call::Uname => misc::uname(a),
        Call::Getrandom => misc::getrandom(a, b),
        Call::Prlimit64 => misc::prlimit(b, d, abi::encode_long_pair),
        Call::Getrlimit => misc::prlimit(a, b, abi::encode_pair),
        Call::ArchPrctl => misc::arch_prctl(a, b),
        Call::SetTidAddress => misc::set_tid_address(a),
        Call::SetRobustList | Call::Prctl => Ok(0),
        // Every start of a program asks for it, and does without.
        Call::Rseq => Err(Errno::ENOSYS),
        Call::Futex => misc::futex(a, b, c, d, abi::WORD),
        Call::SchedGetaffinity => misc::affinity(b, c),
    }
}

/// Numbers already logged, as bits.
static LOGGED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// All numbers are logged again. For tests.
pub fn forget_logged() {
    LOGGED.iter().for_each(|bits| bits.store(0, Ordering::Relaxed));
}

/// ENOSYS, logged once per number. Not inlined: what it needs to write a line is more than most calls need.
#[cold]
#[inline(never)]
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
        let piece = &piece[..end.unwrap_or(length)];
        bytes.try_reserve(piece.len()).map_err(|_| Errno::ENOMEM)?;
        bytes.extend_from_slice(piece);
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

/// Bytes of a program's word.
pub(super) const WORD_BYTES: u64 = abi::WORD.bytes() as u64;

/// Numbers that lie one after the other, of the bytes that `size` says.
pub(super) fn get_numbers<const N: usize>(at: u64, size: WordSize) -> Result<[u64; N], Errno> {
    let mut numbers = [0; N];
    for (number, i) in numbers.iter_mut().zip(0..) {
        let at = at.checked_add(size.bytes() as u64 * i).ok_or(Errno::EFAULT)?;
        *number = match size {
            WordSize::Four => u32::from_le_bytes(get(at)?).into(),
            WordSize::Eight => u64::from_le_bytes(get(at)?),
        };
    }
    Ok(numbers)
}

/// Writes a word to the program's memory.
pub(super) fn put_word(at: u64, value: u64) -> Result<(), Errno> {
    put(at, &value.to_le_bytes()[..abi::WORD.bytes()])
}

/// Reads from the program's memory.
pub(super) fn get<const N: usize>(at: u64) -> Result<[u8; N], Errno> {
    let memory = current().memory().ok_or(Errno::EFAULT)?;
    let mut bytes = [0; N];
    memory.lock().read(at, &mut bytes)?;
    Ok(bytes)
}

fn pointer_at(at: u64, index: u64) -> Result<u64, Errno> {
    let [pointer] =
        get_numbers(at.checked_add(WORD_BYTES * index).ok_or(Errno::EFAULT)?, abi::WORD)?;
    Ok(pointer)
}

/// Strings of execve, one behind the other, each with its NUL.
#[derive(Debug, Default)]
pub(super) struct Strings(Vec<u8>);

impl Strings {
    /// All of them in one piece.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// One after the other.
    pub(super) fn list(&self) -> Result<Vec<&[u8]>, Errno> {
        let with_ends = self.0.split_inclusive(|&byte| byte == 0);
        Ok(fallible::collect(with_ends.map(|with_end| &with_end[..with_end.len() - 1]))?)
    }

    /// Adds the string at an address, of at most `most` bytes with its NUL. Returns how many it has.
    fn add(&mut self, mut at: u64, most: usize) -> Result<usize, Errno> {
        let memory = current().memory().ok_or(Errno::EFAULT)?;
        let mut memory = memory.lock();
        let start = self.0.len();
        loop {
            let old = self.0.len();
            // Up to the end of the page: the next one may not be there.
            let piece = (4096 - at % 4096) as usize;
            self.0.try_reserve(piece).map_err(|_| Errno::ENOMEM)?;
            self.0.resize(old + piece, 0);
            memory.read(at, &mut self.0[old..])?;
            let end = self.0[old..].iter().position(|&byte| byte == 0);
            if let Some(end) = end {
                self.0.truncate(old + end + 1);
            }
            let length = self.0.len() - start;
            if length > most {
                return Err(Errno::E2BIG);
            }
            if end.is_some() {
                return Ok(length);
            }
            at += piece as u64;
        }
    }
}

/// The strings of a list that ends with a null pointer. `left`: bytes that they and their pointers may have.
fn strings(at: u64, left: &mut usize) -> Result<Strings, Errno> {
    let mut strings = Strings::default();
    if at == 0 {
        return Ok(strings);
    }
    // As many as there are bytes for.
    for i in 0.. {
        let pointer = pointer_at(at, i)?;
        if pointer == 0 {
            break;
        }
        *left = left.checked_sub(WORD_BYTES as usize).ok_or(Errno::E2BIG)?;
        let most = (*left).min(crate::exec_image::MAX_STRING);
        *left -= strings.add(pointer, most)?;
    }
    Ok(strings)
}

fn execve(regs: &mut SavedRegs, at: u64, argv: u64, envp: u64) -> SysResult {
    // What does not fit on the new stack is refused before it is copied.
    let mut left = crate::exec_image::string_limit(super::memory::STACK_LIMIT);
    let path = path(at)?;
    let argv = strings(argv, &mut left)?;
    let envp = strings(envp, &mut left)?;
    life::execve(regs, &path, argv, envp)
}
