//! signalfd: a file that signals are read from.

use super::get_set;
use crate::error::{Errno, SysResult};
use crate::files::object::Object;
use crate::files::open::{OpenFile, flag as status};
use crate::files::table::{self as files, Descriptor};
use crate::process::current_task;
use crate::signals::descriptor::SignalFile;

/// Makes a file for a set of signals, or gives one that is there another set.
pub(super) fn signalfd(fd: u64, mask: u64, bytes: u64, flags: u64) -> SysResult {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    const NEW: u32 = u32::MAX;
    let flags = flags as u32;
    if flags & !(CLOSE_ON_EXEC | status::NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let set = get_set(mask, bytes)?;
    if fd as u32 != NEW {
        let file = current_task().files().lock().get(fd)?.file;
        let known = file.object().and_then(<dyn Object>::of_kind::<SignalFile>);
        known.ok_or(Errno::EINVAL)?.set(set);
        return Ok(fd);
    }
    let kept = flags & status::NONBLOCK | status::READ_WRITE;
    let file = OpenFile::of_object(SignalFile::new(set)?, kept)?;
    let close_on_exec = flags & CLOSE_ON_EXEC != 0;
    files::add(&current_task().files(), Descriptor { file, close_on_exec }, 0)
}
