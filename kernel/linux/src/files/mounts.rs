//! Directories that others lie over (mount(2)): file systems in memory, and parts of the tree that
//! are seen in a second place.

use super::node::Node;
use crate::error::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicUsize, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// Mounts at one time: each step of a path looks through them.
const MOST: usize = 256;

/// A directory over another.
#[derive(Debug)]
pub(crate) struct Mount {
    over: Arc<Node>,
    root: Arc<Node>,
    /// Where it is.
    pub(crate) path: String,
    source: String,
    kind: &'static str,
}

static MOUNTS: SpinLock<Vec<Mount>> = SpinLock::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// What lies over a node, or the node itself.
pub(super) fn top(mut node: Arc<Node>) -> Arc<Node> {
    if COUNT.load(Ordering::Relaxed) == 0 {
        return node;
    }
    let mounts = MOUNTS.lock();
    // No more steps than there are mounts: each lies over what was there before it.
    for _ in 0..mounts.len() {
        match mounts.iter().find(|mount| Arc::ptr_eq(&mount.over, &node)) {
            Some(mount) if !Arc::ptr_eq(&mount.root, &node) => node = mount.root.clone(),
            _ => break,
        }
    }
    node
}

/// Whether something lies over a node: its name stays then.
pub(super) fn is_covered(node: &Arc<Node>) -> bool {
    COUNT.load(Ordering::Relaxed) != 0
        && MOUNTS.lock().iter().any(|mount| Arc::ptr_eq(&mount.over, node))
}

/// Puts a directory over another.
pub(crate) fn add(
    over: Arc<Node>,
    root: Arc<Node>,
    path: &str,
    source: &str,
    kind: &'static str,
) -> Result<(), Errno> {
    let mount =
        Mount { over, root, path: fallible::text(path)?, source: fallible::text(source)?, kind };
    let mut mounts = MOUNTS.lock();
    if mounts.len() >= MOST {
        return Err(Errno::ENOSPC);
    }
    mounts.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    // CANNOT FAIL: reserved above.
    mounts.push(mount);
    COUNT.store(mounts.len(), Ordering::SeqCst);
    Ok(())
}

/// Whether a node is what was put over another.
pub(crate) fn is_root(node: &Arc<Node>) -> bool {
    MOUNTS.lock().iter().any(|mount| Arc::ptr_eq(&mount.root, node))
}

/// Takes the last directory at a path away again, and gives it out: it is dropped without a lock.
pub(crate) fn remove(path: &str) -> Result<Mount, Errno> {
    let mut mounts = MOUNTS.lock();
    let place = mounts.iter().rposition(|mount| mount.path == path).ok_or(Errno::EINVAL)?;
    let taken = mounts.remove(place);
    COUNT.store(mounts.len(), Ordering::SeqCst);
    Ok(taken)
}

/// Lines of /proc/mounts.
pub(crate) fn write_all(to: &mut dyn Write) -> fmt::Result {
    let mounts = MOUNTS.lock();
    mounts.iter().try_for_each(|mount| {
        writeln!(to, "{} {} {} rw,relatime 0 0", mount.source, mount.path, mount.kind)
    })
}

/// Lines of /proc/PID/mountinfo.
pub(crate) fn write_info(to: &mut dyn Write) -> fmt::Result {
    let mounts = MOUNTS.lock();
    mounts.iter().zip(4..).try_for_each(|(mount, number)| {
        let Mount { path, kind, source, .. } = mount;
        writeln!(to, "{number} 1 0:{number} / {path} rw,relatime - {kind} {source} rw")
    })
}
