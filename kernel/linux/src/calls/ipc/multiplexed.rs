//! All of them by one number (ipc(2)): what C libraries ask by on i386, which alone has it.

use super::semaphores::{self, within};
use super::{messages, shared};
use crate::abi;
use crate::calls::table::calls;
use crate::error::{Errno, SysResult};
use crate::process::user_memory::{get_numbers, put_word};

calls! {
    "ipc" (which, first, second, third, pointer, fifth) => one(which, [first, second, third], pointer, fifth);
}

fn one(which: u64, [first, second, third]: [u64; 3], pointer: u64, fifth: u64) -> SysResult {
    // Above the call is which form of it: the first one has pairs in memory.
    let is_first_form = which as u32 >> 16 == 0;
    match which as u16 {
        1 => semaphores::operate(first, pointer, second, Ok(None)),
        2 => semaphores::obtain(first, second, third),
        3 => {
            let [argument] = get_numbers(pointer, abi::WORD)?;
            semaphores::control(first, second, third, argument)
        }
        4 => semaphores::operate(first, pointer, second, within(fifth, abi::WORD)),
        11 => messages::send(first, pointer, second, third),
        12 if is_first_form => {
            let [to, kind] = get_numbers(pointer, abi::WORD)?;
            messages::receive(first, to, second, kind, third)
        }
        12 => messages::receive(first, pointer, second, fifth, third),
        13 => messages::obtain(first, second),
        14 => messages::control(first, second, pointer),
        21 if is_first_form => {
            let at = shared::shmat(first, pointer, second)?;
            put_word(third, at)?;
            Ok(0)
        }
        21 => Err(Errno::EINVAL),
        22 => shared::shmdt(pointer),
        23 => shared::shmget(first, second, third),
        24 => shared::shmctl(first, second, pointer),
        _ => Err(Errno::ENOSYS),
    }
}
