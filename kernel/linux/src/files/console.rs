//! The console, as a terminal (termios(3)): the serial line, its modes, and the process group in
//! its foreground.
//!
//! What is typed waits in `threads::terminal` until it is read, so that what a program has not read
//! is there for the next one. Only the keys that send a signal are seen at once, in the interrupt,
//! while programs have the terminal.

use super::notices::{Notice, Notices};
use super::object::{Caller, How, Object};
use super::readiness::{Readiness, event};
use super::signaller::{self, Signaller};
use super::termios::{
    FIRST, Modes, NONE, TERMIO, TERMIOS, decode, decode_short, encode, encode_short, key, mode,
};
use crate::abi::Stat;
use crate::abi::signals::Signal;
use crate::error::{Errno, SysResult};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use machine::memory::fallible;
use machine::spin::SpinLock;
use threads::terminal::{self, Size};
use threads::time;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Console {
    /// A value without bytes has no place on the heap.
    _one: bool,
}

/// Bytes of a line that is edited: what is typed beyond them is dropped.
const MAX_LINE: usize = 1024;

#[derive(Debug)]
struct State {
    modes: Modes,
    /// What of them is locked.
    locked: Modes,
    /// Rows, columns, and two that mean nothing.
    size: [u16; 4],
    line: [u8; MAX_LINE],
    length: usize,
    /// Bytes of a line that is whole: they can be read.
    ready: usize,
    /// The key for the end was typed on an empty line, or ended one.
    is_end: bool,
    session: u64,
    foreground: u64,
}

static STATE: SpinLock<State> = SpinLock::new(State {
    modes: FIRST,
    locked: NONE,
    size: [24, 80, 0, 0],
    line: [0; MAX_LINE],
    length: 0,
    ready: 0,
    is_end: false,
    session: 0,
    foreground: 0,
});
/// Whether a person's terminal is at the other end: then the modes of output count. Other readers
/// get a program's bytes as they are.
static IS_TERMINAL: AtomicBool = AtomicBool::new(false);
static READINESS: Readiness = Readiness::new();
static NOTICES: Notices = Notices::new();

/// Who has the terminal: a session, and the process group in its foreground. 0: no program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    pub(crate) session: u64,
    pub(crate) foreground: u64,
}

/// The console.
pub(crate) fn open() -> Result<Arc<dyn Object>, Errno> {
    Ok(fallible::shared(Console { _one: true })?)
}

/// Gives the terminal to a program that the kernel starts, with its first modes; gives out who had
/// it.
pub(crate) fn attach(holder: Holder, signaller: Signaller) -> Holder {
    signaller::set(signaller);
    terminal::set_listener(input_arrived, sends_signal);
    let mut state = STATE.lock();
    let before = Holder { session: state.session, foreground: state.foreground };
    (state.session, state.foreground) = (holder.session, holder.foreground);
    state.modes = FIRST;
    state.locked = NONE;
    before
}

/// Who has it.
pub(crate) fn holder() -> Holder {
    let state = STATE.lock();
    Holder { session: state.session, foreground: state.foreground }
}

/// A person's terminal is at the other end: its keys and its size come from there, and what is
/// written goes there as the modes say.
pub(crate) fn begin_terminal(size: Size) {
    IS_TERMINAL.store(true, Ordering::Relaxed);
    resized(size);
    terminal::begin_frames(resized);
}

/// The terminal has another size: the programs in its foreground are told. Also in the interrupt.
fn resized(Size { rows, columns }: Size) {
    set_size([rows, columns, 0, 0]);
}

fn set_size(size: [u16; 4]) {
    let (before, foreground) = {
        let mut state = STATE.lock();
        (core::mem::replace(&mut state.size, size), state.foreground)
    };
    if before != size {
        signaller::signal(foreground, Signal::WINCH);
    }
}

/// Writes as the modes of output say.
fn write_processed(from: &[u8]) {
    let wanted = mode::PROCESSED | mode::NEWLINE_AS_BOTH;
    if !IS_TERMINAL.load(Ordering::Relaxed) || STATE.lock().modes.output & wanted != wanted {
        return terminal::write_user(from);
    }
    for line in from.split_inclusive(|&byte| byte == b'\n') {
        match line.split_last() {
            Some((b'\n', line)) => {
                terminal::write_user(line);
                terminal::write_user(b"\r\n");
            }
            _ => terminal::write_user(line),
        }
    }
}

/// Whether who writes from the background is stopped.
pub(crate) fn stops_output() -> bool {
    STATE.lock().modes.local & mode::STOP_OUTPUT != 0
}

/// Who leads the session has ended: the group in the foreground is told, and the terminal is free.
pub(crate) fn leader_ends(session: u64) {
    let foreground = {
        let mut state = STATE.lock();
        if state.session != session {
            return;
        }
        state.session = 0;
        core::mem::take(&mut state.foreground)
    };
    signaller::signal(foreground, Signal::HUP);
}

/// Something was typed.
fn input_arrived() {
    READINESS.wake();
    NOTICES.tell(Notice::Input);
}

/// Whether a key that was typed sends a signal: it is not kept then. In the interrupt.
fn sends_signal(byte: u8) -> bool {
    let (group, signal) = {
        let mut state = STATE.lock();
        if state.foreground == 0 || state.modes.local & mode::SIGNALS == 0 || byte == 0 {
            return false;
        }
        let keys = state.modes.keys;
        let signal = match byte {
            _ if byte == keys[key::INTERRUPT] => Signal::INT,
            _ if byte == keys[key::QUIT] => Signal::QUIT,
            _ if byte == keys[key::SUSPEND] => Signal::TSTP,
            _ => return false,
        };
        state.echo(byte);
        if state.modes.local & mode::NO_FLUSH == 0 {
            state.flush();
        }
        (state.foreground, signal)
    };
    signaller::signal(group, signal);
    true
}

impl State {
    /// Drops what was typed and not read.
    fn flush(&mut self) {
        (self.length, self.ready, self.is_end) = (0, 0, false);
        let mut dropped = [0; 64];
        while terminal::take(&mut dropped) > 0 {}
    }

    fn is_by_lines(&self) -> bool {
        self.modes.local & mode::LINES != 0
    }

    fn echo(&self, byte: u8) {
        let local = self.modes.local;
        match byte {
            b'\n' if local & (mode::ECHO | mode::ECHO_NEWLINE) != 0 => {
                terminal::write_user(b"\r\n")
            }
            _ if local & mode::ECHO == 0 => {}
            0..0x20 | 0x7f if byte != b'\t' && local & mode::ECHO_CONTROL != 0 => {
                terminal::write_user(&[b'^', byte ^ 0x40]);
            }
            _ => terminal::write_user(&[byte]),
        }
    }

    /// The next byte that was typed, as the input modes have it.
    fn next(&self) -> Option<u8> {
        loop {
            let mut byte = [0];
            if terminal::take(&mut byte) == 0 {
                return None;
            }
            let input = self.modes.input;
            return Some(match byte[0] {
                b'\r' if input & mode::NO_RETURN != 0 => continue,
                b'\r' if input & mode::RETURN_TO_NEWLINE != 0 => b'\n',
                b'\n' if input & mode::NEWLINE_TO_RETURN != 0 => b'\r',
                byte => byte,
            });
        }
    }

    /// Edits the line with what was typed, until it is whole.
    fn edit(&mut self) {
        while self.ready == 0 && !self.is_end {
            let Some(byte) = self.next() else { return };
            let keys = self.modes.keys;
            let is = |place: usize| keys[place] != 0 && byte == keys[place];
            if is(key::END) {
                (self.ready, self.is_end) = (self.length, true);
            } else if is(key::ERASE) || byte == 8 && keys[key::ERASE] == 0x7f {
                self.erase();
            } else if is(key::KILL) {
                self.length = 0;
                if self.modes.local & mode::ECHO_KILL != 0 {
                    self.echo(byte);
                    self.echo(b'\n');
                }
            } else if is(key::ERASE_WORD) && self.modes.local & mode::EXTENDED != 0 {
                while self.length > 0 && self.line[self.length - 1] == b' ' {
                    self.erase();
                }
                while self.length > 0 && self.line[self.length - 1] != b' ' {
                    self.erase();
                }
            } else {
                let ends = byte == b'\n' || is(key::END_OF_LINE);
                // The last place is kept for the line's end.
                if self.length < MAX_LINE - usize::from(!ends) {
                    self.line[self.length] = byte;
                    self.length += 1;
                    self.echo(byte);
                }
                if ends {
                    self.ready = self.length;
                }
            }
        }
    }

    fn erase(&mut self) {
        if self.length > 0 {
            self.length -= 1;
            if self.modes.local & mode::ECHO != 0 && self.modes.local & mode::ECHO_ERASE != 0 {
                terminal::write_user(b"\x08 \x08");
            }
        }
    }

    /// Takes bytes from the front of the line.
    fn take(&mut self, count: usize, to: &mut [u8]) -> usize {
        let count = count.min(to.len());
        to[..count].copy_from_slice(&self.line[..count]);
        self.line.copy_within(count..self.length, 0);
        self.length -= count;
        self.ready = self.ready.saturating_sub(count);
        if self.ready == 0 && count > 0 {
            self.is_end = false;
        }
        count
    }

    /// Reads a line, or what fits of it. `None`: there is none yet.
    fn read_line(&mut self, to: &mut [u8]) -> Option<usize> {
        self.edit();
        if self.ready == 0 && self.is_end {
            self.is_end = false;
            return Some(0);
        }
        (self.ready > 0).then(|| self.take(self.ready, to))
    }

    /// Reads what was typed, as it is.
    fn read_raw(&mut self, to: &mut [u8]) -> usize {
        let mut read = self.take(self.length, to);
        while read < to.len() {
            let Some(byte) = self.next() else { break };
            self.echo(byte);
            to[read] = byte;
            read += 1;
        }
        read
    }

    fn has_input(&mut self) -> bool {
        if self.is_by_lines() {
            self.edit();
            return self.ready > 0 || self.is_end;
        }
        self.length > 0 || terminal::has_input()
    }
}

/// Reads without lines: at least `least` bytes, or what came in time (termios(3), "Noncanonical
/// mode").
fn read_raw(to: &mut [u8], how: How, least: usize, tenths: u64) -> Result<usize, Errno> {
    let least = least.min(to.len());
    let mut read = STATE.lock().read_raw(to);
    let wait = tenths * 100_000_000;
    // The time counts from the first byte, if one is waited for.
    if read == 0 && least > 0 {
        READINESS.wait(how.nonblocking, || {
            read = STATE.lock().read_raw(to);
            read > 0
        })?;
    }
    while read < least.max(usize::from(tenths > 0 && least == 0)) {
        if how.nonblocking {
            return if read > 0 { Ok(read) } else { Err(Errno::EAGAIN) };
        }
        let deadline = (tenths > 0).then(|| time::later(wait));
        let mut more = 0;
        let waited = READINESS.wait_deadline(
            || {
                more = STATE.lock().read_raw(&mut to[read..]);
                more > 0
            },
            deadline,
        );
        match waited {
            Ok(_) if more == 0 => break,
            Ok(_) => read += more,
            Err(_) if read > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

impl Object for Console {
    fn is_gathered(&self) -> bool {
        true
    }

    fn read(&self, to: &mut [u8], how: How) -> Result<usize, Errno> {
        if to.is_empty() {
            return Ok(0);
        }
        let modes = {
            let state = STATE.lock();
            (!state.is_by_lines()).then_some(state.modes.keys)
        };
        if let Some(keys) = modes {
            return read_raw(to, how, keys[key::LEAST].into(), keys[key::TIME].into());
        }
        let mut read = 0;
        READINESS.wait(how.nonblocking, || match STATE.lock().read_line(to) {
            Some(bytes) => {
                read = bytes;
                true
            }
            None => false,
        })?;
        Ok(read)
    }

    fn write(&self, from: &[u8], _how: How) -> Result<usize, Errno> {
        write_processed(from);
        Ok(from.len())
    }

    fn events(&self) -> u32 {
        event::WRITABLE | if STATE.lock().has_input() { event::READABLE } else { 0 }
    }

    fn readiness(&self) -> Option<&Readiness> {
        Some(&READINESS)
    }

    fn notices(&self) -> [Option<&Notices>; 2] {
        [Some(&NOTICES), None]
    }

    fn foreground(&self) -> Option<u64> {
        Some(holder().foreground)
    }

    fn ioctl(&self, request: u32, argument: u64, caller: &dyn Caller) -> SysResult {
        ioctl(request, argument, caller)
    }

    fn stat(&self) -> Stat {
        Stat { inode: 1, mode: 0o020620, links: 1, device: 5 << 8 | 1, ..Stat::default() }
    }

    fn label(&self) -> &'static str {
        "/dev/console"
    }
}

fn ioctl(request: u32, argument: u64, caller: &dyn Caller) -> SysResult {
    const TCGETS: u32 = 0x5401;
    const TCSETS: u32 = 0x5402;
    const TCSETSF: u32 = 0x5404;
    const TCGETA: u32 = 0x5405;
    const TCSETA: u32 = 0x5406;
    const TCSETAF: u32 = 0x5408;
    const TIOCGETD: u32 = 0x5424;
    const TCSBRK: u32 = 0x5409;
    const TCXONC: u32 = 0x540a;
    const TCFLSH: u32 = 0x540b;
    const TCSBRKP: u32 = 0x5425;
    const TIOCSCTTY: u32 = 0x540e;
    const TIOCGPGRP: u32 = 0x540f;
    const TIOCSPGRP: u32 = 0x5410;
    const TIOCGWINSZ: u32 = 0x5413;
    const TIOCSWINSZ: u32 = 0x5414;
    const FIONREAD: u32 = 0x541b;
    const TIOCGSID: u32 = 0x5429;
    const TIOCGLCKTRMIOS: u32 = 0x5456;
    const TIOCSLCKTRMIOS: u32 = 0x5457;
    let holder = {
        let state = STATE.lock();
        Holder { session: state.session, foreground: state.foreground }
    };
    let (session, group) = caller.session_and_group();
    let is_its_own = session == holder.session;
    let put_number = |number: u64| caller.put(argument, &(number as u32).to_le_bytes());
    if matches!(request, TCSETS..=TCSETSF | TCSETA..=TCSETAF | TCSBRK | TCSBRKP | TCXONC | TCFLSH | TIOCSPGRP)
    {
        caller.may_change_terminal(holder.session, holder.foreground)?;
    }
    match request {
        TCGETS => {
            let bytes = encode(&STATE.lock().modes);
            caller.put(argument, &bytes)?;
        }
        TCGETA => {
            let bytes = encode_short(&STATE.lock().modes);
            caller.put(argument, &bytes)?;
        }
        TCSETS..=TCSETSF | TCSETA..=TCSETAF => {
            let mut bytes = [0; TERMIOS];
            let mut short = [0; TERMIO];
            let is_short = request >= TCSETA;
            caller.get(argument, if is_short { &mut short } else { &mut bytes })?;
            let mut state = STATE.lock();
            let wanted = match is_short {
                true => decode_short(&short, &state.modes),
                false => decode(&bytes),
            };
            state.modes = wanted.keeping(&state.modes, &state.locked);
            if request == TCSETSF || request == TCSETAF {
                state.flush();
            }
            drop(state);
            READINESS.wake();
        }
        TIOCGLCKTRMIOS => {
            let bytes = encode(&STATE.lock().locked);
            caller.put(argument, &bytes)?;
        }
        TIOCSLCKTRMIOS => {
            let mut bytes = [0; TERMIOS];
            if !caller.may_lock_terminal() {
                return Err(Errno::EPERM);
            }
            caller.get(argument, &mut bytes)?;
            STATE.lock().locked = decode(&bytes);
        }
        // What was written has gone when the call returned.
        TCSBRK | TCSBRKP => {}
        TCFLSH if argument <= 2 => {
            if argument != 1 {
                STATE.lock().flush();
            }
        }
        // Output that is not held up continues.
        TCXONC if argument == 1 => {}
        TCXONC | TCFLSH => return Err(Errno::EINVAL),
        // The one that there is, N_TTY.
        TIOCGETD => put_number(0)?,
        TIOCSCTTY => {
            let is_free = holder.session == 0 || is_its_own || argument == 1;
            if !caller.leads_session() || !is_free {
                return Err(Errno::EPERM);
            }
            let mut state = STATE.lock();
            (state.session, state.foreground) = (session, group);
        }
        TIOCGPGRP if is_its_own => put_number(caller.number_told(holder.foreground))?,
        TIOCGSID if is_its_own => put_number(caller.number_told(holder.session))?,
        TIOCSPGRP if is_its_own => {
            let mut bytes = [0; 4];
            caller.get(argument, &mut bytes)?;
            let wanted = i32::from_le_bytes(bytes);
            let wanted = u64::try_from(wanted).map_err(|_| Errno::EINVAL)?;
            let wanted = caller.number_meant(wanted);
            if !caller.has_group(wanted) {
                return Err(Errno::EPERM);
            }
            STATE.lock().foreground = wanted;
        }
        TIOCGPGRP | TIOCSPGRP | TIOCGSID => return Err(Errno::ENOTTY),
        TIOCGWINSZ | TIOCSWINSZ => {
            let mut bytes = [0; 8];
            if request == TIOCSWINSZ {
                caller.get(argument, &mut bytes)?;
                let [a, b, c, d, e, f, g, h] = bytes;
                let size = [[a, b], [c, d], [e, f], [g, h]].map(u16::from_le_bytes);
                set_size(size);
            } else {
                let size = STATE.lock().size;
                for (place, number) in bytes.chunks_exact_mut(2).zip(size) {
                    place.copy_from_slice(&number.to_le_bytes());
                }
                caller.put(argument, &bytes)?;
            }
        }
        FIONREAD => {
            let waiting = {
                let mut state = STATE.lock();
                if state.is_by_lines() {
                    state.edit();
                    state.ready as u64
                } else {
                    (state.length + terminal::waiting()) as u64
                }
            };
            put_number(waiting)?;
        }
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}
