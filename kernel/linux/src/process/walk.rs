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
use super::running::Running;
use super::{Process, current, table};
use crate::error::Errno;
use crate::files::made::{Inside, Seen};
use crate::files::mounts;
use crate::files::open::{OpenFile, Target};
use crate::files::tree::{self, Content, MAX_LINKS, Node, Special};
use crate::spaces::pid::{self, Own};
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use machine::memory::fallible::{self, Text};
use threads::sched;

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Place {
    /// A node of the tree, with its path.
    Node(Arc<Node>, String),
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
    /// The program that runs, whatever has become of its name.
    Program(Arc<Running>),
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

/// What an absolute path leads to. `follow`: also through a link at its end.
pub(crate) fn find(mut path: String, follow: bool) -> Result<Place, Errno> {
    for _ in 0..MAX_LINKS {
        if !is_made(&path) {
            // What is not there is told only to one who may look.
            let asked = match permissions::are_all_given() {
                true => None,
                false => Some(fallible::text(&path)?),
            };
            if let Some(asked) = asked.as_deref().filter(|asked| asked.contains("/..")) {
                // What `..` comes back from.
                permissions::search(asked)?;
            }
            let (node, at) = tree::find_with_path(path, follow).map_err(|error| {
                let refused = asked.and_then(|path| permissions::search(&path).err());
                refused.filter(|&refused| refused == Errno::EACCES).unwrap_or(error)
            })?;
            if !matches!(node.content, Content::Special(Special::Proc)) {
                permissions::search(&at)?;
                return Ok(Place::Node(node, at));
            }
            path = at;
        }
        match step(&path, follow)? {
            Step::There(place) => return Ok(place),
            Step::NoLink => return Ok(Place::Made(path)),
            Step::Further(next) => path = next,
        }
    }
    Err(Errno::ELOOP)
}

enum Step {
    There(Place),
    Further(String),
    NoLink,
}

/// Follows the first link in a path of /proc.
fn step(path: &str, follow: bool) -> Result<Step, Errno> {
    let mut end = 0;
    while end < path.len() {
        let start = end;
        end = path[start + 1..].find('/').map_or(path.len(), |length| start + 1 + length);
        let is_last = end == path.len();
        if &path[start..end] == "/.." {
            // No link stands before it.
            return Ok(Step::Further(tree::above(&path[..start], &path[end..])?));
        }
        if is_last && !follow {
            break;
        }
        let Some(leads) = Parts::of(&path[..end]).and_then(|parts| link(&parts)) else {
            continue;
        };
        let rest = &path[end..];
        return match leads? {
            Leads::Path(to) => joined(&tree::absolute(&path[..start], &to)?, rest),
            Leads::Program(running) if is_last => {
                let (node, at) = running.file();
                Ok(Step::There(Place::Node(node.clone(), fallible::text(at)?)))
            }
            Leads::Program(_) => Err(Errno::ENOTDIR),
            Leads::File(file) => match &file.target {
                Target::Node(node, at) if is_last => {
                    Ok(Step::There(Place::Node(node.clone(), fallible::text(at)?)))
                }
                Target::Node(..) => joined(&file.directory()?, rest),
                Target::Made(made) => joined(made.path(), rest),
                _ if is_last => Ok(Step::There(Place::Open(file))),
                _ => Err(Errno::ENOTDIR),
            },
        };
    }
    Ok(Step::NoLink)
}

fn joined(to: &str, rest: &str) -> Result<Step, Errno> {
    let mut next = String::new();
    next.try_reserve(to.len() + rest.len()).map_err(|_| Errno::ENOMEM)?;
    // CANNOT FAIL: reserved above.
    next.push_str(if to == "/" && !rest.is_empty() { "" } else { to });
    next.push_str(rest);
    Ok(Step::Further(next))
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
    // They lead past all permissions: only for one who might trace the process.
    if !permissions::may_look_into(&process, Looks::AsFile) {
        return Some(Err(Errno::EACCES));
    }
    let copy = |path: &str| fallible::text(path).map(Leads::Path).map_err(Errno::from);
    Some(match rest {
        ["exe"] => {
            let running = process.executable.lock().clone();
            running.map(Leads::Program).ok_or(Errno::ENOENT)
        }
        ["cwd"] => match process.place().directory().path() {
            Ok(path) => copy(&path),
            Err(_) => {
                text(|text| write!(text, "{} (deleted)", process.place().directory().last_path()))
                    .map(Leads::Path)
            }
        },
        ["map_files", name] => map_file(&process, name).map(Leads::Path),
        ["ns", name] => namespaces::file(&process, name).map(Leads::File),
        ["fd", name] => descriptor(&process, name).map(|(file, _)| Leads::File(file)),
        _ => copy(process.place().root_directory().as_deref().map_or("/", |root| root)),
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
pub(crate) fn map_file(process: &Process, name: &str) -> Result<String, Errno> {
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
    Ok(fallible::text(&source.object.path)?)
}
