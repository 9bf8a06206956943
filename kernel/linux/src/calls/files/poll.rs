//! Waiting for files.

use crate::error::{Errno, SysResult};
use crate::files::open::{self as files, Target};
use crate::process::current;
use crate::process::user_memory::{get, put};
use threads::{terminal, time};

/// Everything but an empty pipe is ready at once.
pub(crate) fn poll(at: u64, count: u64, timeout: i32) -> SysResult {
    const IN: u16 = 1;
    const OUT: u16 = 4;
    const INVALID: u16 = 0x20;
    if count > files::MOST_FILES as u64 {
        return Err(Errno::EINVAL);
    }
    let deadline = match timeout {
        ..0 => u64::MAX,
        timeout => time::nanoseconds() + timeout as u64 * 1_000_000,
    };
    loop {
        let mut ready = 0;
        for i in 0..count {
            let place = at.checked_add(8 * i).ok_or(Errno::EFAULT)?;
            let entry: [u8; 8] = get(place)?;
            let number = i32::from_le_bytes(entry[..4].try_into().unwrap_or_default());
            let wanted = u16::from_le_bytes([entry[4], entry[5]]);
            let found = if number < 0 {
                0
            } else {
                // Without the lock: the last user of a file may be this look at it.
                let file = current().files().lock().get(number as u64);
                match file.map(|descriptor| descriptor.file) {
                    Ok(file) => match &file.target {
                        Target::PipeReader(pipe) if !pipe.is_readable() => 0,
                        Target::Console => {
                            wanted & (OUT | if terminal::has_input() { IN } else { 0 })
                        }
                        _ => wanted & (IN | OUT),
                    },
                    Err(_) => INVALID,
                }
            };
            put(place + 6, &found.to_le_bytes())?;
            ready += u64::from(found != 0);
        }
        if ready > 0 || time::nanoseconds() >= deadline {
            return Ok(ready);
        }
        time::sleep(1_000_000).map_err(|_| Errno::ERESTARTNOHAND)?;
    }
}
