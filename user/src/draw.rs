//! Arguments for system calls, drawn from a seed: those that a call expects, and now and then what
//! no sound program would pass.

use crate::arch;

/// Numbers drawn from a seed (xorshift).
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The same seed gives the same numbers.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below this one, which is not 0.
    pub fn below(&mut self, top: usize) -> usize {
        ((self.any() >> 33) % top as u64) as usize
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }
}

/// Where the fuzzer lets memory be mapped, unmapped and protected.
pub const ARENA: usize = 0x2000_0000;
/// Its bytes.
pub const ARENA_BYTES: usize = 32 << 20;
const PAGE: usize = 4096;
/// The highest number of a descriptor that is drawn as one.
const FILES: usize = 12;
/// Bytes of the buffer that calls read and write.
const BUFFER_BYTES: usize = 16 << 10;

/// Paths to files that are there and stay.
const FIXED_PATHS: [&core::ffi::CStr; 20] = [
    c"/proc/self/maps",
    c"/proc/self/status",
    c"/proc/self/stack",
    c"/proc/self/cmdline",
    c"/proc/meminfo",
    c"/proc/kstack/stacks",
    c"/proc",
    c"/proc/self",
    c"/dev/zero",
    c"/dev/null",
    c"/",
    c"/bin/busybox",
    c"/proc/self/ns/mnt",
    c"/proc/self/ns/pid",
    c"/proc/self/ns/pid_for_children",
    c"/proc/self/ns/time_for_children",
    c"/proc/self/ns/user",
    c"/proc/self/uid_map",
    c"/proc/self/setgroups",
    c"/proc/self/timens_offsets",
];
/// Paths to what is made, renamed and removed: below the current directory, which is the worker's
/// own, and one that all share.
const OWN_PATHS: [&core::ffi::CStr; 14] = [
    c"a",
    c"b",
    c"c",
    c"a/a",
    c"a/b",
    c"b/a",
    c"b/c",
    c"a/a/a",
    c"c/./c",
    c"d",
    c"/tmp/fuzz/all",
    c"/tmp/fuzz/all/a",
    c"/tmp/fuzz/all/b",
    c"",
];

/// What arguments point to.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Places {
    buffer: [u8; BUFFER_BYTES],
    vector: [[usize; 2]; 8],
    time: [u64; 4],
    polled: [u64; 8],
    strings: [usize; 6],
    long_name: [u8; 400],
    /// Words to sleep on.
    pub words: [u32; 4],
}

impl Places {
    /// Empty ones.
    pub const fn new() -> Self {
        Self {
            buffer: [0; BUFFER_BYTES],
            vector: [[0; 2]; 8],
            time: [0; 4],
            polled: [0; 8],
            strings: [0; 6],
            long_name: [b'n'; 400],
            words: [0; 4],
        }
    }
}

impl Default for Places {
    fn default() -> Self {
        Self::new()
    }
}

/// What a call expects, a letter for each argument; the fuzzer knows what the letters mean. A call
/// that is not here gets anything.
const SHAPES: &[(&str, &str)] = &[
    ("read", "fbl"),
    ("write", "fbl"),
    ("open", "pom"),
    ("close", "f"),
    ("stat", "pb"),
    ("fstat", "fb"),
    ("lstat", "pb"),
    ("poll", "Dcn"),
    ("lseek", "fOe"),
    ("mmap", "azPMfz"),
    ("mprotect", "azP"),
    ("munmap", "az"),
    ("brk", "B"),
    ("rt_sigaction", "sbbn"),
    ("rt_sigprocmask", "nbbn"),
    ("ioctl", "frb"),
    ("pread64", "fblO"),
    ("readv", "fic"),
    ("writev", "fic"),
    ("access", "pn"),
    ("pipe", "b"),
    ("sched_yield", ""),
    ("mremap", "azzn"),
    ("madvise", "azn"),
    ("dup", "f"),
    ("dup2", "ff"),
    ("pause", ""),
    ("nanosleep", "tb"),
    ("getpid", ""),
    ("sendfile", "ff0l"),
    ("clone", "gxbbx"),
    ("fork", ""),
    ("vfork", ""),
    ("execve", "Evv"),
    ("exit", "n"),
    ("wait4", "kbwb"),
    ("kill", "ks"),
    ("uname", "b"),
    ("fcntl", "fCn"),
    ("fsync", "f"),
    ("ftruncate", "fO"),
    ("getcwd", "bl"),
    ("chdir", "W"),
    ("rename", "WW"),
    ("mkdir", "Wm"),
    ("rmdir", "W"),
    ("creat", "Wm"),
    ("unlink", "W"),
    ("symlink", "WW"),
    ("readlink", "pbl"),
    ("chmod", "Wm"),
    ("fchmod", "fm"),
    ("chown", "Wnn"),
    ("fchown", "fnn"),
    ("lchown", "Wnn"),
    ("umask", "m"),
    ("gettimeofday", "bb"),
    ("getrlimit", "nb"),
    ("getrusage", "nb"),
    ("sysinfo", "b"),
    ("times", "b"),
    ("setpgid", "kk"),
    ("getpgid", "k"),
    ("getsid", "k"),
    ("rt_sigpending", "bn"),
    ("rt_sigsuspend", "bn"),
    ("sigaltstack", "bb"),
    ("statfs", "pb"),
    ("getpriority", "nn"),
    ("prctl", "nxxxx"),
    ("arch_prctl", "Hx"),
    ("tkill", "ks"),
    ("time", "b"),
    ("ptrace", "nkab"),
    ("semget", "nnm"),
    ("semop", "nbn"),
    ("semctl", "nncb"),
    ("semtimedop", "nbnt"),
    ("msgget", "nm"),
    ("msgsnd", "nbln"),
    ("msgrcv", "nblnn"),
    ("msgctl", "ncb"),
    ("shmget", "nzm"),
    ("shmat", "nan"),
    ("shmdt", "a"),
    ("shmctl", "ncb"),
    ("ipc", "cnnnbn"),
    ("futex", "uqnt"),
    ("sched_getaffinity", "klb"),
    ("getdents64", "fbl"),
    ("set_tid_address", "b"),
    ("clock_gettime", "nb"),
    ("clock_getres", "nb"),
    ("clock_nanosleep", "nntb"),
    ("exit_group", "n"),
    ("tgkill", "kks"),
    ("openat", "dpom"),
    ("mkdirat", "dWm"),
    ("newfstatat", "dpbn"),
    ("unlinkat", "dWR"),
    ("renameat", "dWdW"),
    ("symlinkat", "WdW"),
    ("readlinkat", "dpbl"),
    ("fchmodat", "dWm"),
    ("faccessat", "dpn"),
    ("ppoll", "Dctb"),
    ("set_robust_list", "bn"),
    ("rseq", "bnnn"),
    ("utimensat", "dWbn"),
    ("dup3", "ffo"),
    ("pipe2", "bo"),
    ("prlimit64", "knbb"),
    ("getrandom", "bln"),
    ("faccessat2", "dpnn"),
    ("statx", "dpnnb"),
    ("_llseek", "fnnbe"),
    ("clock_gettime64", "nb"),
    ("clock_getres_time64", "nb"),
    ("clock_nanosleep_time64", "nnTb"),
    ("futex_time64", "uqnT"),
    ("set_thread_area", "b"),
    ("cacheflush", "aan"),
    ("setns", "fN"),
    ("unshare", "N"),
    ("mmap2", "azPMfn"),
    ("stat64", "pb"),
    ("lstat64", "pb"),
    ("fstat64", "fb"),
    ("ftruncate64", "fO0"),
    ("truncate", "WO"),
    ("pwrite64", "fblO"),
    ("preadv", "ficO"),
    ("pwritev", "ficO"),
    ("preadv2", "ficO0n"),
    ("pwritev2", "ficO0n"),
    ("epoll_create1", "n"),
    ("epoll_ctl", "fnfb"),
    ("epoll_wait", "fbnn"),
    ("eventfd2", "nn"),
    ("timerfd_create", "nn"),
    ("timerfd_settime", "fnbb"),
    ("timerfd_gettime", "fb"),
    ("timer_create", "nbb"),
    ("timer_settime", "nnbb"),
    ("timer_gettime", "nb"),
    ("timer_delete", "n"),
    ("signalfd4", "fb8n"),
    ("rt_sigtimedwait", "bbt8"),
    ("waitid", "nkbwb"),
    ("pidfd_open", "kn"),
    ("memfd_create", "pn"),
    ("fallocate", "fnOO"),
    ("link", "pW"),
    ("linkat", "dpdWn"),
    ("select", "cbbbt"),
    ("pselect6", "cbbbtb"),
    ("socketpair", "1n0b"),
    ("sendmsg", "fbn"),
    ("recvmsg", "fbn"),
    ("sendto", "fblnbl"),
    ("recvfrom", "fblnbb"),
    ("flock", "fn"),
    ("execveat", "dEvvn"),
    ("mincore", "azb"),
    ("mlock", "az"),
    ("munlock", "az"),
    ("msync", "azn"),
    ("membarrier", "nn0"),
    ("sched_getparam", "kb"),
    ("getxattr", "ppbl"),
    ("setxattr", "Wpbln"),
    ("listxattr", "pbl"),
    ("splice", "fbfbln"),
    ("tee", "ffln"),
    ("vmsplice", "ficn"),
    ("copy_file_range", "fbfbl0"),
    ("ioperm", "nnn"),
    ("modify_ldt", "nbl"),
    ("kcmp", "kknff"),
    ("getitimer", "nb"),
    ("getsockopt", "fnnbb"),
    ("get_robust_list", "kbb"),
    ("sched_getattr", "kbl0"),
    ("openat2", "dphS"),
    ("cachestat", "fbbn"),
    ("adjtimex", "b"),
    ("clock_adjtime", "nb"),
    ("mknodat", "dWmx"),
    ("mq_open", "Wnmb"),
];

/// What a call expects.
pub fn shape(name: &[u8]) -> &'static str {
    SHAPES.iter().find(|(known, _)| known.as_bytes() == name).map_or("xxxxxx", |(_, shape)| shape)
}

/// Draws arguments.
#[derive(Debug)]
pub struct Arguments<'p> {
    /// Where the numbers come from.
    pub draw: Draw,
    /// What they point to.
    pub places: &'p mut Places,
    /// Numbers of processes that there are, or were.
    pub processes: [usize; 8],
}

impl Arguments<'_> {
    /// What no sound program passes.
    pub fn evil(&mut self) -> usize {
        match self.draw.below(8) {
            0 => self
                .draw
                .of(&[0, 1, 2, 3, 7, 8, 63, 64, 65, 255, 256, 1023, 1024, 4095, 4096, 4097]),
            1 => usize::MAX - self.draw.below(9000),
            2 => self.draw.of(&arch::BAD_ADDRESSES),
            3 => 1_usize.rotate_right(self.draw.below(8) as u32 + 1),
            4 => 0x7fff_f000 + self.draw.below(8192),
            5 => self.draw.any() as u32 as usize,
            6 => (self.draw.any() as i32) as isize as usize,
            _ => self.draw.any() as usize,
        }
    }

    /// Six arguments of this shape.
    pub fn of_shape(&mut self, shape: &str) -> [usize; 6] {
        let mut arguments = [0; 6];
        let mut letters = shape.bytes();
        for argument in &mut arguments {
            let letter = letters.next().unwrap_or(b'0');
            *argument = if self.draw.once_in(12) { self.evil() } else { self.of_kind(letter) };
        }
        arguments
    }

    fn buffer(&mut self) -> usize {
        match self.draw.below(8) {
            0 => ARENA + self.draw.below(ARENA_BYTES),
            _ => self.places.buffer.as_ptr().addr() + self.draw.below(BUFFER_BYTES / 2),
        }
    }

    fn length(&mut self) -> usize {
        let top = self.draw.of(&[2, 16, 64, 600, 4096, BUFFER_BYTES / 2]);
        self.draw.below(top)
    }

    fn page(&mut self) -> usize {
        ARENA + self.draw.below(ARENA_BYTES / PAGE) * PAGE
    }

    fn own_path(&mut self) -> usize {
        match self.draw.below(40) {
            0 => self.places.long_name.as_ptr().addr(),
            _ => self.draw.of(&OWN_PATHS).as_ptr().addr(),
        }
    }

    /// An argument of one kind.
    fn of_kind(&mut self, letter: u8) -> usize {
        match letter {
            b'0' => 0,
            b'1' => 1,
            // What openat2 is asked, and its bytes.
            b'h' => {
                let [flags, mode] = [b'o', b'm'].map(|letter| self.of_kind(letter) as u64);
                let resolve = self.draw.below(0x48) as u64;
                self.places.time = [flags, if flags & 0o100 == 0 { 0 } else { mode }, resolve, 0];
                self.places.time.as_ptr().addr()
            }
            b'S' => 24,
            // Bytes of a set of signals.
            b'8' => 8,
            b'f' => self.draw.below(FILES),
            b'd' if self.draw.once_in(4) => self.draw.below(FILES),
            b'd' => crate::calls::HERE,
            b'p' if self.draw.once_in(2) => self.draw.of(&FIXED_PATHS).as_ptr().addr(),
            b'p' | b'W' => self.own_path(),
            b'E' => self.draw.of(&[c"/bin/busybox", c"/kstack/bin/family", c"a"]).as_ptr().addr(),
            b'v' => {
                let name = c"true".as_ptr().addr();
                let second = if self.draw.once_in(4) { self.evil() } else { 0 };
                self.places.strings = [name, second, 0, 0, 0, 0];
                self.places.strings.as_ptr().addr()
            }
            b'b' => self.buffer(),
            b'l' => self.length(),
            b'n' => self.draw.below(5),
            b'c' => self.draw.below(9),
            b'm' => 0o777,
            b'o' => {
                // Access, CREAT, EXCL, TRUNC, APPEND, CLOEXEC, DIRECTORY, NOFOLLOW
                let extra =
                    [0, 0, 0o100, 0o100, 0o300, 0o1000, 0o2000, 0o200_0000, 0o20_0000, 0o40_0000];
                self.draw.below(3) | self.draw.of(&extra) | self.draw.of(&extra)
            }
            b'e' => self.draw.below(4),
            b'O' => self.draw.of(&[0, 1, 511, 512, 4096, 70_000]),
            b'a' => self.page(),
            // All that there may be of an address space, now and then.
            b'z' if self.draw.once_in(40) => usize::MAX >> 17 & !(PAGE - 1),
            b'z' => self.draw.of(&[1, 1, 1, 2, 4, 16, 256, 4096]) * PAGE,
            b'P' => self.draw.below(8),
            // Private and anonymous mostly; fixed sometimes, or where nothing is.
            b'M' => self.draw.of(&[0x22, 0x22, 0x32, 0x32, 0x32, 0x2, 0x12, 0x10_0022, 0x4022]),
            b'B' if self.draw.once_in(3) => 0,
            b'B' => self.brk_near() + self.draw.below(64) * PAGE,
            b's' => self.draw.below(66),
            b'k' if self.draw.once_in(8) => 0,
            b'k' => self.draw.of(&self.processes.clone()),
            // One namespace or two: time, mounts, names, messages, users, processes, network; and
            // what else unshare takes.
            b'N' => {
                const KINDS: [usize; 9] = [
                    0x80,
                    0x2_0000,
                    0x400_0000,
                    0x800_0000,
                    0x1000_0000,
                    0x2000_0000,
                    0x4000_0000,
                    0x200,
                    0x400,
                ];
                let second = self.draw.of(&KINDS);
                self.draw.of(&KINDS) | self.draw.of(&[0, 0, second])
            }
            // WNOHANG mostly.
            b'w' => usize::from(!self.draw.once_in(16)),
            b'R' => self.draw.of(&[0, 0x200]),
            b'r' => 0x5400 + self.draw.below(32),
            b'C' => self.draw.of(&[0, 1, 2, 3, 4, 1030, 5]),
            b'H' => self.draw.of(&[0x1001, 0x1002, 0x1003, 0x1004]),
            b'q' => self.draw.of(&[0, 1, 9, 10, 128, 129, 3]),
            b'u' => {
                let word = self.draw.below(self.places.words.len());
                (&raw const self.places.words[word]).addr()
            }
            // Seconds, then nanoseconds: in words of the machine, or in 64 bits.
            b't' | b'T' => {
                let nanoseconds = self.draw.below(3_000_000) as u64;
                let is_wide = letter == b'T' || size_of::<usize>() == 8;
                let [seconds, rest] =
                    if is_wide { [0, nanoseconds] } else { [nanoseconds << 32, 0] };
                self.places.time = [seconds, rest, 0, 0];
                self.places.time.as_ptr().addr()
            }
            b'i' => {
                for i in 0..self.places.vector.len() {
                    let base = if self.draw.once_in(16) { self.evil() } else { self.buffer() };
                    self.places.vector[i] = [base, self.length() % 700];
                }
                self.places.vector.as_ptr().addr()
            }
            b'D' => {
                for i in 0..self.places.polled.len() {
                    self.places.polled[i] = self.draw.below(FILES) as u64 | 5 << 32;
                }
                self.places.polled.as_ptr().addr()
            }
            _ => self.draw.any() as usize,
        }
    }

    /// Where the heap begins, about: behind this program.
    fn brk_near(&self) -> usize {
        (self.places.buffer.as_ptr().addr() + (1 << 20)) & !(PAGE - 1)
    }
}
