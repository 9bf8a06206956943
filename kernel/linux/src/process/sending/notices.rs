//! Signals of files that tell of input and room (`O_ASYNC`), and of directories (`F_NOTIFY`): who
//! gets them, and who may be told.

use super::send::{to_each, to_process, to_thread};
use crate::abi::signals::{Fields, Info, Signal};
use crate::files::notices::{Addressee, Notice, Whom};
use crate::files::readiness::event;
use crate::process::identity::credentials::Credentials;
use crate::process::table::{self, Which};
use crate::process::{Process, task};

/// Tells of a change of a descriptor, from any context (`send_sigio`).
pub(crate) fn send(to: &Addressee, notice: Notice, descriptor: i32) {
    /// `POLL_IN`, `POLL_OUT`, `POLL_HUP`, `POLL_MSG`.
    const CODES: [i32; 4] = [1, 2, 6, 3];
    let (code, band) = match notice {
        Notice::Input => (CODES[0], event::READABLE),
        Notice::Room => (CODES[1], event::WRITABLE | event::WRITE_BAND),
        Notice::HangUp => (CODES[2], event::HUP | event::ERR),
        Notice::Message | Notice::Directory => (CODES[3], event::READABLE | event::MESSAGE),
    };
    let plain = || Info::kernel(Signal::IO);
    let info = match Signal::new(to.signal.into()) {
        Some(signal) => {
            Info { signal, code, fields: Fields::Poll { band: band.into(), descriptor } }
        }
        None => plain(),
    };
    let may = |other: &Credentials| {
        let [real, effective] = to.users;
        let theirs = [other.user.real, other.user.saved];
        effective == 0 || theirs.contains(&effective) || theirs.contains(&real)
    };
    // One that ends has no use for it. Of a queue that is full, SIGIO tells.
    match to.whom {
        Whom::None => {}
        Whom::Thread(number) => {
            let Some((process, thread)) = table::find_thread(None, number) else { return };
            let is_allowed = task::of(&thread).is_some_and(|task| may(&task.credentials()));
            if is_allowed && to_thread(&process, &thread, info).is_err() {
                let _ended = to_thread(&process, &thread, plain());
            }
        }
        Whom::Process(number) => {
            let Some(process) = table::find(number) else { return };
            if may(&process.credentials()) && to_process(&process, info).is_err() {
                let _ended = to_process(&process, plain());
            }
        }
        Whom::Group(number) => {
            let info = |process: &Process| may(&process.credentials()).then(|| info.clone());
            to_each(Which::Group(number), info, |_ended| {});
        }
    }
}
