//! Where something lies in the tree: the directory it is in, as a path led there, and its name.
//!
//! ```text
//!   walk ──▶ Lies ──open, map, run──▶ Known ◀── follows renames and says when the name is gone
//!             │                         ▲
//!             └──▶ Spot: a directory    └── followers of the node, which do not keep it
//! ```
//!
//! A directory knows the one that it lies in, so that nothing is walked from the root to come from
//! one to the next. Its path is put together when it is asked for.
//!
//! Invariant: no drop here recurses as deep as a program makes its tree.

use super::mounts;
use super::node::{Follower, Node};
use crate::error::Errno;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use machine::memory::fallible;
use machine::spin::SpinLock;

/// A directory of the tree, as it was walked to.
#[derive(Debug, Clone)]
pub struct Spot {
    node: Arc<Node>,
    /// The last mount on the way to it.
    over: Option<Arc<Over>>,
}

/// Something that lies over a directory, and where that is.
#[derive(Debug)]
struct Over {
    root: Arc<Node>,
    above: Spot,
    name: String,
}

impl Drop for Over {
    /// A list instead of recursion: a mount can be walked into again and again.
    fn drop(&mut self) {
        let mut next = self.above.over.take();
        while let Some(over) = next {
            next = Arc::into_inner(over).and_then(|mut over| over.above.over.take());
        }
    }
}

static ROOT: SpinLock<Option<Arc<Node>>> = SpinLock::new(None);

/// The root of the tree.
pub fn root() -> Result<Arc<Node>, Errno> {
    if let Some(root) = &*ROOT.lock() {
        return Ok(root.clone());
    }
    let root = Node::directory()?;
    Ok(ROOT.lock().get_or_insert(root).clone())
}

/// How often the place of a directory has begun to change, and ended.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// A directory lies elsewhere behind `change`, under the tree's lock on names.
pub(super) fn moving(change: impl FnOnce()) {
    CHANGES.fetch_add(1, Ordering::SeqCst);
    change();
    CHANGES.fetch_add(1, Ordering::SeqCst);
}

impl Spot {
    /// The tree's root.
    pub(crate) fn top() -> Result<Self, Errno> {
        Ok(Self { node: root()?, over: None })
    }

    /// The root of what is to be mounted.
    pub(crate) const fn root_of_mount(node: Arc<Node>) -> Self {
        Self { node, over: None }
    }

    pub(crate) const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let root = |spot: &Self| spot.over.as_ref().map(|over| Arc::as_ptr(&over.root));
        Arc::ptr_eq(&self.node, &other.node) && root(self) == root(other)
    }

    /// Whether it was removed.
    pub(crate) fn is_gone(&self) -> bool {
        self.node.attributes.links() == 0
    }

    /// A directory in it; `is_over`: that lies over the one which has this name.
    pub(super) fn below(&self, node: Arc<Node>, name: &str, is_over: bool) -> Result<Self, Errno> {
        let over = match is_over {
            false => self.over.clone(),
            true => {
                let (root, above) = (node.clone(), self.clone());
                Some(fallible::shared(Over { root, above, name: fallible::text(name)? })?)
            }
        };
        Ok(Self { node, over })
    }

    /// The mount that it is the root of.
    fn mount(&self) -> Option<&Arc<Over>> {
        self.over.as_ref().filter(|over| Arc::ptr_eq(&over.root, &self.node))
    }

    /// The directory that it lies in. `None`: in none, or that is there no more.
    pub(crate) fn above(&self) -> Option<Self> {
        match self.mount() {
            Some(over) => Some(over.above.clone()),
            None => Some(Self { node: self.node.parent()?, over: self.over.clone() }),
        }
    }

    /// The directory that it lies in, and its name there.
    pub(super) fn place(&self) -> Option<(Arc<Node>, String)> {
        let name = match self.mount() {
            Some(over) => fallible::text(&over.name).ok()?,
            None => self.node.with_name(|name| Ok(fallible::text(name)?)).ok()?,
        };
        Some((self.above()?.node, name))
    }

    /// Where it is; where it was, if it was removed. `ENOENT`: it is nowhere.
    pub(crate) fn path(&self) -> Result<String, Errno> {
        self.path_of("")
    }

    /// The path of a name in it.
    pub(crate) fn path_of(&self, name: &str) -> Result<String, Errno> {
        /// As often as a path is put together anew since a name in it has changed meanwhile.
        const TRIES: usize = 8;
        let mut found = Err(Errno::ENOENT);
        for _ in 0..TRIES {
            let before = CHANGES.load(Ordering::SeqCst);
            found = self.put_together(name);
            fence(Ordering::SeqCst);
            if before.is_multiple_of(2) && CHANGES.load(Ordering::SeqCst) == before {
                break;
            }
        }
        found
    }

    fn put_together(&self, name: &str) -> Result<String, Errno> {
        let top = root()?;
        // From its end to its beginning.
        let mut path = Vec::new();
        let mut push = |name: &str| {
            path.try_reserve(name.len() + 1).map_err(|_| Errno::ENOMEM)?;
            // CANNOT FAIL: reserved above.
            path.extend(name.bytes().rev());
            path.push(b'/');
            Ok::<_, Errno>(())
        };
        if !name.is_empty() {
            push(name)?;
        }
        let mut here = self.clone();
        while !Arc::ptr_eq(&here.node, &top) || here.mount().is_some() {
            match here.mount() {
                Some(over) if !mounts::is_root(&over.root) => return Err(Errno::ENOENT),
                Some(over) => push(&over.name)?,
                None => here.node.with_name(&mut push)?,
            }
            here = here.above().ok_or(Errno::ENOENT)?;
        }
        if here.is_same(self) && name.is_empty() {
            push("")?;
        }
        path.reverse();
        // All parts were text.
        String::from_utf8(path).map_err(|_| Errno::EINVAL)
    }
}

/// Where what a path leads to lies.
#[derive(Debug)]
pub(crate) enum Lies {
    /// It is a directory.
    Here(Spot),
    /// In a directory, by this name.
    In(Spot, String),
    /// Where an open file, a program or a mapping has it from.
    As(Arc<Known>),
}

impl Lies {
    /// Its path: where it was, if the name is gone.
    pub(crate) fn path(&self) -> Result<String, Errno> {
        match self {
            Self::Here(spot) => spot.path(),
            Self::In(spot, name) => spot.path_of(name),
            Self::As(known) => known.path(),
        }
    }

    /// The directory that it is.
    pub(crate) fn spot(&self) -> Result<Spot, Errno> {
        match self {
            Self::Here(spot) => Ok(spot.clone()),
            Self::As(known) => known.spot(),
            Self::In(..) => Err(Errno::ENOTDIR),
        }
    }

    /// The directory that something which is none lies in.
    pub(crate) fn lies_in(&self) -> Result<Spot, Errno> {
        match self {
            Self::In(spot, _) => Ok(spot.clone()),
            Self::As(known) => known.named().map(|named| named.above).ok_or(Errno::ENOENT),
            Self::Here(_) => Err(Errno::EISDIR),
        }
    }

    /// To be kept for as long as a node is used.
    pub(crate) fn keep(self, node: &Node) -> Result<Arc<Known>, Errno> {
        match self {
            Self::Here(spot) => Ok(fallible::shared(Known::Here(spot))?),
            Self::In(spot, name) => Known::of_name(node, spot, name),
            Self::As(known) => Ok(known),
        }
    }
}

/// By which name something that is in use is known: it stays right when that changes.
#[derive(Debug)]
pub enum Known {
    /// A directory.
    Here(Spot),
    Named(SpinLock<Named>),
    /// What lies nowhere, by what it is called.
    Called(String),
}

/// See [`Known`].
#[derive(Debug, Clone)]
pub struct Named {
    above: Spot,
    name: Arc<String>,
    /// The name leads to it no more.
    is_gone: bool,
}

impl Follower for Known {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Known {
    pub(crate) fn called(name: String) -> Result<Arc<Self>, Errno> {
        Ok(fallible::shared(Self::Called(name))?)
    }

    fn of_name(node: &Node, above: Spot, name: String) -> Result<Arc<Self>, Errno> {
        if let Some(known) = node.followers(|known: &Arc<Self>| known.is_named(&above.node, &name))
        {
            return Ok(known);
        }
        let name = fallible::shared(name)?;
        let named = Named { above: above.clone(), name: name.clone(), is_gone: false };
        let known = fallible::shared(Self::Named(SpinLock::new(named)))?;
        let weak: Weak<Self> = Arc::downgrade(&known);
        node.add_follower(weak)?;
        // Between the walk and here, nothing kept it right.
        let there = above.node.child(&name).map(mounts::top);
        if !there.is_ok_and(|there| core::ptr::eq(&*there, node)) {
            known.lose(&above.node, &name);
        }
        Ok(known)
    }

    fn is_named(&self, above: &Arc<Node>, name: &str) -> bool {
        let Self::Named(named) = self else { return false };
        let named = named.lock();
        !named.is_gone && Arc::ptr_eq(&named.above.node, above) && *named.name == name
    }

    /// A name leads to it no more.
    pub(super) fn lose(&self, above: &Arc<Node>, name: &str) {
        if let Self::Named(named) = self
            && self.is_named(above, name)
        {
            named.lock().is_gone = true;
        }
    }

    /// What had a name has another one from now on.
    pub(super) fn change(&self, before: (&Arc<Node>, &str), to: &(Spot, Arc<String>)) {
        if let Self::Named(named) = self
            && self.is_named(before.0, before.1)
        {
            let to = Named { above: to.0.clone(), name: to.1.clone(), is_gone: false };
            let before = core::mem::replace(&mut *named.lock(), to);
            // Without the lock: it may be the last user of a directory.
            drop(before);
        }
    }

    /// The name as it is now.
    fn named(&self) -> Option<Named> {
        match self {
            Self::Named(named) => Some(named.lock().clone()),
            _ => None,
        }
    }

    /// The directory that it lies in or lay in, its name there, and whether that is gone.
    pub(super) fn place(&self) -> Option<(Arc<Node>, Arc<String>, bool)> {
        match self {
            Self::Here(spot) => {
                let (above, name) = spot.place()?;
                Some((above, fallible::shared(name).ok()?, spot.is_gone()))
            }
            Self::Named(_) => {
                let Named { above, name, is_gone } = self.named()?;
                Some((above.node, name, is_gone))
            }
            Self::Called(_) => None,
        }
    }

    /// The directory that it is.
    pub(crate) fn spot(&self) -> Result<Spot, Errno> {
        match self {
            Self::Here(spot) => Ok(spot.clone()),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The path that it has, or had last.
    pub(crate) fn path(&self) -> Result<String, Errno> {
        match self {
            Self::Here(spot) => spot.path(),
            Self::Called(name) => Ok(fallible::text(name)?),
            Self::Named(_) => {
                let named = self.named().ok_or(Errno::ENOENT)?;
                named.above.path_of(&named.name)
            }
        }
    }

    /// Whether that leads to it no more.
    pub(crate) fn is_gone(&self, node: &Node) -> bool {
        match self {
            Self::Here(_) | Self::Called(_) => node.attributes.links() == 0,
            Self::Named(named) => named.lock().is_gone,
        }
    }

    /// The path as Linux tells it.
    pub(crate) fn told(&self, node: &Node) -> Result<String, Errno> {
        /// What says that nothing is there any more.
        const GONE: &str = " (deleted)";
        let mut path = self.path()?;
        if self.is_gone(node) {
            path.try_reserve(GONE.len()).map_err(|_| Errno::ENOMEM)?;
            // CANNOT FAIL: reserved above.
            path.push_str(GONE);
        }
        Ok(path)
    }
}
