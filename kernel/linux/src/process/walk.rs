//! Where a path leads: through the tree, and through the links of /proc, which lead back into the
//! tree or to open files.
//!
//! ```text
//!   /dev/fd/3 ──tree──▶ /proc/self/fd/3 ──here──▶ /proc/41/fd/3 ──here──▶ the open file, or where that lies in the tree
//! ```
//!
//! What is below /proc and /sys is made when it is read, by `proc`: a path there is only made plain
//! here, with no link in it.

use super::identity::permissions::{self, Looks};
use super::names::namespaces;
use super::{Process, current, table};
use crate::error::Errno;
use crate::files::made::{Inside, Seen};
use crate::files::mounts;
use crate::files::open::{OpenFile, Target};
use crate::files::spot::{Known, Lies, Spot};
use crate::files::standing::Standing;
use crate::files::tree::{self, MAX_LINKS, Node, Parent, Walked};
use crate::spaces::pid::{self, Own};
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use machine::memory::fallible::{self, Text};
use threads::sched;

/// A path of a call: the directory that it is seen from, and a plain path from there.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    from: Standing,
    rest: String,
}

impl Route {
    /// A path of the caller's, seen from a directory.
    pub(crate) fn new(from: &Standing, path: &str) -> Result<Self, Errno> {
        let from = match path.starts_with('/') {
            true => Standing::Tree(tree::start_of_caller()?),
            false => from.clone(),
        };
        Ok(Self { from, rest: tree::plain(path, "")? })
    }

    /// An absolute path, whose root that of the tree is.
    pub(crate) fn absolute(path: &str) -> Result<Self, Errno> {
        Ok(Self { from: Standing::Tree(Spot::top()?), rest: tree::plain(path, "")? })
    }

    /// The same again.
    pub(crate) fn copy(&self) -> Result<Self, Errno> {
        Ok(Self { from: self.from.clone(), rest: fallible::text(&self.rest)? })
    }

    /// Whether it is the path of the caller's root.
    pub(crate) fn is_root(&self) -> bool {
        let root = tree::start_of_caller();
        let Standing::Tree(from) = &self.from else { return false };
        self.rest.is_empty() && root.is_ok_and(|root| root.is_same(from))
    }
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Place {
    /// A node of the tree, and where that lies.
    Node(Arc<Node>, Lies),
    /// A path of /proc or /sys with no link in it: whether anything is there is another question.
    Made(String),
    /// An open file that lies nowhere: a pipe, a socket.
    Open(Arc<OpenFile>),
}

/// What a link of /proc leads to.
#[derive(Debug)]
pub(crate) enum Leads {
    /// A path, from where the link lies.
    Path(String),
    File(Arc<OpenFile>),
    /// A directory, whatever has become of its name.
    Directory(Standing),
    /// The file of a program or of a mapping, in the same way.
    Node(Arc<Node>, Arc<Known>),
}

/// Parts of a path that are looked at: no path of /proc with a link in it has more than six, and
/// groups lie no deeper below one another.
const MAX_PARTS: usize = 16;

/// What a path below /proc or /sys is made of.
#[derive(Debug)]
pub(crate) struct Parts<'p> {
    parts: [&'p str; MAX_PARTS],
    count: usize,
    /// In which mount of /proc.
    pub(crate) view: Seen,
}

impl<'p> Parts<'p> {
    /// Those of an absolute path, as if it were where /proc and /sys always are. `None`: there are
    /// more than any path there has.
    pub(crate) fn of(path: &'p str) -> Option<Self> {
        match mounts::made_at(path) {
            Some((made, view, length)) => {
                Self::from([made.name()].into_iter().chain(tree::parts(&path[length..])), view)
            }
            None => Self::from(tree::parts(path), None),
        }
    }

    /// Those of a path inside.
    pub(crate) fn inside(of: Inside<'p>) -> Option<Self> {
        Self::from(tree::parts(of.path), of.view.clone())
    }

    fn from(all: impl Iterator<Item = &'p str>, view: Seen) -> Option<Self> {
        let (mut parts, mut count) = ([""; MAX_PARTS], 0);
        for part in all {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        Some(Self { parts, count, view })
    }

    pub(crate) fn as_slice(&self) -> &[&'p str] {
        &self.parts[..self.count]
    }
}

/// Whether an absolute path is of /proc or /sys.
pub(crate) fn is_made(path: &str) -> bool {
    mounts::made_at(path).is_some() || matches!(tree::parts(path).next(), Some("proc" | "sys"))
}

/// Who may pass a directory on the way to something.
fn may_pass(node: &Node) -> Result<(), Errno> {
    permissions::search(node)
}

/// A walk that all may make: the credentials are looked at once.
fn anyone(_: &Node) -> Result<(), Errno> {
    Ok(())
}

fn may() -> tree::May<'static> {
    if permissions::are_all_given() { &anyone } else { &may_pass }
}

/// What a path leads to. `follow`: also through a link at its end.
pub(crate) fn find(route: Route, follow: bool) -> Result<Place, Errno> {
    let mut next = match route.from {
        Standing::Tree(spot) => Step::From(spot, route.rest),
        Standing::Made(path) => Step::Further(tree::absolute(&path, &route.rest)?),
    };
    for _ in 0..MAX_LINKS {
        let path = match next {
            Step::There(place) => return Ok(place),
            Step::Further(path) if is_made(&path) => path,
            Step::Further(path) => {
                next = Step::From(Spot::top()?, tree::plain(&path, "")?);
                continue;
            }
            Step::From(spot, rest) => match tree::walk(spot, rest, follow, may())? {
                Walked::Node(node, lies) => return Ok(Place::Node(node, lies)),
                Walked::Made(_, path) => path,
            },
            Step::NoLink(path) => return Ok(Place::Made(path)),
        };
        next = step(path, follow)?;
    }
    match next {
        Step::There(place) => Ok(place),
        Step::NoLink(path) => Ok(Place::Made(path)),
        _ => Err(Errno::ELOOP),
    }
}

/// Where the last part of a path stands, which is followed by no link. `EEXIST`: it is no name.
pub(crate) fn parent(route: Route) -> Result<Parent, Errno> {
    let made = |path: String| match find(Route::absolute(&path)?, false)? {
        Place::Made(path) => Ok(Parent::Made(path)),
        _ => Err(Errno::ENOENT),
    };
    match &route.from {
        Standing::Made(path) => made(tree::absolute(path, &route.rest)?),
        Standing::Tree(spot) => match tree::parent(spot.clone(), route.rest, may())? {
            Parent::Made(path) => made(path),
            parent => Ok(parent),
        },
    }
}

/// Where the last part of a path stands; if that is a link, the last part of what it leads to,
/// whether anything is there or not.
pub(crate) fn parent_through_links(mut route: Route) -> Result<Parent, Errno> {
    for _ in 0..MAX_LINKS {
        let parent = parent(route)?;
        let Parent::In(spot, name) = &parent else { return Ok(parent) };
        let Ok(node) = spot.node().child(name) else { return Ok(parent) };
        let tree::Content::Link(target) = &node.content else { return Ok(parent) };
        route = Route::new(&Standing::Tree(spot.clone()), target)?;
    }
    Err(Errno::ELOOP)
}

enum Step {
    There(Place),
    /// An absolute path.
    Further(String),
    /// From a directory.
    From(Spot, String),
    /// A path of /proc or /sys with no link in it.
    NoLink(String),
}

/// Follows the first link in a path of /proc.
fn step(path: String, follow: bool) -> Result<Step, Errno> {
    let mut end = 0;
    while end < path.len() {
        let start = end;
        end = path[start + 1..].find('/').map_or(path.len(), |length| start + 1 + length);
        let is_last = end == path.len();
        let (before, rest) = (&path[..start], &path[end..]);
        if &path[start..end] == "/.." {
            // No link stands before it.
            let above = &before[..before.rfind('/').unwrap_or(0)];
            return Ok(Step::Further(tree::absolute(above, rest.trim_start_matches('/'))?));
        }
        if is_last && !follow {
            break;
        }
        let Some(leads) = Parts::of(&path[..end]).and_then(|parts| link(&parts)) else {
            continue;
        };
        let there = |node: Arc<Node>, known: Arc<Known>| {
            Ok(Step::There(Place::Node(node, Lies::As(known))))
        };
        return match leads? {
            Leads::Path(to) => joined(&tree::absolute(before, &to)?, rest),
            Leads::Directory(standing) => further(standing, rest),
            Leads::Node(node, known) if is_last => there(node, known),
            Leads::Node(..) => Err(Errno::ENOTDIR),
            Leads::File(file) => match &file.target {
                Target::Node(node, known) if is_last => there(node.clone(), known.clone()),
                Target::Node(..) => further(file.directory()?, rest),
                Target::Made(made) => joined(made.path(), rest),
                _ if is_last => Ok(Step::There(Place::Open(file))),
                _ => Err(Errno::ENOTDIR),
            },
        };
    }
    Ok(Step::NoLink(path))
}

fn further(from: Standing, rest: &str) -> Result<Step, Errno> {
    match from {
        Standing::Tree(spot) => Ok(Step::From(spot, tree::plain(rest, "")?)),
        Standing::Made(path) => joined(&path, rest),
    }
}

fn joined(to: &str, rest: &str) -> Result<Step, Errno> {
    Ok(Step::Further(tree::absolute(to, rest.trim_start_matches('/'))?))
}

/// Whose numbers a mount of /proc shows.
pub(crate) fn space_of(view: &Seen) -> &Own {
    view.as_ref().map_or(&None, |view| &view.space)
}

/// The process with a thread of this number.
fn process_of(whom: &str, view: &Seen) -> Option<Arc<Process>> {
    let number = pid::global(space_of(view), number(whom)?)?;
    table::find(number).or_else(|| table::find_thread(None, number).map(|(process, _)| process))
}

/// A number as names in /proc have it: no sign, and no zero in front.
pub(crate) fn number(name: &str) -> Option<u64> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && !name.starts_with('0');
    name.parse().ok().filter(|_| is_number)
}

/// The same, and 0.
pub(crate) fn number_from_0(name: &str) -> Option<u64> {
    if name == "0" { Some(0) } else { number(name) }
}

fn text(write: impl FnOnce(&mut Text) -> core::fmt::Result) -> Result<String, Errno> {
    let mut text = Text::new();
    write(&mut text).map_err(|_| Errno::ENOMEM)?;
    Ok(text.into_string())
}

/// What a link of /proc leads to; `None`: the path is of no link.
pub(crate) fn link(whole: &Parts<'_>) -> Option<Result<Leads, Errno>> {
    let ["proc", parts @ ..] = whole.as_slice() else { return None };
    let space = space_of(&whole.view);
    let own = match parts {
        // A caller that the mount does not show has no folder in it.
        ["self" | "thread-self"] if current().number_in(space) == 0 => Some(Err(Errno::ENOENT)),
        ["self"] => Some(text(|text| write!(text, "{}", current().number_in(space)))),
        ["thread-self"] => {
            let leader = current().number_in(space);
            let thread = pid::local(space, sched::current().number());
            Some(text(|text| write!(text, "{leader}/task/{thread}")))
        }
        _ if whole.view.as_ref().is_some_and(|view| view.only_processes)
            && matches!(parts, ["mounts" | "net", ..]) =>
        {
            return None;
        }
        ["mounts"] => Some(fallible::text("self/mounts").map_err(Errno::from)),
        ["net"] => Some(fallible::text("self/net").map_err(Errno::from)),
        _ => None,
    };
    if let Some(own) = own {
        return Some(own.map(Leads::Path));
    }
    let (whom, rest) = match parts {
        [_, "task", thread, rest @ ..] => (thread, rest),
        [whom, rest @ ..] => (whom, rest),
        [] => return None,
    };
    if !matches!(rest, ["exe" | "cwd" | "root"] | ["fd" | "map_files" | "ns", _]) {
        return None;
    }
    let Some(process) = process_of(whom, &whole.view).filter(|process| process.status().is_none())
    else {
        return Some(Err(Errno::ENOENT));
    };
    let root = |spot| Leads::Directory(Standing::Tree(spot));
    // They lead past all permissions: only for one who might trace the process.
    if !permissions::may_look_into(&process, Looks::AsFile) {
        return Some(Err(Errno::EACCES));
    }
    Some(match rest {
        ["exe"] => {
            let running = process.executable.lock().clone();
            let file =
                running.map(|running| Leads::Node(running.node.clone(), running.known.clone()));
            file.ok_or(Errno::ENOENT)
        }
        ["cwd"] => Ok(Leads::Directory(process.place().directory())),
        ["map_files", name] => map_file(&process, name),
        ["ns", name] => namespaces::file(&process, name).map(Leads::File),
        ["fd", name] => descriptor(&process, name).map(|(file, _)| Leads::File(file)),
        _ => process.place().root_directory().map_or_else(Spot::top, Ok).map(root),
    })
}

/// The open file behind a descriptor of a process, by its name in /proc, and whether execve closes
/// that.
pub(crate) fn descriptor(process: &Process, name: &str) -> Result<(Arc<OpenFile>, bool), Errno> {
    let number = number_from_0(name);
    let files = process.files_if_alive().ok_or(Errno::ENOENT)?;
    let found = files.lock().get(number.ok_or(Errno::ENOENT)?).map_err(|_| Errno::ENOENT)?;
    Ok((found.file, found.close_on_exec))
}

/// The file that a name in map_files leads to.
pub(crate) fn map_file(process: &Process, name: &str) -> Result<Leads, Errno> {
    let number = |digits: &str| {
        // As Linux writes them, and no other way: no sign, no leading zero.
        let is_plain = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            && (digits == "0" || !digits.starts_with('0'));
        let number = u64::from_str_radix(digits, 16).ok();
        number.filter(|_| is_plain).ok_or(Errno::ENOENT)
    };
    let (lowest, top) = name.split_once('-').ok_or(Errno::ENOENT)?;
    let (lowest, top) = (number(lowest)?, number(top)?);
    let memory = process.memory().ok_or(Errno::ENOENT)?;
    let memory = memory.lock();
    let area = memory.areas().at(lowest).filter(|area| (area.lowest, area.top) == (lowest, top));
    let source = area.and_then(|area| area.source.as_ref()).ok_or(Errno::ENOENT)?;
    Ok(Leads::Node(source.object.node.clone(), source.object.known.clone()))
}
