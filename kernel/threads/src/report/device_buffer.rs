//! The end of a machine on which a buffer on a stack was to be given to a device, where that is
//! asked for (`dma=stop`).

use super::backtrace;
use super::overflow::Escaped;
use crate::sched;
use core::fmt::Write;
use kstack::dma::Refused;
use machine::arch::{cpu, power, serial};
use machine::dma::Tried;
use machine::{cpus, halt};

/// Says which buffer, which stack and from where, and stops the machine.
pub fn stop(tried: &mut Tried) {
    let Tried { device, met } = tried;
    cpu::interrupts_off();
    let running = halt::park_others();
    let mut console = serial::CONSOLE;
    // The port takes everything, and no caller to tell.
    let _never_fails = writeln!(console, "\n{device}: {}", Refused::OnStack(*met));
    backtrace::print_here(&mut console);
    let stack = met.stack.map_or("none", |(_, stack)| stack.kind.name());
    let mut control = serial::CONTROL;
    let _never_fails = writeln!(
        control,
        "@report stack={stack} cpu={} cause=device-buffer consequence=stop-system running={running} victim={} bytes={}",
        cpus::this().id(),
        Escaped(sched::current().name()),
        met.buffer.size().get(),
    );
    power::end(power::End::Stopped)
}
