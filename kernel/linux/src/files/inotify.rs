//! Who is told what happens to files (inotify(7)).
//!
//! ```text
//!   Node ◀──Weak── Watch ◀── Inotify ◀── open file
//!     └────Weak──────▶ └───Weak──▶ ┘        what happened waits in its queue until it is read
//! ```
//!
//! A watch keeps neither its node nor its instance: it ends with the first of the two. As long as
//! there is none in the whole machine, nothing here costs more than a look at a counter.
//!
//! Invariant: what waits is bounded, and what is lost is said to be lost (`Q_OVERFLOW`).

use super::node::{Follower, Node};
use super::object::{Caller, How, Object};
use super::readiness::{Readiness, event};
use super::spot::{Known, Lies};
use super::text;
use crate::error::{Errno, SysResult};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use machine::memory::{fallible, heap};
use machine::spin::SpinLock;

/// What can happen, and how it is watched: bits, as Linux has them (include/uapi/linux/inotify.h).
pub(crate) mod bit {
    pub(crate) const ACCESS: u32 = 1;
    pub(crate) const MODIFY: u32 = 2;
    pub(crate) const ATTRIB: u32 = 4;
    pub(crate) const CLOSE_WRITE: u32 = 8;
    pub(crate) const CLOSE_NOWRITE: u32 = 0x10;
    pub(crate) const OPEN: u32 = 0x20;
    pub(crate) const MOVED_FROM: u32 = 0x40;
    pub(crate) const MOVED_TO: u32 = 0x80;
    pub(crate) const CREATE: u32 = 0x100;
    pub(crate) const DELETE: u32 = 0x200;
    pub(crate) const DELETE_SELF: u32 = 0x400;
    pub(crate) const MOVE_SELF: u32 = 0x800;
    /// All that can be asked for.
    pub(crate) const EVENTS: u32 = 0xfff;
    /// A name of a directory became another one of it: told by signals alone.
    pub(crate) const RENAME: u32 = 0x1000;
    pub(crate) const UNMOUNT: u32 = 0x2000;
    pub(crate) const OVERFLOW: u32 = 0x4000;
    pub(crate) const IGNORED: u32 = 0x8000;
    pub(crate) const ONLY_DIRECTORY: u32 = 1 << 24;
    pub(crate) const NO_FOLLOW: u32 = 1 << 25;
    /// Not what happens to files without the name by which they were opened.
    pub(crate) const EXCLUDE_UNLINKED: u32 = 1 << 26;
    /// The watch must be new.
    pub(crate) const MUST_BE_NEW: u32 = 1 << 28;
    /// More, not instead, of what is watched already.
    pub(crate) const ADD: u32 = 1 << 29;
    pub(crate) const IS_DIRECTORY: u32 = 1 << 30;
    pub(crate) const ONE_SHOT: u32 = 1 << 31;
    pub(crate) const ALL: u32 = EVENTS
        | ONLY_DIRECTORY
        | NO_FOLLOW
        | EXCLUDE_UNLINKED
        | MUST_BE_NEW
        | ADD
        | IS_DIRECTORY
        | ONE_SHOT;
}

/// Events that wait in an instance; instances and watches of a user.
pub(crate) static MAX_EVENTS: AtomicU64 = AtomicU64::new(16384);
pub(crate) static MAX_INSTANCES: AtomicU64 = AtomicU64::new(128);
pub(crate) static MAX_WATCHES: AtomicU64 = AtomicU64::new(8192);

/// Watches of all instances, and directories that tell by signals.
static COUNT: AtomicUsize = AtomicUsize::new(0);
static NEXT_COOKIE: AtomicU32 = AtomicU32::new(1);
/// What each user has: instances and watches.
static USERS: SpinLock<Vec<(u32, [usize; 2])>> = SpinLock::new(Vec::new());

const INSTANCES: usize = 0;
const WATCHES: usize = 1;

/// Counts one more of a user's; false: it has as many as it may.
fn take(user: u32, which: usize, most: &AtomicU64) -> Result<bool, Errno> {
    let mut users = USERS.lock();
    let at = match users.iter().position(|(other, _)| *other == user) {
        Some(at) => at,
        None => {
            fallible::push(&mut users, (user, [0; 2]))?;
            users.len() - 1
        }
    };
    let count = &mut users[at].1[which];
    let has_room = (*count as u64) < most.load(Ordering::Relaxed);
    *count += usize::from(has_room);
    Ok(has_room)
}

fn give_back(user: u32, which: usize, count: usize) {
    let mut users = USERS.lock();
    let Some(at) = users.iter().position(|(other, _)| *other == user) else { return };
    users[at].1[which] -= count;
    if users[at].1 == [0; 2] {
        users.swap_remove(at);
    }
}

/// What a watch is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Of {
    /// Where numbers are its own: the tree, what is made when it is read, objects.
    pub(crate) space: &'static str,
    pub(crate) inode: u64,
}

/// Something that is watched.
#[derive(Debug)]
pub(crate) struct Watch {
    number: i32,
    mask: AtomicU32,
    of: Of,
    instance: Weak<Inotify>,
}

impl Watch {
    fn tell(&self, bits: u32, cookie: u32, name: &str) {
        let mask = self.mask.load(Ordering::Relaxed);
        if mask & bits & bit::EVENTS == 0 {
            return;
        }
        let Some(instance) = self.instance.upgrade() else { return };
        instance.add(Event::new(self.number, bits, cookie, name));
        if mask & bit::ONE_SHOT != 0 {
            // Where another event was faster, it is gone already.
            let _gone = instance.forget(self.number);
        }
    }
}

impl Follower for Watch {
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn happened(&self, bits: u32, cookie: u32, name: &str, is_unlinked: bool) {
        let excludes = self.mask.load(Ordering::Relaxed) & bit::EXCLUDE_UNLINKED != 0;
        if !is_unlinked || !excludes {
            self.tell(bits, cookie, name);
        }
    }

    fn node_is_gone(&self, was_removed: bool) {
        let Some(instance) = self.instance.upgrade() else { return };
        if was_removed {
            self.tell(bit::DELETE_SELF, 0, "");
        } else {
            instance.add(Event::new(self.number, bit::UNMOUNT, 0, ""));
        }
        let _gone = instance.forget(self.number);
    }
}

/// Something that has happened.
#[derive(Debug)]
struct Event {
    watch: i32,
    bits: u32,
    cookie: u32,
    /// Its bytes; none: it happened to what is watched itself.
    name: Vec<u8>,
}

impl Event {
    /// Bytes before the name.
    const HEAD: usize = 16;

    /// `None`: there is no memory for it.
    fn new(watch: i32, bits: u32, cookie: u32, name: &str) -> Option<Self> {
        if !heap::has_room_for_nodes(size_of::<Self>() + name.len()) {
            return None;
        }
        let name = text::to_bytes(name).ok()?;
        let name = fallible::bytes(&name).ok()?;
        Some(Self { watch, bits, cookie, name })
    }

    /// The bytes that a name takes: with its end, and a multiple of those of the head.
    fn name_bytes(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(Self::HEAD) }
    }

    fn bytes(&self) -> usize {
        Self::HEAD + self.name_bytes()
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.watch, self.bits, &self.name) == (other.watch, other.bits, &other.name)
    }

    fn write(&self, to: &mut [u8]) {
        let numbers = [self.watch as u32, self.bits, self.cookie, self.name_bytes() as u32];
        for (to, number) in to.chunks_exact_mut(4).zip(numbers) {
            to.copy_from_slice(&number.to_ne_bytes());
        }
        let (name, rest) = to[Self::HEAD..].split_at_mut(self.name.len());
        name.copy_from_slice(&self.name);
        rest.fill(0);
    }
}

#[derive(Debug, Default)]
struct State {
    /// What watches lead to.
    me: Weak<Inotify>,
    /// By their numbers.
    watches: Vec<Arc<Watch>>,
    last_number: i32,
    events: VecDeque<Event>,
    /// An event was lost, and that was not read yet.
    has_lost: bool,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Inotify {
    user: u32,
    state: SpinLock<State>,
    readiness: Readiness,
}

impl Inotify {
    /// A new one for a user. `EMFILE`: that has as many as it may.
    pub(crate) fn new(user: u32) -> Result<Arc<Self>, Errno> {
        if !take(user, INSTANCES, &MAX_INSTANCES)? {
            return Err(Errno::EMFILE);
        }
        let state = SpinLock::new(State::default());
        // Without memory, the value goes away, and what it was counted as with it.
        let made = fallible::shared(Self { user, state, readiness: Readiness::new() })?;
        made.state.lock().me = Arc::downgrade(&made);
        Ok(made)
    }

    /// Watches something, or something else of it. `node`: what of it tells.
    pub(crate) fn watch(&self, of: Of, node: Option<&Node>, mask: u32) -> Result<i32, Errno> {
        let kept = mask & (bit::EVENTS | bit::EXCLUDE_UNLINKED | bit::ONE_SHOT);
        {
            let state = self.state.lock();
            if let Some(watch) = state.watches.iter().find(|watch| watch.of == of) {
                if mask & bit::MUST_BE_NEW != 0 {
                    return Err(Errno::EEXIST);
                }
                let before =
                    if mask & bit::ADD == 0 { 0 } else { watch.mask.load(Ordering::Relaxed) };
                watch.mask.store(before | kept, Ordering::Relaxed);
                return Ok(watch.number);
            }
        }
        if !take(self.user, WATCHES, &MAX_WATCHES)? {
            return Err(Errno::ENOSPC);
        }
        COUNT.fetch_add(1, Ordering::SeqCst);
        self.begin(of, node, kept).inspect_err(|_| self.uncount(1))
    }

    fn begin(&self, of: Of, node: Option<&Node>, kept: u32) -> Result<i32, Errno> {
        let mut watch = fallible::shared(Watch {
            number: 0,
            mask: AtomicU32::new(kept),
            of,
            instance: self.state.lock().me.clone(),
        })?;
        {
            let mut state = self.state.lock();
            let number = state.last_number.checked_add(1).ok_or(Errno::ENOSPC)?;
            state.watches.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            if let Some(watch) = Arc::get_mut(&mut watch) {
                watch.number = number;
            }
            state.last_number = number;
            // CANNOT FAIL: reserved above.
            state.watches.push(watch.clone());
        }
        if let Some(node) = node {
            let follower: Weak<Watch> = Arc::downgrade(&watch);
            if let Err(error) = node.add_follower(follower) {
                drop(self.taken(watch.number));
                return Err(error);
            }
        }
        Ok(watch.number)
    }

    fn uncount(&self, count: usize) {
        COUNT.fetch_sub(count, Ordering::SeqCst);
        give_back(self.user, WATCHES, count);
    }

    fn taken(&self, number: i32) -> Option<Arc<Watch>> {
        let mut state = self.state.lock();
        let at = state.watches.binary_search_by_key(&number, |watch| watch.number).ok()?;
        Some(state.watches.remove(at))
    }

    /// Ends a watch. `EINVAL`: there is none of this number.
    pub(crate) fn forget(&self, number: i32) -> Result<(), Errno> {
        let watch = self.taken(number).ok_or(Errno::EINVAL)?;
        self.uncount(1);
        self.add(Event::new(number, bit::IGNORED, 0, ""));
        drop(watch);
        Ok(())
    }

    /// Something has happened; `None`: and there is no memory to say what.
    fn add(&self, event: Option<Event>) {
        {
            let mut state = self.state.lock();
            match event {
                Some(event) if state.events.back().is_some_and(|last| last.is_same(&event)) => {}
                Some(event)
                    if (state.events.len() as u64) < MAX_EVENTS.load(Ordering::Relaxed)
                        && state.events.try_reserve(1).is_ok() =>
                {
                    // CANNOT FAIL: reserved above.
                    state.events.push_back(event);
                }
                _ => state.has_lost = true,
            }
        }
        self.readiness.wake();
    }

    /// What fdinfo says of it.
    pub(crate) fn write(&self, to: &mut dyn Write) -> fmt::Result {
        let state = self.state.lock();
        state.watches.iter().try_for_each(|watch| {
            let (number, inode) = (watch.number, watch.of.inode);
            let mask = watch.mask.load(Ordering::Relaxed);
            writeln!(to, "inotify wd:{number:x} ino:{inode:x} sdev:1 mask:{mask:x} ignored_mask:0 ")
        })
    }
}

impl State {
    /// What an overflow reads as, when all that was not lost has been read.
    fn overflow(&self) -> Option<Event> {
        let lost = Event { watch: -1, bits: bit::OVERFLOW, cookie: 0, name: Vec::new() };
        (self.has_lost && self.events.is_empty()).then_some(lost)
    }

    fn has_some(&self) -> bool {
        self.has_lost || !self.events.is_empty()
    }

    /// Moves events to where they are read to, as many as fit; how many bytes that took.
    fn read(&mut self, to: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(event) = self.events.front() {
            let Some(to) = to.get_mut(done..done + event.bytes()) else { return done };
            event.write(to);
            done += event.bytes();
            self.events.pop_front();
        }
        if let Some(lost) = self.overflow()
            && let Some(to) = to.get_mut(done..done + lost.bytes())
        {
            lost.write(to);
            done += lost.bytes();
            self.has_lost = false;
        }
        done
    }
}

impl Object for Inotify {
    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        let mut read = None;
        self.readiness.wait(how.nonblocking, || {
            let mut state = self.state.lock();
            if state.has_some() {
                read = Some(state.read(to));
            }
            read.is_some()
        })?;
        // 0: the first one does not fit.
        read.filter(|&read| read > 0).ok_or(Errno::EINVAL)
    }

    fn write(&self, _: &[u8], _: How) -> Result<usize, Errno> {
        Err(Errno::EBADF)
    }

    fn events(&self) -> u32 {
        if self.state.lock().has_some() { event::READABLE } else { 0 }
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.readiness)
    }

    fn ioctl(&self, request: u32, argument: u64, caller: &dyn Caller) -> SysResult {
        const FIONREAD: u32 = 0x541b;
        if request != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes = {
            let state = self.state.lock();
            let lost = if state.has_lost { Event::HEAD } else { 0 };
            state.events.iter().map(Event::bytes).sum::<usize>() + lost
        };
        caller.put(argument, &(bytes as u32).to_ne_bytes())?;
        Ok(0)
    }

    fn label(&self) -> &'static str {
        "anon_inode:inotify"
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let count = self.state.lock().watches.len();
        self.uncount(count);
        give_back(self.user, INSTANCES, 1);
    }
}

fn is_quiet() -> bool {
    COUNT.load(Ordering::Relaxed) == 0
}

/// Someone else is told from now on what happens to files.
pub(super) fn one_more() {
    COUNT.fetch_add(1, Ordering::SeqCst);
}

/// One of them is told no more.
pub(super) fn one_less() {
    COUNT.fetch_sub(1, Ordering::SeqCst);
}

fn with_kind(node: &Node, bits: u32) -> u32 {
    if node.is_directory() { bits | bit::IS_DIRECTORY } else { bits }
}

/// Something has happened to a node itself.
pub(crate) fn tell(node: &Node, bits: u32) {
    if is_quiet() {
        return;
    }
    // What ends or moves has never been said to be a directory.
    let is_of_self = bits & (bit::DELETE_SELF | bit::MOVE_SELF) != 0;
    let bits = if is_of_self { bits } else { with_kind(node, bits) };
    node.tell_followers(bits, 0, "", false);
}

/// Something has happened to a name in a directory, by which a node is or was there.
pub(crate) fn tell_name(directory: &Node, name: &str, node: &Node, bits: u32, cookie: u32) {
    if !is_quiet() {
        directory.tell_followers(with_kind(node, bits), cookie, name, false);
    }
}

/// The same of a name that led to what may be gone; `bits` say whether that was a directory.
pub(crate) fn tell_bits(directory: &Node, name: &str, bits: u32) {
    if !is_quiet() {
        directory.tell_followers(bits, 0, name, false);
    }
}

/// A number for two events that belong together.
pub(crate) fn cookie() -> u32 {
    if is_quiet() { 0 } else { NEXT_COOKIE.fetch_add(1, Ordering::Relaxed) }
}

/// Something has happened to a node that is in use: told to those who watch it, and to those who
/// watch the directory that it was opened in.
pub(crate) fn tell_known(node: &Node, known: &Known, bits: u32) {
    if is_quiet() {
        return;
    }
    if let Some((directory, name, is_gone)) = known.place() {
        directory.tell_followers(with_kind(node, bits), 0, &name, is_gone);
    }
    tell(node, bits);
}

/// The same of a node that a path led to.
pub(crate) fn tell_at(node: &Node, lies: &Lies, bits: u32) {
    if is_quiet() {
        return;
    }
    match lies {
        Lies::As(known) => return tell_known(node, known, bits),
        Lies::In(spot, name) => spot.node().tell_followers(with_kind(node, bits), 0, name, false),
        Lies::Here(spot) => {
            if let Some((directory, name)) = spot.place() {
                directory.tell_followers(with_kind(node, bits), 0, &name, false);
            }
        }
    }
    tell(node, bits);
}
