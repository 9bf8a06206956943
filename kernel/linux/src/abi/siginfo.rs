//! `siginfo_t`, as a program sees it.

use super::WORD;
use super::signals::{FIRST_FIELD, Fields, INFO_BYTES, Info, READ_BYTES, code};
use super::stack_image::WordSize;

impl Info {
    /// `siginfo_t`: signal 0, errno 4, code 8, then, aligned to a word, the fields
    /// (include/uapi/asm-generic/siginfo.h).
    pub fn encode(&self) -> [u8; INFO_BYTES] {
        let mut bytes = [0; INFO_BYTES];
        let mut out = Writer { bytes: &mut bytes, at: 0 };
        out.word32(self.signal.number().into());
        if let Fields::Raw { errno, first, rest } = &self.fields {
            out.word32(*errno);
            out.word32(self.code as u32);
            bytes[12..].copy_from_slice(&rest[..]);
            for (to, number) in bytes[FIRST_FIELD..].chunks_exact_mut(4).zip(first) {
                to.copy_from_slice(&number.to_le_bytes());
            }
            return bytes;
        }
        out.word32(match self.fields {
            Fields::Call { reason, .. } => reason,
            _ => 0,
        });
        out.word32(self.code as u32);
        out.align();
        match self.fields {
            Fields::Sender { process, user } => {
                out.word32(process);
                out.word32(user);
            }
            Fields::Value { process, user, value } => {
                out.word32(process);
                out.word32(user);
                out.word(value);
            }
            Fields::Timer { timer, overruns, value, .. } => {
                out.word32(timer as u32);
                out.word32(overruns as u32);
                out.word(value);
            }
            Fields::Child { process, user, status, user_time, system_time } => {
                out.word32(process);
                out.word32(user);
                out.word32(status as u32);
                out.align();
                out.word(user_time);
                out.word(system_time);
            }
            Fields::Fault { address } => out.word(address),
            Fields::Poll { band, descriptor } => {
                out.word(band as u64);
                out.word32(descriptor as u32);
            }
            Fields::Call { address, number, machine, .. } => {
                out.word(address);
                out.word32(number as u32);
                out.word32(machine);
            }
            Fields::Raw { .. } => {}
        }
        bytes
    }
}

/// Writes one number after the other.
struct Writer<'b> {
    bytes: &'b mut [u8; INFO_BYTES],
    at: usize,
}

impl Writer<'_> {
    fn word32(&mut self, value: u32) {
        self.bytes[self.at..self.at + 4].copy_from_slice(&value.to_le_bytes());
        self.at += 4;
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(WORD.bytes());
    }

    fn word(&mut self, value: u64) {
        self.align();
        match WORD {
            WordSize::Four => self.word32(value as u32),
            WordSize::Eight => {
                self.bytes[self.at..self.at + 8].copy_from_slice(&value.to_le_bytes());
                self.at += 8;
            }
        }
    }
}

impl Info {
    /// `struct signalfd_siginfo`, as a file of signals is read (include/uapi/linux/signalfd.h): the
    /// same on every machine.
    pub fn for_reader(&self) -> [u8; READ_BYTES] {
        const PROCESS: usize = 12;
        const USER: usize = 16;
        const DESCRIPTOR: usize = 20;
        const TIMER: usize = 24;
        const BAND: usize = 28;
        const OVERRUNS: usize = 32;
        const STATUS: usize = 40;
        const SHORT_VALUE: usize = 44;
        const VALUE: usize = 48;
        const USER_TIME: usize = 56;
        const SYSTEM_TIME: usize = 64;
        const ADDRESS: usize = 72;
        const CALL: usize = 84;
        const CALL_ADDRESS: usize = 88;
        const MACHINE: usize = 96;
        let mut bytes = [0; READ_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &u32::from(self.signal.number()).to_le_bytes());
        put(8, &self.code.to_le_bytes());
        match self.fields {
            Fields::Sender { process, user } => {
                put(PROCESS, &process.to_le_bytes());
                put(USER, &user.to_le_bytes());
            }
            Fields::Value { process, user, value } => {
                put(PROCESS, &process.to_le_bytes());
                put(USER, &user.to_le_bytes());
                put(SHORT_VALUE, &(value as u32).to_le_bytes());
                put(VALUE, &value.to_le_bytes());
            }
            Fields::Timer { timer, overruns, value, .. } => {
                put(TIMER, &timer.to_le_bytes());
                put(OVERRUNS, &overruns.to_le_bytes());
                put(SHORT_VALUE, &(value as u32).to_le_bytes());
                put(VALUE, &value.to_le_bytes());
            }
            Fields::Child { process, user, status, user_time, system_time } => {
                put(PROCESS, &process.to_le_bytes());
                put(USER, &user.to_le_bytes());
                put(STATUS, &status.to_le_bytes());
                put(USER_TIME, &user_time.to_le_bytes());
                put(SYSTEM_TIME, &system_time.to_le_bytes());
            }
            Fields::Fault { address } => put(ADDRESS, &address.to_le_bytes()),
            Fields::Poll { band, descriptor } => {
                put(BAND, &(band as u32).to_le_bytes());
                put(DESCRIPTOR, &descriptor.to_le_bytes());
            }
            Fields::Call { address, number, machine, reason } => {
                put(4, &reason.to_le_bytes());
                put(CALL_ADDRESS, &address.to_le_bytes());
                put(CALL, &number.to_le_bytes());
                put(MACHINE, &machine.to_le_bytes());
            }
            Fields::Raw { errno, first, ref rest } => {
                // As a `siginfo_t` has them: two numbers and a value, which a plain kill(2) has
                // not.
                let fields = &rest[FIRST_FIELD - 12..];
                put(4, &errno.to_le_bytes());
                if self.code == code::TIMER {
                    put(TIMER, &fields[..4]);
                    put(OVERRUNS, &fields[4..8]);
                } else {
                    put(PROCESS, &first[0].to_le_bytes());
                    put(USER, &first[1].to_le_bytes());
                }
                if self.code < 0 {
                    put(SHORT_VALUE, &fields[8..12]);
                    put(VALUE, &fields[8..8 + WORD.bytes()]);
                }
            }
        }
        bytes
    }
}
