//! What both sides of a terminal can be asked for (ioctl_tty(2)).

use super::Pty;
use crate::abi::signals::Signal;
use crate::error::{Errno, SysResult};
use crate::files::object::Caller;
use crate::files::signaller::signal;
use crate::files::termios::{TERMIO, TERMIOS, decode, decode_short, encode, encode_short, mode};

impl Pty {
    /// What both sides can be asked for.
    pub(super) fn ioctl(
        &self,
        request: u32,
        argument: u64,
        caller: &dyn Caller,
        is_master: bool,
    ) -> SysResult {
        const TCGETS: u32 = 0x5401;
        const TCSETS: u32 = 0x5402;
        const TCSETSF: u32 = 0x5404;
        const TCGETA: u32 = 0x5405;
        const TCSETA: u32 = 0x5406;
        const TCSETAF: u32 = 0x5408;
        const TIOCGETD: u32 = 0x5424;
        const TCSBRK: u32 = 0x5409;
        const TCSBRKP: u32 = 0x5425;
        const TCXONC: u32 = 0x540a;
        const TCFLSH: u32 = 0x540b;
        const TIOCSCTTY: u32 = 0x540e;
        const TIOCGPGRP: u32 = 0x540f;
        const TIOCSPGRP: u32 = 0x5410;
        const TIOCOUTQ: u32 = 0x5411;
        const TIOCGWINSZ: u32 = 0x5413;
        const TIOCSWINSZ: u32 = 0x5414;
        const FIONREAD: u32 = 0x541b;
        const TIOCNOTTY: u32 = 0x5422;
        const TIOCGSID: u32 = 0x5429;
        const TIOCGLCKTRMIOS: u32 = 0x5456;
        const TIOCSLCKTRMIOS: u32 = 0x5457;
        let holder = {
            let state = self.state.lock();
            (state.session, state.foreground)
        };
        let (session, group) = caller.session_and_group();
        let is_its_own = session == holder.0 || is_master;
        let put_number = |number: u64| caller.put(argument, &(number as u32).to_le_bytes());
        if matches!(request, TCSETS..=TCSETSF | TCSETA..=TCSETAF | TCSBRK | TCSBRKP | TCXONC | TCFLSH | TIOCSPGRP)
        {
            caller.may_change_terminal(holder.0, holder.1)?;
        }
        match request {
            TCGETS => {
                let bytes = encode(&self.state.lock().modes);
                caller.put(argument, &bytes)?;
            }
            TCGETA => {
                let bytes = encode_short(&self.state.lock().modes);
                caller.put(argument, &bytes)?;
            }
            TCSETS..=TCSETSF | TCSETA..=TCSETAF => {
                let mut bytes = [0; TERMIOS];
                let mut short = [0; TERMIO];
                let is_short = request >= TCSETA;
                caller.get(argument, if is_short { &mut short } else { &mut bytes })?;
                {
                    let mut state = self.state.lock();
                    let was_by_lines = state.has(mode::LINES);
                    let wanted = match is_short {
                        true => decode_short(&short, &state.modes),
                        false => decode(&bytes),
                    };
                    state.modes = wanted.keeping(&state.modes, &state.locked);
                    if request == TCSETSF || request == TCSETAF {
                        state.flush_input();
                    } else if was_by_lines && !state.has(mode::LINES) {
                        // What was typed so far can be read as it is.
                        state.finish_line(false);
                    }
                }
                self.of_slave.wake();
            }
            TIOCGLCKTRMIOS => {
                let bytes = encode(&self.state.lock().locked);
                caller.put(argument, &bytes)?;
            }
            TIOCSLCKTRMIOS => {
                let mut bytes = [0; TERMIOS];
                if !caller.may_lock_terminal() {
                    return Err(Errno::EPERM);
                }
                caller.get(argument, &mut bytes)?;
                self.state.lock().locked = decode(&bytes);
            }
            TCSBRK | TCSBRKP => {}
            TCXONC if argument <= 3 => {
                if argument <= 1 {
                    self.state.lock().is_held = argument == 0;
                    self.of_slave.wake();
                    self.of_master.wake();
                }
            }
            TCFLSH if argument <= 2 => {
                {
                    let mut state = self.state.lock();
                    if (argument != 1) != is_master || argument == 2 {
                        state.flush_input();
                    }
                    if (argument != 0) != is_master || argument == 2 {
                        state.output.clear();
                    }
                }
                self.of_slave.wake();
                self.of_master.wake();
            }
            TCXONC | TCFLSH => return Err(Errno::EINVAL),
            // The one that there is, N_TTY.
            TIOCGETD => put_number(0)?,
            TIOCSCTTY if !is_master => {
                let is_free = holder.0 == 0 || session == holder.0 || argument == 1;
                if !caller.leads_session() || !is_free {
                    return Err(Errno::EPERM);
                }
                let mut state = self.state.lock();
                (state.session, state.foreground) = (session, group);
            }
            TIOCNOTTY if is_its_own && !is_master => {
                if caller.leads_session() {
                    {
                        let mut state = self.state.lock();
                        (state.session, state.foreground) = (0, 0);
                    }
                    signal(holder.1, Signal::HUP);
                    signal(holder.1, Signal::CONT);
                }
            }
            TIOCGPGRP if is_its_own => put_number(caller.number_told(holder.1))?,
            TIOCGSID if is_its_own => {
                if holder.0 == 0 {
                    return Err(Errno::ENOTTY);
                }
                put_number(caller.number_told(holder.0))?;
            }
            TIOCSPGRP if is_its_own && !is_master => {
                let mut bytes = [0; 4];
                caller.get(argument, &mut bytes)?;
                let wanted = u64::try_from(i32::from_le_bytes(bytes)).map_err(|_| Errno::EINVAL)?;
                let wanted = caller.number_meant(wanted);
                if !caller.has_group(wanted) {
                    return Err(Errno::EPERM);
                }
                self.state.lock().foreground = wanted;
            }
            TIOCGWINSZ => {
                let mut bytes = [0; 8];
                let size = self.state.lock().size;
                for (place, number) in bytes.chunks_exact_mut(2).zip(size) {
                    place.copy_from_slice(&number.to_le_bytes());
                }
                caller.put(argument, &bytes)?;
            }
            TIOCSWINSZ => {
                let mut bytes = [0; 8];
                caller.get(argument, &mut bytes)?;
                let [a, b, c, d, e, f, g, h] = bytes;
                let size = [[a, b], [c, d], [e, f], [g, h]].map(u16::from_le_bytes);
                let before = core::mem::replace(&mut self.state.lock().size, size);
                if before != size {
                    signal(holder.1, Signal::WINCH);
                }
            }
            FIONREAD | TIOCOUTQ => {
                let count = {
                    let state = self.state.lock();
                    match (request == FIONREAD, is_master) {
                        (true, false) if state.has(mode::LINES) && !state.has_line() => 0,
                        (true, false) => state.ready.iter().filter(|typed| !typed.is_end).count(),
                        (true, true) | (false, false) => state.output.len(),
                        (false, true) => 0,
                    }
                };
                put_number(count as u64)?;
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }
}
