//! A traced process.

use std::{io, mem, ptr};

/// A process that this one traces; it ends when this is dropped.
pub struct Process(libc::pid_t);

/// Why and where it stopped.
pub struct Stop {
    pub signal: i32,
    pub address: usize,
    pub pc: usize,
    pub sp: usize,
    pub fp: usize,
}

impl Process {
    /// Starts one that runs `body`.
    pub fn start(body: fn() -> !) -> Self {
        // SAFETY: there is one thread; the child asks to be traced.
        match unsafe { libc::fork() } {
            -1 => panic!("{}", io::Error::last_os_error()),
            0 => {
                // SAFETY: a plain request.
                let asked = unsafe {
                    libc::ptrace(
                        libc::PTRACE_TRACEME,
                        0,
                        ptr::null_mut::<u8>(),
                        ptr::null_mut::<u8>(),
                    )
                };
                assert_eq!(asked, 0, "{}", io::Error::last_os_error());
                body()
            }
            child => Self(child),
        }
    }

    /// Waits until it stops.
    pub fn wait(&self) -> Stop {
        let mut status = 0;
        // SAFETY: a child of this process; the structures are plain numbers.
        unsafe {
            assert_eq!(libc::waitpid(self.0, &mut status, 0), self.0);
            assert!(libc::WIFSTOPPED(status), "the process ended, with status {status:#x}");
            let mut registers: libc::user_regs_struct = mem::zeroed();
            let mut signal: libc::siginfo_t = mem::zeroed();
            let none = ptr::null_mut::<u8>();
            assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, self.0, none, &raw mut registers), 0);
            assert_eq!(libc::ptrace(libc::PTRACE_GETSIGINFO, self.0, none, &raw mut signal), 0);
            Stop {
                signal: libc::WSTOPSIG(status),
                address: signal.si_addr() as usize,
                pc: registers.rip as usize,
                sp: registers.rsp as usize,
                fp: registers.rbp as usize,
            }
        }
    }

    /// Lets it continue.
    pub fn resume(&self) {
        // SAFETY: a child of this process, stopped.
        let went = unsafe {
            libc::ptrace(libc::PTRACE_CONT, self.0, ptr::null_mut::<u8>(), ptr::null_mut::<u8>())
        };
        assert_eq!(went, 0, "{}", io::Error::last_os_error());
    }

    /// A word of its memory.
    pub fn word(&self, address: usize) -> Option<usize> {
        let mut word = [0_u8; 8];
        let here = libc::iovec { iov_base: word.as_mut_ptr().cast(), iov_len: word.len() };
        let there = libc::iovec { iov_base: address as *mut _, iov_len: word.len() };
        // SAFETY: writes to `word` only.
        let read = unsafe { libc::process_vm_readv(self.0, &here, 1, &there, 1, 0) };
        (read == 8).then_some(usize::from_ne_bytes(word))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: a child of this process.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, ptr::null_mut(), 0);
        }
    }
}
