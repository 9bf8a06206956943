//! ioctl: requests that every file knows, and those of a device.

use super::at::file;
use super::background::check_background;
use super::notices;
use super::transfer::take;
use crate::abi::signals::Signal;
use crate::error::{Errno, SysResult};
use crate::files::object::Caller;
use crate::files::open::{Target, flag};
use crate::process::user_memory::{get, put};
use crate::process::{current, current_task, table};
use core::sync::atomic::Ordering;

pub(crate) fn ioctl(number: u64, request: u64, at: u64) -> SysResult {
    const FIONCLEX: u32 = 0x5450;
    const FIOCLEX: u32 = 0x5451;
    const FIONBIO: u32 = 0x5421;
    const FIONREAD: u32 = 0x541b;
    const FIOASYNC: u32 = 0x5452;
    let file = file(number)?;
    if file.flags() & flag::PATH != 0 {
        return Err(Errno::EBADF);
    }
    let is_plain =
        matches!(&file.target, Target::Node(node, _) if node.mode() & 0o170000 == 0o100000);
    match request as u32 {
        request @ (FIONCLEX | FIOCLEX) => {
            current_task().files().lock().set_close_on_exec(number, request == FIOCLEX)?;
            Ok(0)
        }
        FIOASYNC => {
            let is_on = u32::from_le_bytes(get(at)?) != 0;
            notices::set_async(file, number, is_on)?;
            Ok(0)
        }
        FIONBIO => {
            let nonblocking = u32::from_le_bytes(get(at)?) != 0;
            let others = file.flags() & !flag::NONBLOCK;
            file.set_flags(others | if nonblocking { flag::NONBLOCK } else { 0 });
            Ok(0)
        }
        // What is left to be read of a file.
        FIONREAD if is_plain => {
            let Target::Node(node, _) = &file.target else { return Err(Errno::ENOTTY) };
            let left = node.bytes().saturating_sub(file.position.load(Ordering::Relaxed));
            put(at, &(left as u32).to_le_bytes())?;
            Ok(0)
        }
        request => file.object().ok_or(Errno::ENOTTY)?.ioctl(request, at, &Program),
    }
}

/// The caller.
struct Program;

impl Caller for Program {
    fn get(&self, at: u64, to: &mut [u8]) -> Result<(), Errno> {
        take(at, to)
    }

    fn put(&self, at: u64, from: &[u8]) -> Result<(), Errno> {
        put(at, from)
    }

    fn session_and_group(&self) -> (u64, u64) {
        let process = current();
        (process.session.load(Ordering::Relaxed), process.group.load(Ordering::Relaxed))
    }

    fn leads_session(&self) -> bool {
        self.session_and_group().0 == current().id
    }

    fn may_change_terminal(&self, session: u64, foreground: u64) -> Result<(), Errno> {
        check_background(session, foreground, Signal::TTOU)
    }

    fn has_group(&self, group: u64) -> bool {
        let (session, _) = self.session_and_group();
        let mut is_there = false;
        table::for_each(table::Which::Group(group), |process| {
            is_there |= process.session.load(Ordering::Relaxed) == session;
        });
        is_there
    }
}
