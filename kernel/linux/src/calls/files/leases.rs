//! Leases of files: `F_SETLEASE` and `F_GETLEASE` of fcntl, and the calls that leases hold up.

use crate::error::{Errno, SysResult};
use crate::files::leases::{self, Kind, Lease};
use crate::files::notices::{Addressee, Whom};
use crate::files::open::{OpenFile, Target};
use crate::files::tree::{Content, Node};
use crate::process::identity::credentials::capability;
use crate::process::{current, current_task};
use alloc::sync::Arc;

const READ: u32 = 0;
const WRITE: u32 = 1;
const NONE: u32 = 2;

/// `F_SETLEASE`.
pub(super) fn set(file: &Arc<OpenFile>, descriptor: u64, kind: u64) -> SysResult {
    let kind = match kind as u32 {
        READ => Some(Kind::Read),
        WRITE => Some(Kind::Write),
        NONE => None,
        _ => return Err(Errno::EINVAL),
    };
    let all = current_task().credentials();
    if file.stat().user != all.user.file && !all.can(capability::LEASE) {
        return Err(Errno::EACCES);
    }
    let node = match &file.target {
        Target::Node(node, _) if matches!(node.content, Content::File(_)) => node,
        _ => return Err(Errno::EINVAL),
    };
    let me = Arc::as_ptr(file).addr();
    let Some(kind) = kind else { return leases::release(me).map(|()| 0) };
    // The one that takes it is told, unless another was named.
    if file.addressee().whom == Whom::None {
        let (whom, users) = (Whom::Process(current().id), [all.user.real, all.user.effective]);
        file.set_addressee(|before| Addressee { whom, users, ..before });
    }
    let lease = Lease::new((node.inode, me), descriptor as i32, file.addressee(), kind);
    leases::set(lease, node.attributes.users(), file.can_write()).map(|()| 0)
}

/// `F_GETLEASE`.
pub(super) fn of(file: &Arc<OpenFile>) -> u64 {
    let kind = match leases::of(Arc::as_ptr(file).addr()) {
        Some(Kind::Read) => READ,
        Some(Kind::Write) => WRITE,
        None => NONE,
    };
    kind.into()
}

/// A file is to be opened: it waits for who has a lease that excludes it, if it may. Meanwhile it
/// counts among those that write the file, so that none takes a lease to read.
pub(super) fn opened(node: &Node, writes: bool, may_wait: bool) -> Result<(), Errno> {
    if !matches!(node.content, Content::File(_)) {
        return Ok(());
    }
    if !writes {
        return broken_by(node, false, may_wait);
    }
    node.attributes.begin_writing()?;
    let broken = broken_by(node, true, may_wait);
    node.attributes.end_writing();
    broken
}

/// The same for one that counts already.
pub(super) fn broken_by(node: &Node, writes: bool, may_wait: bool) -> Result<(), Errno> {
    leases::break_by(node.inode, writes, may_wait)
}
