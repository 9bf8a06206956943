//! ioctl: the requests of a terminal, the only device that has some.

use super::at::file;
use crate::error::{Errno, SysResult};
use crate::files::console::Console;
use crate::files::object::Caller;
use crate::process::current;
use crate::process::user_memory::put;

pub(crate) fn ioctl(number: u64, request: u64, at: u64) -> SysResult {
    const TCGETS: u64 = 0x5401;
    const TCSETS: core::ops::RangeInclusive<u64> = 0x5402..=0x5404;
    const TIOCGPGRP: u64 = 0x540f;
    const TIOCSPGRP: u64 = 0x5410;
    const TIOCGWINSZ: u64 = 0x5413;
    let file = file(number)?;
    let object = file.object().ok_or(Errno::ENOTTY)?;
    if object.of_kind::<Console>().is_none() {
        return object.ioctl(request as u32, at, &UserMemory);
    }
    match request {
        TCGETS => {
            // struct termios: flags for input, output, control, local; line; 19 control characters.
            let mut bytes = [0; 36];
            for (offset, value) in [(0, 0x500_u32), (4, 5), (8, 0xbf), (12, 0x8a3b)] {
                bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            }
            put(at, &bytes)?;
            Ok(0)
        }
        TIOCGPGRP => put(at, &(current().id as u32).to_le_bytes()).map(|()| 0),
        TIOCGWINSZ => put(at, &[24, 0, 80, 0, 0, 0, 0, 0]).map(|()| 0),
        TIOCSPGRP => Ok(0),
        request if TCSETS.contains(&request) => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// The memory of the caller.
struct UserMemory;

impl Caller for UserMemory {
    fn get(&self, at: u64, to: &mut [u8]) -> Result<(), Errno> {
        let memory = current().memory().ok_or(Errno::EFAULT)?;
        let read = memory.lock().read(at, to);
        Ok(read?)
    }

    fn put(&self, at: u64, from: &[u8]) -> Result<(), Errno> {
        put(at, from)
    }
}
