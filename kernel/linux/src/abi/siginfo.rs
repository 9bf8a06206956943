//! `siginfo_t`, as a program sees it.

use super::WORD;
use super::signals::{Fields, INFO_BYTES, Info};
use super::stack_image::WordSize;

impl Info {
    /// `siginfo_t`: signal 0, errno 4, code 8, then, aligned to a word, the fields (include/uapi/asm-generic/siginfo.h).
    pub fn encode(&self) -> [u8; INFO_BYTES] {
        let mut bytes = [0; INFO_BYTES];
        let mut out = Writer { bytes: &mut bytes, at: 0 };
        out.word32(self.signal.number().into());
        out.word32(0);
        out.word32(self.code as u32);
        if let Fields::Raw(rest) = &self.fields {
            bytes[12..].copy_from_slice(rest);
            return bytes;
        }
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
            Fields::Timer { timer, overruns, value } => {
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
            Fields::Call { address, number, machine } => {
                out.word(address);
                out.word32(number as u32);
                out.word32(machine);
            }
            Fields::Raw(_) => {}
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
