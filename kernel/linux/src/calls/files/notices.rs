//! Whom files tell of input and room by a signal (fcntl(2): `F_SETOWN`, `F_SETSIG`, `O_ASYNC`), and
//! directories of what happens in them (`F_NOTIFY`).

use crate::error::{Errno, SysResult};
use crate::files::directory_notices::{self, what};
use crate::files::notices::{Addressee, Whom};
use crate::files::open::{OpenFile, Target};
use crate::process::names::numbers;
use crate::process::table::{self, Which};
use crate::process::user_memory::{get, put};
use crate::process::{current, current_task};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// The kinds of `struct f_owner_ex`.
const THREAD: u32 = 0;
const PROCESS: u32 = 1;
const GROUP: u32 = 2;

/// `F_SETOWN`: a process, or minus a group; 0: none.
pub(super) fn set_owner(file: &OpenFile, to: i32) -> SysResult {
    match to {
        i32::MIN => Err(Errno::EINVAL),
        0.. => name(file, PROCESS, to as u32),
        _ => name(file, GROUP, to.unsigned_abs()),
    }
}

/// `F_SETOWN_EX`: the same, with the kind.
pub(super) fn set_owner_of_kind(file: &OpenFile, at: u64) -> SysResult {
    let [kind, number] =
        [get::<4>(at)?, get::<4>(at.checked_add(4).ok_or(Errno::EFAULT)?)?].map(u32::from_le_bytes);
    if kind > GROUP {
        return Err(Errno::EINVAL);
    }
    name(file, kind, number)
}

fn name(file: &OpenFile, kind: u32, number: u32) -> SysResult {
    let said = number != 0;
    let number = numbers::meant(number.into());
    let is_there = match kind {
        THREAD => table::find_thread(None, number).is_some(),
        PROCESS => table::find(number).is_some(),
        _ => table::for_each(Which::Group(number), |_| {}) > 0,
    };
    if said && !is_there {
        return Err(Errno::ESRCH);
    }
    let whom = match kind {
        _ if !said => Whom::None,
        THREAD => Whom::Thread(number),
        PROCESS => Whom::Process(number),
        _ => Whom::Group(number),
    };
    let user = current_task().credentials().user;
    let users = [user.real, user.effective];
    file.set_addressee(|before| Addressee { whom, users, ..before });
    Ok(0)
}

/// `F_GETOWN`.
pub(super) fn get_owner(file: &OpenFile) -> SysResult {
    Ok(match file.addressee().whom {
        Whom::None => 0,
        Whom::Thread(number) | Whom::Process(number) => numbers::told(number),
        Whom::Group(number) => numbers::told(number).wrapping_neg(),
    })
}

/// `F_GETOWN_EX`.
pub(super) fn get_owner_of_kind(file: &OpenFile, at: u64) -> SysResult {
    let (kind, number) = match file.addressee().whom {
        Whom::None => (PROCESS, 0),
        Whom::Thread(number) => (THREAD, number),
        Whom::Process(number) => (PROCESS, number),
        Whom::Group(number) => (GROUP, number),
    };
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[4..].copy_from_slice(&(numbers::told(number) as u32).to_le_bytes());
    put(at, &bytes)?;
    Ok(0)
}

/// `F_SETSIG`.
pub(super) fn set_signal(file: &OpenFile, signal: u64) -> SysResult {
    if signal > 64 {
        return Err(Errno::EINVAL);
    }
    file.set_addressee(|before| Addressee { signal: signal as u32, ..before });
    Ok(0)
}

/// Turns `O_ASYNC` on or off. A terminal that tells no one yet tells the group in its foreground.
pub(super) fn set_async(file: &OpenFile, descriptor: u64, is_on: bool) -> Result<(), Errno> {
    if is_on
        && file.addressee().whom == Whom::None
        && let Some(foreground) = file.object().and_then(|object| object.foreground())
    {
        let whom = match foreground {
            0 => Whom::Process(current().id),
            group => Whom::Group(group),
        };
        let user = current_task().credentials().user;
        let users = [user.real, user.effective];
        file.set_addressee(|before| Addressee { whom, users, ..before });
    }
    file.set_async(descriptor as i32, is_on)
}

/// `F_NOTIFY`: a directory tells of what happens in it; of nothing: no more. One that tells no one
/// yet tells the caller's process.
pub(super) fn ask_directory(file: &Arc<OpenFile>, number: u64, asked: u32) -> SysResult {
    if directory_notices::IS_ALLOWED.load(Ordering::Relaxed) == 0 {
        return Err(Errno::EINVAL);
    }
    let table = current_task().files();
    let key = (file.address(), table.lock().id());
    if asked & !what::MULTISHOT == 0 {
        directory_notices::forget(key);
        return Ok(0);
    }
    let node = match &file.target {
        Target::Node(node, _) if node.is_directory() => Some(&**node),
        // Nothing happens in what is made when it is read.
        Target::Made(made) if made.is_directory() => None,
        _ => return Err(Errno::ENOTDIR),
    };
    if file.addressee().whom == Whom::None {
        let user = current_task().credentials().user;
        let users = [user.real, user.effective];
        let whom = Whom::Process(current().id);
        file.set_addressee(|before| Addressee { whom, users, ..before });
    }
    directory_notices::ask(key, node, asked, number as i32, file.addressee())?;
    // Another thread may have closed the descriptor meanwhile, and looked for nothing to end.
    let is_there = table.lock().get(number).is_ok_and(|now| Arc::ptr_eq(&now.file, file));
    if !is_there {
        directory_notices::forget(key);
    }
    Ok(0)
}
