//! Terminals of programs (pty(7)): what is written to the master is typed on the slave, what the
//! slave's programs write is read from the master.
//!
//! ```text
//!   master ──write──▶ input modes, keys, line editing ──▶ ready ──read──▶ slave
//!      ▲                      │ echo                                        │
//!      └───read─── output ◀───┴──────────────── output modes ◀────write─────┘
//! ```
//!
//! `line` is what lies between the two, `requests` what both can be asked for. A slave's name is a
//! node of /dev/pts that is there for as long as its master is.

mod line;
mod requests;

use super::console::{self, Holder};
use super::notices::{Notice, Notices};
use super::object::{Caller, How, Named, Object};
use super::readiness::{Readiness, event};
use super::signaller::signal;
use super::spot::{Lies, Spot};
use super::termios::{FIRST, KEYS, NONE, key, mode};
use super::tree::{self, Content, Node, Special, Walked};
use crate::abi::Stat;
use crate::abi::signals::Signal;
use crate::error::{Errno, SysResult};
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};
use line::{Effect, MAX_LINE, State};
use machine::memory::fallible::{self, Text};
use machine::spin::SpinLock;
use threads::time;

/// Terminals at one time.
const MOST: usize = 256;
/// Bytes that wait to be read on either side.
const ROOM: usize = 4096;

/// The name of a slave that has none yet: no number that one gets.
const NAMELESS: u32 = u32::MAX;

/// Both sides.
#[derive(Debug)]
struct Pty {
    number: usize,
    /// The directory of its slave's name, and the number that the name is.
    place: Spot,
    name: AtomicU32,
    state: SpinLock<State>,
    /// Of the two sides: what the other one does changes it.
    of_master: Readiness,
    of_slave: Readiness,
    /// Who is told of input by a signal, on either side.
    to_master: Notices,
    to_slave: Notices,
}

static PTYS: SpinLock<Vec<Weak<Pty>>> = SpinLock::new(Vec::new());
static COUNT: AtomicU32 = AtomicU32::new(0);
/// Directories that slaves have their names in: /dev/pts, and what was mounted as another one.
static DIRECTORIES: SpinLock<Vec<(Weak<Node>, Rules)>> = SpinLock::new(Vec::new());

/// What the slaves of a directory are like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) permissions: u32,
    /// Whose they are; `None`: those of the program that opens the master.
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    /// How many there may be.
    pub(crate) most: usize,
}

impl Rules {
    /// Those of /dev/pts.
    pub(crate) const USUAL: Self = Self { permissions: 0o620, user: None, group: None, most: MOST };
}

/// From now on slaves may have their names in a directory.
pub(crate) fn add_directory(directory: &Arc<Node>, rules: Rules) -> Result<(), Errno> {
    let mut all = DIRECTORIES.lock();
    // What is let go of is memory alone.
    all.retain(|(other, _)| other.strong_count() > 0);
    Ok(fallible::push(&mut all, (Arc::downgrade(directory), rules))?)
}

/// The rules of a directory; `None`: it has no slaves.
fn rules_of(node: &Arc<Node>) -> Option<Rules> {
    let all = DIRECTORIES.lock();
    let is_it = |other: &Weak<Node>| core::ptr::eq(other.as_ptr(), Arc::as_ptr(node));
    all.iter().find(|(other, _)| is_it(other)).map(|&(_, rules)| rules)
}

/// Where the slave of a new pair gets its name: in the directory that the ptmx lies in, or in `pts`
/// beside that. `ENODEV`: neither has slaves.
fn directory_of(ptmx: &Spot) -> Result<(Spot, Rules), Errno> {
    if let Some(rules) = rules_of(ptmx.node()) {
        return Ok((ptmx.clone(), rules));
    }
    let beside = tree::walk(ptmx.clone(), fallible::text("pts")?, true, &|_| Ok(()));
    let Ok(Walked::Node(node, Lies::Here(spot))) = beside else { return Err(Errno::ENODEV) };
    rules_of(&node).map(|rules| (spot, rules)).ok_or(Errno::ENODEV)
}

fn with_room(bytes: usize) -> Result<VecDeque<u8>, Errno> {
    let mut queue = VecDeque::new();
    queue.try_reserve_exact(bytes).map_err(|_| Errno::ENOMEM)?;
    Ok(queue)
}

impl Pty {
    fn new(place: Spot) -> Result<Arc<Self>, Errno> {
        let mut ready = VecDeque::new();
        ready.try_reserve_exact(ROOM + MAX_LINE + 2).map_err(|_| Errno::ENOMEM)?;
        let state = State {
            modes: FIRST,
            locked: NONE,
            size: [0; 4],
            line: Vec::new(),
            ready,
            output: with_room(ROOM + 16)?,
            is_held: false,
            is_locked: true,
            has_master: true,
            slaves: 0,
            was_opened: false,
            session: 0,
            foreground: 0,
        };
        let mut ptys = PTYS.lock();
        let free = ptys.iter().position(|pty| pty.strong_count() == 0);
        let number = free.unwrap_or(ptys.len());
        if number >= MOST {
            return Err(Errno::ENOSPC);
        }
        let (of_master, of_slave) = (Readiness::new(), Readiness::new());
        let state = SpinLock::new(state);
        let (to_master, to_slave) = (Notices::new(), Notices::new());
        let name = AtomicU32::new(NAMELESS);
        let pty = fallible::shared(Self {
            number,
            place,
            name,
            state,
            of_master,
            of_slave,
            to_master,
            to_slave,
        })?;
        match ptys.get_mut(number) {
            Some(place) => *place = Arc::downgrade(&pty),
            None => fallible::push(&mut ptys, Arc::downgrade(&pty))?,
        }
        COUNT.fetch_add(1, Ordering::SeqCst);
        Ok(pty)
    }

    /// Its slave's name.
    fn name(&self) -> Result<String, Errno> {
        let mut name = Text::new();
        write!(name, "{}", self.number()).map_err(|_| Errno::ENOMEM)?;
        Ok(name.into_string())
    }

    /// The number that is.
    fn number(&self) -> u32 {
        self.name.load(Ordering::Relaxed)
    }

    /// Gives a slave the first name that is free.
    fn take_name(&self, node: &Arc<Node>, most: usize) -> Result<(), Errno> {
        let mut result = Err(Errno::ENOSPC);
        for number in 0..most.min(MOST) as u32 {
            self.name.store(number, Ordering::Relaxed);
            result = tree::add_in(&self.place, &self.name()?, node.clone());
            if result != Err(Errno::EEXIST) {
                break;
            }
            result = Err(Errno::ENOSPC);
        }
        if result.is_err() {
            self.name.store(NAMELESS, Ordering::Relaxed);
        }
        result
    }
}

/// The side of the program that is the terminal.
#[derive(Debug)]
pub(crate) struct Master {
    pty: Arc<Pty>,
}

impl Master {
    /// /dev/ptmx: a new pair, and the slave's name.
    pub(crate) fn open(ptmx: &Spot, user: u32, group: u32) -> Result<Arc<Self>, Errno> {
        let (place, rules) = directory_of(ptmx)?;
        let master = fallible::shared(Self { pty: Pty::new(place)? })?;
        let content = Content::Special(Special::Slave(master.pty.number as u32));
        let node = Node::new(content, rules.permissions)?;
        node.attributes.set_owner(rules.user.unwrap_or(user), rules.group.unwrap_or(group));
        master.pty.take_name(&node, rules.most)?;
        Ok(master)
    }

    /// Opens its slave without a path (TIOCGPTPEER).
    pub(crate) fn open_slave(&self) -> Result<Arc<Slave>, Errno> {
        let node = self.pty.place.node().child(&self.pty.name()?).map_err(|_| Errno::EIO)?;
        Slave::open(self.pty.number as u32, node)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Ordering::SeqCst);
        let (session, foreground) = {
            let mut state = self.pty.state.lock();
            state.has_master = false;
            (state.session, state.foreground)
        };
        if let Ok(name) = self.pty.name() {
            // Where there is no memory for its name, the name stays and leads to nothing.
            let _gone = tree::remove_in(&self.pty.place, &name, false);
        }
        self.pty.of_slave.wake();
        // The line is cut: who leads the session is told, and the group in its foreground.
        for group in [session, foreground] {
            signal(group, Signal::HUP);
            signal(group, Signal::CONT);
        }
    }
}

impl Object for Master {
    fn is_gathered(&self) -> bool {
        true
    }

    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        if to.is_empty() {
            return Ok(0);
        }
        let pty = &self.pty;
        let mut read = 0;
        let mut is_cut = false;
        pty.of_master.wait(how.nonblocking, || {
            let mut state = pty.state.lock();
            if !state.is_held {
                read = super::pipe::take(&mut state.output, to);
            }
            is_cut = state.was_opened && state.slaves == 0;
            read > 0 || is_cut
        })?;
        if read == 0 && is_cut {
            return Err(Errno::EIO);
        }
        pty.of_slave.wake();
        Ok(read)
    }

    fn write(&self, from: &[u8], how: How) -> Result<usize, Errno> {
        let pty = &self.pty;
        let mut written = 0;
        while written < from.len() {
            let mut effect = Effect::None;
            let mut group = 0;
            let before = written;
            let waited = pty.of_master.wait(how.nonblocking, || {
                let mut state = pty.state.lock();
                while written < from.len() && state.ready.len() < ROOM && effect == Effect::None {
                    effect = state.type_byte(from[written]);
                    group = state.foreground;
                    written += 1;
                }
                written > before
            });
            match waited {
                Ok(()) => {}
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
            if let Effect::Signal(number) = effect {
                signal(group, number);
            }
            pty.of_slave.wake();
            pty.of_master.wake();
            if pty.state.lock().has_input() {
                pty.to_slave.tell(Notice::Input);
            }
        }
        Ok(written)
    }

    fn events(&self) -> u32 {
        let state = self.pty.state.lock();
        let mut events = 0;
        if !state.output.is_empty() && !state.is_held {
            events |= event::READABLE;
        }
        if state.ready.len() < ROOM {
            events |= event::WRITABLE;
        }
        if state.was_opened && state.slaves == 0 {
            events |= event::HUP;
        }
        events
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.pty.of_master)
    }

    fn notices(&self) -> [Option<&Notices>; 2] {
        [Some(&self.pty.to_master), None]
    }

    fn ioctl(&self, request: u32, argument: u64, caller: &dyn Caller) -> SysResult {
        const TIOCGPTN: u32 = 0x8004_5430;
        const TIOCSPTLCK: u32 = 0x4004_5431;
        const TIOCGPTLCK: u32 = 0x8004_5439;
        const TIOCSIG: u32 = 0x4004_5436;
        match request {
            TIOCGPTN => caller.put(argument, &self.pty.number().to_le_bytes())?,
            TIOCSPTLCK => {
                let mut bytes = [0; 4];
                caller.get(argument, &mut bytes)?;
                self.pty.state.lock().is_locked = bytes != [0; 4];
            }
            TIOCGPTLCK => {
                let is_locked = self.pty.state.lock().is_locked;
                caller.put(argument, &u32::from(is_locked).to_le_bytes())?;
            }
            TIOCSIG => {
                let number = match argument {
                    2 => Signal::INT,
                    3 => Signal::QUIT,
                    20 => Signal::TSTP,
                    _ => return Err(Errno::EINVAL),
                };
                let group = self.pty.state.lock().foreground;
                signal(group, number);
            }
            request => return self.pty.ioctl(request, argument, caller, true),
        }
        Ok(0)
    }

    fn stat(&self) -> Stat {
        Stat { inode: 2, mode: 0o020666, links: 1, device: 5 << 8 | 2, ..Stat::default() }
    }

    fn label(&self) -> &'static str {
        "/dev/ptmx"
    }
}

/// The side of the programs that have the terminal.
#[derive(Debug)]
pub(crate) struct Slave {
    pty: Arc<Pty>,
    node: Arc<dyn Named>,
}

impl Slave {
    /// /dev/pts/NUMBER. `EIO`: it is locked, or has no master any more.
    pub(crate) fn open(number: u32, node: Arc<dyn Named>) -> Result<Arc<Self>, Errno> {
        let pty = PTYS.lock().get(number as usize).and_then(Weak::upgrade).ok_or(Errno::EIO)?;
        {
            let mut state = pty.state.lock();
            if state.is_locked || !state.has_master {
                return Err(Errno::EIO);
            }
            state.slaves += 1;
            state.was_opened = true;
        }
        // Where there is no memory for it, what was counted is taken back as it is dropped.
        Ok(fallible::shared(Self { pty, node })?)
    }

    /// A session that has no terminal gets this one, if none has it.
    pub(crate) fn give_to(&self, session: u64, group: u64) {
        if of_session(session).is_some() || console::holder().session == session {
            return;
        }
        let mut state = self.pty.state.lock();
        if state.session == 0 {
            (state.session, state.foreground) = (session, group);
        }
    }

    /// The path of its name.
    pub(crate) fn path(&self) -> Result<String, Errno> {
        self.pty.place.path_of(&self.pty.name()?)
    }

    /// The session that has it, and the group in its foreground.
    pub(crate) fn holder(&self) -> Holder {
        let state = self.pty.state.lock();
        Holder { session: state.session, foreground: state.foreground }
    }

    /// Whether who writes from the background is stopped.
    pub(crate) fn stops_output(&self) -> bool {
        self.pty.state.lock().has(mode::STOP_OUTPUT)
    }

    /// Reads without lines: at least so many, or what came in time (termios(3)).
    fn read_raw(&self, to: &mut [u8], how: How, keys: [u8; KEYS]) -> Result<usize, Errno> {
        let pty = &self.pty;
        let (least, tenths) = (usize::from(keys[key::LEAST]), u64::from(keys[key::TIME]));
        let least = least.min(to.len());
        let wait = tenths * 100_000_000;
        let mut read = 0;
        let mut is_cut = false;
        loop {
            let deadline = match (least, read, tenths) {
                (0, _, 0) => Some(0),
                (0, _, _) => Some(time::later(wait)),
                (_, 0, _) | (_, _, 0) => None,
                _ => Some(time::later(wait)),
            };
            let mut more = 0;
            let mut look = || {
                let mut state = pty.state.lock();
                more = state.read(&mut to[read..]);
                is_cut = !state.has_master;
                more > 0 || is_cut
            };
            if look() {
                read += more;
            } else if how.nonblocking {
                return if read > 0 { Ok(read) } else { Err(Errno::EAGAIN) };
            } else {
                match pty.of_slave.wait_deadline(look, deadline) {
                    Ok(_) => read += more,
                    Err(_) if read > 0 => return Ok(read),
                    Err(error) => return Err(error),
                }
                if more == 0 && !is_cut {
                    return Ok(read);
                }
            }
            if read >= least.max(1) || is_cut {
                return Ok(read);
            }
        }
    }
}

impl Drop for Slave {
    fn drop(&mut self) {
        let mut state = self.pty.state.lock();
        state.slaves -= 1;
        drop(state);
        self.pty.of_master.wake();
    }
}

impl Object for Slave {
    fn is_gathered(&self) -> bool {
        true
    }

    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        if to.is_empty() {
            return Ok(0);
        }
        let pty = &self.pty;
        let modes = pty.state.lock().modes;
        if modes.local & mode::LINES == 0 {
            let read = self.read_raw(to, how, modes.keys)?;
            pty.of_master.wake();
            return Ok(read);
        }
        let mut read = 0;
        pty.of_slave.wait(how.nonblocking, || {
            let mut state = pty.state.lock();
            let is_there = state.has_input();
            if is_there {
                read = state.read(to);
            }
            is_there || !state.has_master
        })?;
        pty.of_master.wake();
        Ok(read)
    }

    fn write(&self, from: &[u8], how: How) -> Result<usize, Errno> {
        let pty = &self.pty;
        let mut written = 0;
        while written < from.len() {
            let before = written;
            let mut is_cut = false;
            let waited = pty.of_slave.wait(how.nonblocking, || {
                let mut state = pty.state.lock();
                is_cut = !state.has_master;
                while !is_cut && !state.is_held && written < from.len() && state.output.len() < ROOM
                {
                    state.put(from[written]);
                    written += 1;
                }
                written > before || is_cut
            });
            match waited {
                Ok(()) if is_cut => return Err(Errno::EIO),
                Ok(()) => {}
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
            pty.of_master.wake();
            pty.to_master.tell(Notice::Input);
        }
        Ok(written)
    }

    fn events(&self) -> u32 {
        let state = self.pty.state.lock();
        if !state.has_master {
            return event::READABLE | event::WRITABLE | event::HUP | event::ERR;
        }
        let input = if state.has_input() { event::READABLE } else { 0 };
        let has_room = !state.is_held && state.output.len() < ROOM;
        input | if has_room { event::WRITABLE } else { 0 }
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&self.pty.of_slave)
    }

    fn notices(&self) -> [Option<&Notices>; 2] {
        [Some(&self.pty.to_slave), None]
    }

    fn foreground(&self) -> Option<u64> {
        Some(self.holder().foreground)
    }

    fn ioctl(&self, request: u32, argument: u64, caller: &dyn Caller) -> SysResult {
        self.pty.ioctl(request, argument, caller, false)
    }

    fn stat(&self) -> Stat {
        self.node.named_stat()
    }

    fn label(&self) -> &'static str {
        "/dev/pts"
    }
}

/// The terminal of a session, if it is one of these, by its number.
pub(crate) fn of_session(session: u64) -> Option<u32> {
    with_foreground(session).map(|(number, _)| number)
}

/// The same, with the process group in its foreground.
pub(crate) fn with_foreground(session: u64) -> Option<(u32, u64)> {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return None;
    }
    let ptys = PTYS.lock();
    ptys.iter().filter_map(Weak::upgrade).find_map(|pty| {
        let state = pty.state.lock();
        (state.session == session).then_some((pty.number as u32, state.foreground))
    })
}

/// Who leads a session has ended: the group in the foreground of its terminal is told, and the
/// terminal is free (`disassociate_ctty`).
pub(crate) fn leader_ends(session: u64) {
    if COUNT.load(Ordering::SeqCst) == 0 {
        return;
    }
    let found = {
        let ptys = PTYS.lock();
        ptys.iter().filter_map(Weak::upgrade).find(|pty| pty.state.lock().session == session)
    };
    if let Some(pty) = found {
        let foreground = {
            let mut state = pty.state.lock();
            state.session = 0;
            core::mem::take(&mut state.foreground)
        };
        signal(foreground, Signal::HUP);
    }
}
