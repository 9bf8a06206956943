//! openat2: a path that may not lead everywhere.
//!
//! The path is walked part by part to the absolute path of what it means, with no link in it; that
//! is opened then. If a link has come there in between, it leads elsewhere, and the call ends with
//! `EAGAIN`, as on Linux where something was renamed meanwhile.
//!
//! | asked for | what it does |
//! | --- | --- |
//! | `NO_XDEV` | no step from one mount into another: `EXDEV` |
//! | `NO_MAGICLINKS` | no link of /proc that leads to something rather than to a path: `ELOOP` |
//! | `NO_SYMLINKS` | no link at all: `ELOOP` |
//! | `BENEATH` | no step out of the directory, be it to come back: `EXDEV` |
//! | `IN_ROOT` | the directory is the root, for links, too |
//! | `CACHED` | nothing that would wait for a disk: all is in memory |

use super::at::{HERE, Last, directory, file};
use super::descriptors::{self, CLOEXEC, CREATE, EXCLUSIVE, TEMPORARY, TRUNCATE};
use crate::abi::open as flag;
use crate::abi::stack_image::WordSize;
use crate::error::{Errno, SysResult};
use crate::files::mount_flags::flag as mount_flag;
use crate::files::mounts;
use crate::files::open::{Target, flag as status};
use crate::files::tree::{self, Content, MAX_LINKS};
use crate::proc;
use crate::process::user_memory::{get, get_numbers, path};
use crate::process::walk::{self, Leads, Parts, Place, Route};
use alloc::string::String;
use machine::memory::fallible;

/// Bits of `resolve`.
mod scope {
    pub(super) const NO_XDEV: u64 = 1;
    pub(super) const NO_MAGICLINKS: u64 = 2;
    pub(super) const NO_SYMLINKS: u64 = 4;
    pub(super) const BENEATH: u64 = 8;
    pub(super) const IN_ROOT: u64 = 0x10;
    pub(super) const CACHED: u64 = 0x20;
    pub(super) const ALL: u64 = 0x3f;
}

/// Flags that open knows, on every machine.
const KNOWN: u64 = 0o37_777_703;

pub(crate) fn openat2(from: u64, at: u64, how: u64, size: u64) -> SysResult {
    const LEAST: u64 = 24;
    const MOST: u64 = 4096;
    if size < LEAST {
        return Err(Errno::EINVAL);
    }
    if size > MOST {
        return Err(Errno::E2BIG);
    }
    // What is behind what the kernel knows must be nothing.
    for at in LEAST..size {
        if get::<1>(how.checked_add(at).ok_or(Errno::EFAULT)?)? != [0] {
            return Err(Errno::E2BIG);
        }
    }
    let [flags, mode, resolve] = get_numbers::<3>(how, WordSize::Eight)?;
    if flags & !KNOWN != 0 || resolve & !scope::ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let (flags, is_new) = (flags as u32, flags as u32 & (CREATE | TEMPORARY) != 0);
    const SCOPES: u64 = scope::BENEATH | scope::IN_ROOT;
    let may_be = if is_new { 0o7777 } else { 0 };
    let of_path = status::PATH | flag::DIRECTORY | flag::NOFOLLOW | CLOEXEC;
    let is_temporary = flags & TEMPORARY != 0;
    if resolve & SCOPES == SCOPES
        || mode & !may_be != 0
        || flags & (flag::DIRECTORY | CREATE) == flag::DIRECTORY | CREATE
        || is_temporary && (flags & flag::DIRECTORY == 0 || flags & status::ACCESS == 0)
        || flags & status::PATH != 0 && flags & !of_path != 0
    {
        return Err(Errno::EINVAL);
    }
    if resolve & scope::CACHED != 0 && flags & (TRUNCATE | CREATE | TEMPORARY) != 0 {
        return Err(Errno::EAGAIN);
    }
    if resolve & !scope::CACHED == 0 {
        return descriptors::open(from, at, flags, mode as u32);
    }
    let asked = path(at)?;
    let mut scoped = Scoped::begin(from, asked, flags, resolve)?;
    let is_plain = scoped.walk()?;
    let last = if scoped.is_directory { Last::Directory } else { Last::Name };
    let last = if scoped.at == "/" { Last::Here } else { last };
    let route = Route::absolute(&scoped.at)?;
    let meant = is_plain.then_some(&*scoped.at);
    descriptors::open_named((route, last), flags, mode as u32, meant)
}

/// A walk.
struct Scoped {
    resolve: u64,
    /// Whether a link at the end is followed; whether nothing need be there.
    follows: bool,
    may_lack: bool,
    /// Where it is, and where the root is: absolute, with no link in it.
    at: String,
    root: String,
    /// What is left of the path.
    rest: String,
    /// What is at the end is a directory: a slash or a point is behind it.
    is_directory: bool,
    links: usize,
}

/// Which mount a path is in: also of what is made when it is read, where it always is.
fn mount_of(path: &str) -> (Option<usize>, Option<&str>) {
    match mounts::which_at(path) {
        None if walk::is_made(path) => (None, tree::parts(path).next()),
        number => (number, None),
    }
}

impl Scoped {
    fn begin(from: u64, rest: String, flags: u32, resolve: u64) -> Result<Self, Errno> {
        let base = if from as i32 == HERE as i32 {
            directory().path()?
        } else if rest.starts_with('/') && resolve & (scope::IN_ROOT | scope::BENEATH) == 0 {
            String::new()
        } else {
            file(from)?.directory()?.path()?
        };
        let root = match tree::root_of_caller() {
            _ if resolve & (scope::IN_ROOT | scope::BENEATH) != 0 => fallible::text(&base)?,
            Some(root) => root.path()?,
            None => fallible::text("/")?,
        };
        let at = if rest.starts_with('/') {
            if resolve & scope::BENEATH != 0 {
                return Err(Errno::EXDEV);
            }
            fallible::text(&root)?
        } else {
            base
        };
        Ok(Self {
            resolve,
            follows: flags & flag::NOFOLLOW == 0
                && flags & (CREATE | EXCLUSIVE) != CREATE | EXCLUSIVE,
            may_lack: flags & CREATE != 0,
            is_directory: rest.ends_with('/') || rest.ends_with("/."),
            at,
            root,
            rest,
            links: MAX_LINKS,
        })
    }

    fn has(&self, bit: u64) -> bool {
        self.resolve & bit != 0
    }

    /// A step from where it is to another place, not into another mount if that is asked for.
    fn go(&mut self, to: String) -> Result<(), Errno> {
        if self.has(scope::NO_XDEV) && mount_of(&to) != mount_of(&self.at) {
            return Err(Errno::EXDEV);
        }
        self.at = to;
        Ok(())
    }

    /// Takes the next part off; `None`: there is none any more.
    fn next(&mut self) -> Result<Option<String>, Errno> {
        let mut parts = self.rest.split('/').filter(|part| !matches!(*part, "" | "."));
        let Some(part) = parts.next() else { return Ok(None) };
        let part = fallible::text(part)?;
        let mut left = String::new();
        left.try_reserve(self.rest.len()).map_err(|_| Errno::ENOMEM)?;
        for other in parts {
            // CANNOT FAIL: no longer than what it was.
            left.push_str(other);
            left.push('/');
        }
        left.pop();
        self.rest = left;
        Ok(Some(part))
    }

    /// Walks to the end. Whether what is there is known by its path alone: not a link that leads to
    /// an open file.
    fn walk(&mut self) -> Result<bool, Errno> {
        while let Some(part) = self.next()? {
            if part == ".." {
                self.up()?;
                continue;
            }
            let next = tree::absolute(&self.at, &part)?;
            let is_last = self.rest.is_empty();
            let stays = is_last && !self.follows && !self.is_directory;
            match walk::find(Route::absolute(&next)?, false) {
                Ok(Place::Node(node, _)) => match &node.content {
                    Content::Link(_) if stays => self.go(next)?,
                    Content::Link(target) => self.follow(target, &next)?,
                    _ if !is_last && !node.is_directory() => return Err(Errno::ENOTDIR),
                    _ => self.go(next)?,
                },
                Ok(Place::Made(made)) => match magic(&made) {
                    None => match proc::link(&made) {
                        Some(target) if !stays => self.follow(&target?, &next)?,
                        _ => self.go(next)?,
                    },
                    Some(_) if stays => self.go(next)?,
                    Some(leads) => {
                        let leads = leads?;
                        if self.has(scope::NO_MAGICLINKS | scope::NO_SYMLINKS) {
                            return Err(Errno::ELOOP);
                        }
                        if self.has(scope::BENEATH | scope::IN_ROOT) {
                            return Err(Errno::EXDEV);
                        }
                        self.count_link()?;
                        if !self.jump(leads, is_last)? {
                            self.at = next;
                            return Ok(false);
                        }
                    }
                },
                Ok(Place::Open(_)) => return Err(Errno::ENOTDIR),
                Err(Errno::ENOENT) if is_last && self.may_lack => self.go(next)?,
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn up(&mut self) -> Result<(), Errno> {
        if self.at == self.root {
            // The root's own parent is the root.
            return if self.has(scope::BENEATH) { Err(Errno::EXDEV) } else { Ok(()) };
        }
        let end = self.at.rfind('/').unwrap_or(0);
        let above = fallible::text(if end == 0 { "/" } else { &self.at[..end] })?;
        self.go(above)
    }

    fn count_link(&mut self) -> Result<(), Errno> {
        self.links = self.links.checked_sub(1).ok_or(Errno::ELOOP)?;
        Ok(())
    }

    /// Continues with what a link says.
    fn follow(&mut self, target: &str, link: &str) -> Result<(), Errno> {
        if self.has(scope::NO_SYMLINKS)
            || mounts::rules_at(link).flags() & mount_flag::NO_LINKS != 0
        {
            return Err(Errno::ELOOP);
        }
        self.count_link()?;
        if target.starts_with('/') {
            if self.has(scope::BENEATH) {
                return Err(Errno::EXDEV);
            }
            let root = fallible::text(&self.root)?;
            self.go(root)?;
        }
        if self.rest.is_empty() {
            self.is_directory |= target.ends_with('/') || target.ends_with("/.");
        }
        let mut rest = String::new();
        let bytes = target.len() + self.rest.len() + 1;
        rest.try_reserve(bytes).map_err(|_| Errno::ENOMEM)?;
        // CANNOT FAIL: reserved above.
        rest.push_str(target);
        rest.push('/');
        rest.push_str(&self.rest);
        self.rest = rest;
        Ok(())
    }

    /// Goes to what a link of /proc leads to; false: that has no path, and is the end.
    fn jump(&mut self, leads: Leads, is_last: bool) -> Result<bool, Errno> {
        let to = match &leads {
            Leads::Path(path) => fallible::text(path)?,
            Leads::Directory(standing) => standing.last_path()?,
            Leads::Node(_, known) => known.path()?,
            Leads::File(file) => match &file.target {
                Target::Node(_, known) => known.path()?,
                Target::Made(made) => fallible::text(made.path())?,
                _ if is_last => String::new(),
                _ => return Err(Errno::ENOTDIR),
            },
        };
        if self.has(scope::NO_XDEV) && mount_of(&to) != mount_of(&self.at) {
            return Err(Errno::EXDEV);
        }
        // At the end, the link itself is opened: what it leads to may have lost its name.
        if is_last && !matches!(leads, Leads::Path(_)) {
            return Ok(false);
        }
        self.at = to;
        Ok(true)
    }
}

/// What a link of /proc leads to, if it is one that leads past its text.
fn magic(path: &str) -> Option<Result<Leads, Errno>> {
    let parts = Parts::of(path)?;
    let has_text = matches!(parts.as_slice(), ["proc", "self" | "thread-self" | "mounts" | "net"]);
    if has_text { None } else { walk::link(&parts) }
}
