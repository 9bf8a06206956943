//! System calls: the way in, and which call is which.

use crate::abi::stack_image::WordSize;
use crate::abi::{self, Call};
use crate::calls::files::HERE;
use crate::calls::{files, identity, memory, process, signals, system, time, tls};
use crate::error::{Errno, SysResult};
use crate::process::user_memory::{get, write_zeros};
use crate::process::{current, exit, futex};
use core::sync::atomic::{AtomicU64, Ordering};
use machine::arch::regs::SavedRegs;
use threads::sched;

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
    let arguments = abi::arguments(regs, get);
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
        Call::Fork => process::fork(regs),
        Call::Vfork => process::vfork(regs),
        Call::Clone => process::clone(regs, arguments),
        Call::Execve => process::execve(regs, a, b, c),
        Call::Exit => exit::exit_thread((a as i32 & 0xff) << 8),
        Call::ExitGroup => exit::exit_group(a as i32),
        Call::Wait4 => process::wait4(i64::from(a as i32), b, c),
        Call::Kill => signals::kill(i64::from(a as i32), u64::from(b as u32)),
        Call::Tkill => signals::tkill(None, a as i32, u64::from(b as u32)),
        Call::Tgkill => signals::tkill(Some(a as i32), b as i32, u64::from(c as u32)),
        Call::Getpid => Ok(current().id),
        Call::Getpgrp => identity::getpgid(0),
        Call::Getpgid => identity::getpgid(a),
        Call::Getsid => identity::getsid(a),
        Call::Gettid => Ok(process::thread_number()),
        Call::Getppid => Ok(current().parent.load(Ordering::Relaxed)),
        Call::Getuid | Call::Getgid | Call::Geteuid | Call::Getegid | Call::Getgroups => Ok(0),
        Call::Setuid | Call::Setgid | Call::Setreuid | Call::Setgroups | Call::Setpriority => Ok(0),
        Call::Setpgid => identity::setpgid(a, b),
        Call::Setsid => identity::setsid(),
        Call::Getpriority => Ok(20),
        Call::Umask => Ok(0o022),
        Call::RtSigaction => signals::sigaction(u64::from(a as u32), b, c),
        Call::RtSigprocmask => signals::sigprocmask(c, d),
        Call::RtSigpending => write_zeros(a, b),
        Call::Sigaltstack => Ok(0),
        Call::Pause | Call::RtSigsuspend => signals::pause(),
        Call::SchedYield => {
            sched::yield_now();
            Ok(0)
        }
        Call::Nanosleep => time::nanosleep(a),
        Call::ClockGettime64 => time::clock_gettime(b, abi::encode_long_pair),
        Call::ClockGetres64 => time::clock_getres(b, abi::encode_long_pair),
        Call::ClockNanosleep64 => time::clock_nanosleep(b, c, WordSize::Eight),
        Call::Futex64 => futex::futex(a, b, c, d, WordSize::Eight),
        Call::SetTls => tls::set_tls(a),
        // A page is made visible to instruction fetches when it becomes executable, and programs here do not write code into
        // executable pages.
        Call::CacheFlush => Ok(0),
        Call::SetThreadArea => tls::set_thread_area(a),
        Call::ClockNanosleep => time::clock_nanosleep(b, c, abi::WORD),
        Call::ClockGettime => time::clock_gettime(b, abi::encode_pair),
        Call::ClockGetres => time::clock_getres(b, abi::encode_pair),
        Call::Gettimeofday => time::gettimeofday(a),
        Call::Time => time::time(a),
        Call::Times => time::times(a),
        Call::Getrusage => write_zeros(b, abi::RUSAGE_BYTES),
        Call::Sysinfo => system::sysinfo(a),
        Call::Uname => system::uname(a),
        Call::Getrandom => system::getrandom(a, b),
        Call::Prlimit64 => system::prlimit(b, d, abi::encode_long_pair),
        Call::Getrlimit => system::prlimit(a, b, abi::encode_pair),
        Call::ArchPrctl => tls::arch_prctl(a, b),
        Call::SetTidAddress => process::set_tid_address(a),
        Call::SetRobustList | Call::Prctl => Ok(0),
        // Every start of a program asks for it, and does without.
        Call::Rseq => Err(Errno::ENOSYS),
        Call::Futex => futex::futex(a, b, c, d, abi::WORD),
        Call::SchedGetaffinity => system::affinity(b, c),
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
