//! Files without a name in the tree, and what may not be done to them any more.

use crate::error::{Errno, SysResult};
use crate::files::file_bytes::FileBytes;
use crate::files::mapped::seal;
use crate::files::open::{self, Descriptor, OpenFile, Target};
use crate::files::spot::Known;
use crate::files::tree::{Content, Node};
use crate::process::current_task;
use crate::process::names::numbers;
use crate::process::user_memory::{as_text, string};
use crate::spaces::pid;
use alloc::string::String;
use core::fmt::Write;
use machine::spin::SpinLock;

pub(super) fn memfd_create(name: u64, flags: u64) -> SysResult {
    const CLOEXEC: u64 = 1;
    const ALLOW_SEALING: u64 = 2;
    const HUGETLB: u64 = 4;
    const NOEXEC_SEAL: u64 = 8;
    const EXEC: u64 = 0x10;
    const NO_PROGRAMS: u64 = 1;
    const NEVER_PROGRAMS: u64 = 2;
    /// Bytes of a name, with its end.
    const MAX_NAME: usize = 250;
    if flags & !(CLOEXEC | ALLOW_SEALING | HUGETLB | NOEXEC_SEAL | EXEC) != 0
        || flags & (NOEXEC_SEAL | EXEC) == NOEXEC_SEAL | EXEC
    {
        return Err(Errno::EINVAL);
    }
    // Whether it may be a program, where it is not said, is the namespace's affair.
    let scope = pid::memory_files(numbers::here());
    let flags = match flags & (NOEXEC_SEAL | EXEC) {
        0 if scope >= NO_PROGRAMS => flags | NOEXEC_SEAL,
        0 => flags | EXEC,
        _ => flags,
    };
    if flags & NOEXEC_SEAL == 0 && scope >= NEVER_PROGRAMS {
        return Err(Errno::EACCES);
    }
    let name = string(name, MAX_NAME).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        error => error,
    })?;
    if flags & HUGETLB != 0 {
        // There are no huge pages to be had.
        return Err(Errno::ENODEV);
    }
    let mut path = String::new();
    path.try_reserve(name.len() + 24).map_err(|_| Errno::ENOMEM)?;
    // CANNOT FAIL: reserved above.
    let _fits = write!(path, "/memfd:{} (deleted)", as_text(name)?);
    let mode = if flags & NOEXEC_SEAL != 0 { 0o666 } else { 0o777 };
    let node = Node::new(Content::File(SpinLock::new(FileBytes::new())), mode)?;
    node.make_sealable(match flags & (ALLOW_SEALING | NOEXEC_SEAL) {
        0 => seal::SEAL,
        ALLOW_SEALING => 0,
        _ => seal::EXEC,
    });
    let file = OpenFile::new(Target::Node(node, Known::called(path)?))?;
    let descriptor = Descriptor { file, close_on_exec: flags & CLOEXEC != 0 };
    open::add(&current_task().files(), descriptor, 0)
}

/// F_ADD_SEALS and F_GET_SEALS.
pub(crate) fn seals(file: &OpenFile, add: Option<u64>) -> SysResult {
    let Target::Node(node, _) = &file.target else { return Err(Errno::EINVAL) };
    match add {
        Some(_) if !file.can_write() => Err(Errno::EPERM),
        Some(more) => node.seal(more as u32).map(|()| 0),
        None => node.seals().map(u64::from),
    }
}
