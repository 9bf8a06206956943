//! Local sockets by name (unix(7)): one is bound to a name and listens, another one connects to it,
//! and the first one accepts what becomes the other end; or datagrams are sent to a name.
//!
//! ```text
//!   socket()      a pair, whose second end is kept by the first:       [ mine | other ]
//!   connect()     the second end goes into the queue of who listens    [ mine | ───────▶ queue
//!   accept()      and out of it, to the program that listens
//! ```
//!
//! A name is a node of the tree, or, if it begins with a zero, only a name. Both lead to the pair
//! without being users of it: a socket that has gone is found no more.
//!
//! # Order of locks
//!
//! The ends of who listens, then nothing: a socket's own ends and stage are locked before or
//! afterwards. What is dropped is dropped without them.

use super::socket::{ABSTRACT, At, Kind, Maker, Name, Pair, Socket};
use super::socket_bounds::PASS_CREDENTIALS;
use crate::error::Errno;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use machine::memory::fallible;

/// The most that can wait to be accepted (`SOMAXCONN`).
const MAX_BACKLOG: usize = 4096;

/// The name that a socket gets which is bound to none.
static NEXT_NAME: AtomicU32 = AtomicU32::new(0);

/// The socket that is bound to such a name.
pub(crate) fn of_abstract(name: &[u8]) -> Option<Arc<Pair>> {
    let names = ABSTRACT.lock();
    names.iter().find(|(one, _)| one.as_slice() == name).and_then(|(_, pair)| pair.upgrade())
}

impl Socket {
    /// One that is connected to none.
    pub(crate) fn alone(kind: Kind, maker: Maker) -> Result<Arc<Self>, Errno> {
        let [mine, other] = Self::pair(kind, maker)?;
        mine.stage.set(match kind {
            Kind::Datagram => At::Datagrams(None),
            _ => At::Alone(other),
        });
        Ok(mine)
    }

    /// What it is known by in the tree.
    pub(crate) fn known_by(&self) -> Weak<Pair> {
        Arc::downgrade(&self.pair)
    }

    /// Its own name and that of its other end.
    pub(crate) fn names(&self) -> [Option<Name>; 2] {
        let ends = self.pair.ends.lock();
        [ends.names[self.mine].clone(), ends.names[1 - self.mine].clone()]
    }

    /// Who made the other end, or listened for it.
    pub(crate) fn maker_of_other(&self) -> Maker {
        match self.is_connected() {
            true => self.pair.ends.lock().makers[1 - self.mine],
            false => Maker::default(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(*self.stage.0.lock(), At::Connected | At::Datagrams(Some(_)))
    }

    pub(crate) fn is_listening(&self) -> bool {
        matches!(*self.stage.0.lock(), At::Listening)
    }

    /// Gives it a name. `EINVAL`: it has one.
    pub(crate) fn set_name(&self, name: Name) -> Result<(), Errno> {
        let mut ends = self.pair.ends.lock();
        if ends.names[self.mine].is_some() {
            return Err(Errno::EINVAL);
        }
        ends.names[self.mine] = Some(name);
        Ok(())
    }

    /// Takes the name back, which could not be entered anywhere.
    pub(crate) fn take_name(&self) {
        let name = self.pair.ends.lock().names[self.mine].take();
        drop(name);
    }

    /// Gives it a name that is not in the tree.
    pub(crate) fn bind_abstract(&self, name: Vec<u8>) -> Result<(), Errno> {
        let name = fallible::shared(name)?;
        self.set_name(name.clone())?;
        let entered = {
            let mut names = ABSTRACT.lock();
            if names.iter().any(|(one, _)| *one == name) {
                Err(Errno::EADDRINUSE)
            } else {
                fallible::push(&mut names, (name, self.known_by())).map_err(Errno::from)
            }
        };
        entered.inspect_err(|_| self.take_name())
    }

    /// The same, to a name that is chosen: a zero and five hexadecimal digits.
    pub(crate) fn bind_any(&self) -> Result<(), Errno> {
        const NAMES: u32 = 1 << 20;
        for _ in 0..NAMES {
            let number = NEXT_NAME.fetch_add(1, Ordering::Relaxed) % NAMES;
            let digit = |at: u32| b"0123456789abcdef"[(number >> (4 * at)) as usize & 15];
            let name = [0, digit(4), digit(3), digit(2), digit(1), digit(0)];
            match self.bind_abstract(fallible::bytes(&name)?) {
                Err(Errno::EADDRINUSE) => {}
                bound => return bound,
            }
        }
        Err(Errno::ENOSPC)
    }

    /// Waits for others to connect.
    pub(crate) fn listen(&self, backlog: i32, maker: Maker) -> Result<(), Errno> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let before = {
            let mut stage = self.stage.0.lock();
            match &*stage {
                At::Alone(_) | At::Listening => {}
                _ => return Err(Errno::EINVAL),
            }
            let mut ends = self.pair.ends.lock();
            if ends.names[self.mine].is_none() {
                return Err(Errno::EINVAL);
            }
            ends.queue.get_or_insert_default();
            ends.backlog = usize::try_from(backlog).unwrap_or(MAX_BACKLOG).min(MAX_BACKLOG);
            ends.makers[self.mine] = maker;
            core::mem::replace(&mut *stage, At::Listening)
        };
        drop(before);
        // Those that found the queue full look again.
        self.pair.readiness.wake();
        Ok(())
    }

    /// The other end of the next one that has connected.
    pub(crate) fn accept(&self, nonblocking: bool) -> Result<Arc<Self>, Errno> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut accepted = Err(Errno::EINVAL);
        let time = self.bounds.receive_time.load(Ordering::Relaxed);
        self.pair.readiness.wait_at_most(nonblocking, time, || {
            let mut ends = self.pair.ends.lock();
            let Some(queue) = &mut ends.queue else { return true };
            let Some(next) = queue.pop_front() else { return false };
            accepted = Ok(next);
            true
        })?;
        if let Ok(accepted) = &accepted {
            accepted.switch(PASS_CREDENTIALS, self.has(PASS_CREDENTIALS));
            // There is room in the queue.
            self.pair.readiness.wake();
        }
        accepted
    }

    /// Connects it to a socket.
    pub(crate) fn connect(
        &self,
        to: &Arc<Pair>,
        nonblocking: bool,
        maker: Maker,
    ) -> Result<(), Errno> {
        if to.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        if self.kind == Kind::Datagram {
            return self.send_to(Some(to.clone()));
        }
        let other = {
            let mut stage = self.stage.0.lock();
            match core::mem::replace(&mut *stage, At::Connecting) {
                At::Alone(other) => other,
                before => {
                    let is_listening = matches!(before, At::Listening);
                    *stage = before;
                    return Err(if is_listening { Errno::EINVAL } else { Errno::EISCONN });
                }
            }
        };
        let (name, makers) = {
            let ends = to.ends.lock();
            (ends.names[0].clone(), [maker, ends.makers[0]])
        };
        {
            let mut ends = self.pair.ends.lock();
            (ends.names[1], ends.makers) = (name, makers);
        }
        let mut other = Some(other);
        let mut result = Err(Errno::ECONNREFUSED);
        let time = self.bounds.send_time.load(Ordering::Relaxed);
        let waited = to.readiness.wait_at_most(nonblocking, time, || {
            let mut ends = to.ends.lock();
            let backlog = ends.backlog;
            let Some(queue) = &mut ends.queue else { return true };
            if queue.len() > backlog {
                return false;
            }
            if queue.try_reserve(1).is_err() {
                result = Err(Errno::ENOMEM);
                return true;
            }
            // CANNOT FAIL: reserved right here.
            queue.extend(other.take());
            result = Ok(());
            true
        });
        let result = waited.and(result);
        match other {
            None => self.stage.set(At::Connected),
            Some(other) => {
                let name = self.pair.ends.lock().names[1].take();
                drop(name);
                self.stage.set(At::Alone(other));
            }
        }
        if result.is_ok() {
            to.readiness.wake();
            self.pair.readiness.wake();
        }
        result
    }

    /// Whom datagrams are sent to from now on.
    pub(crate) fn send_to(&self, to: Option<Arc<Pair>>) -> Result<(), Errno> {
        let name = to.as_ref().and_then(|to| to.ends.lock().names[0].clone());
        let before = {
            let mut stage = self.stage.0.lock();
            if !matches!(*stage, At::Datagrams(_)) {
                return Err(Errno::EISCONN);
            }
            core::mem::replace(&mut *stage, At::Datagrams(to))
        };
        let name = core::mem::replace(&mut self.pair.ends.lock().names[1], name);
        drop((before, name));
        Ok(())
    }
}
