//! seccomp, and prctl's older way to it.

use super::table::calls;
use crate::abi::WORD;
use crate::error::{Errno, SysResult};
use crate::exec::random::random_bytes;
use crate::files::open::Descriptor;
use crate::process::current_task;
use crate::process::filters::filter::{Instruction, MOST};
use crate::process::filters::listener::{ANSWER_BYTES, DATA_BYTES, NOTICE_BYTES};
use crate::process::filters::seccomp::{self, Asked, action};
use crate::process::user_memory::{WORD_BYTES, get, get_numbers, put};
use alloc::vec::Vec;
use machine::memory::fallible;

calls! {
    "seccomp" (operation, flags, at) => call(operation as u32, flags as u32, at);
}

fn call(operation: u32, flags: u32, at: u64) -> SysResult {
    const STRICT: u32 = 0;
    const FILTER: u32 = 1;
    const IS_AVAILABLE: u32 = 2;
    const GET_SIZES: u32 = 3;
    match operation {
        STRICT if flags == 0 && at == 0 => seccomp::be_strict(),
        FILTER => add(flags, at),
        IS_AVAILABLE if flags == 0 => {
            let action = u32::from_le_bytes(get(at)?);
            if action::ALL.contains(&action) { Ok(0) } else { Err(Errno::EOPNOTSUPP) }
        }
        GET_SIZES if flags == 0 => {
            let sizes = [NOTICE_BYTES, ANSWER_BYTES, DATA_BYTES];
            let [[a, b], [c, d], [e, f]] = sizes.map(|size| (size as u16).to_le_bytes());
            put(at, &[a, b, c, d, e, f])?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `PR_SET_SECCOMP`.
pub(super) fn set_mode(mode: u64, at: u64) -> SysResult {
    const STRICT: u64 = 1;
    const FILTER: u64 = 2;
    match mode {
        STRICT => seccomp::be_strict(),
        FILTER => add(0, at),
        _ => Err(Errno::EINVAL),
    }
}

fn add(flags: u32, at: u64) -> SysResult {
    const FOR_ALL: u32 = 1;
    /// All answers but "allowed" are logged: the actions that end a program are anyway.
    const LOGGED: u32 = 2;
    /// Without the processor's defence against speculation.
    const SPECULATES: u32 = 4;
    /// Gives out a file by which calls are heard of.
    const LISTENS: u32 = 8;
    const NAMES_NONE: u32 = 0x10;
    /// Once they are, only death cuts them short.
    const PATIENT: u32 = 0x20;
    if flags & !(FOR_ALL | LOGGED | SPECULATES | LISTENS | NAMES_NONE | PATIENT) != 0 {
        return Err(Errno::EINVAL);
    }
    let [for_all, is_logged, listens, names_none, is_patient] =
        [FOR_ALL, LOGGED, LISTENS, NAMES_NONE, PATIENT].map(|flag| flags & flag != 0);
    // The result would be a descriptor or a thread's number.
    if for_all && listens && !names_none || is_patient && !listens {
        return Err(Errno::EINVAL);
    }
    let program = program(at)?;
    if !listens {
        return seccomp::add(program, Asked { for_all, names_none, is_logged, listener: None });
    }
    let [first_id @ .., _, _, _, _, _, _, _, _] = random_bytes();
    let (listener, file) = seccomp::listener(u64::from_le_bytes(first_id), is_patient)?;
    let number = current_task().give(Descriptor { file, close_on_exec: true }, 0)?;
    let asked = Asked { for_all, names_none, is_logged, listener: Some(listener) };
    match seccomp::add(program, asked) {
        Ok(_) => Ok(number),
        Err(error) => {
            let taken = current_task().files().lock().remove(number);
            drop(taken);
            Err(error)
        }
    }
}

/// A `struct sock_fprog`.
fn program(at: u64) -> Result<Vec<Instruction>, Errno> {
    const BYTES: u64 = 8;
    let count = usize::from(u16::from_le_bytes(get(at)?));
    let pointer = at.checked_add(WORD_BYTES).ok_or(Errno::EFAULT)?;
    let [first] = get_numbers(pointer, WORD)?;
    if count == 0 || count > MOST {
        return Err(Errno::EINVAL);
    }
    let mut program = Vec::new();
    for place in 0..count as u64 {
        let at = first.checked_add(place * BYTES).ok_or(Errno::EFAULT)?;
        let [a, b, if_true, if_false, k @ ..]: [u8; BYTES as usize] = get(at)?;
        let code = u16::from_le_bytes([a, b]);
        let one = Instruction { code, if_true, if_false, k: u32::from_le_bytes(k) };
        fallible::push(&mut program, one)?;
    }
    Ok(program)
}
