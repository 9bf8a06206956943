//! A debugger that takes nothing of kstack but its verdict and its unwinder, over memory of another
//! address space that it reads word by word: a hypervisor that looks at a guest, or a tool that
//! reads a dump, does the same with another `read`.
//!
//! What it looks at is a process of its own ([`debuggee`]) with a stack of a kernel's shape,
//! between guards. Between the marks is all it needs of kstack.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("this program reads the registers of a Linux process on x86_64");

mod debuggee;
mod process;

use process::{Process, Stop};

// kstack glue: begin
use kstack::{addr::*, arena::*, stacks::*, unwind::*, verdict::*};

struct Known(Arena);
impl StackTable for Known {
    fn stack_in(&self, slot: SlotIndex) -> Option<StackId> {
        (slot == debuggee::SLOT).then(|| debuggee::stack(&self.0))
    }
    fn running_on(&self, _cpu: CpuId) -> Option<StackId> {
        self.stack_in(debuggee::SLOT)
    }
}
impl StackLookup for Known {
    fn stack_at(&self, addr: Addr) -> Option<StackId> {
        Some(debuggee::stack(&self.0)).filter(|stack| stack.range.contains(addr))
    }
}
fn backtrace(process: &Process, stop: &Stop, known: &Known) -> Backtrace<32> {
    let [pc, sp, fp] = [stop.pc, stop.sp, stop.fp].map(Addr::new);
    let regs = SavedRegs { pc, sp, fp, link: None, from_user: false };
    let mut backtrace = Backtrace::empty();
    let mut unwinder = Unwinder::from_regs(known, |addr: Addr| process.word(addr.get()), regs);
    backtrace.collect::<Rules, _, _>(&mut unwinder);
    backtrace
}
fn verdict(stop: &Stop, known: &Known) -> Option<Verdict> {
    let [pc, sp, address] = [stop.pc, stop.sp, stop.address].map(Addr::new);
    let fault = Fault { delivery: Delivery::AnotherStack, address, sp, pc, cpu: CpuId::new(0) };
    judge(&known.0, known, &fault, &Context::default())
}
// kstack glue: end

fn main() {
    let known = Known(debuggee::arena());
    let process = Process::start(debuggee::run);
    let stop = process.wait();
    assert_eq!(stop.signal, libc::SIGTRAP, "the process has not come to its breakpoint");
    let backtrace = backtrace(&process, &stop, &known);
    print!("at the breakpoint:\n{}", backtrace.with_symbols(debuggee::name));
    process.resume();
    let stop = process.wait();
    assert_eq!(stop.signal, libc::SIGSEGV, "the process has not overflowed its stack");
    let verdict = verdict(&stop, &known).expect("a stack explains the fault");
    println!(
        "{}: {}, {} bytes {} its edge",
        verdict.cause.name(),
        verdict.stack,
        verdict.distance.get(),
        verdict.side.name()
    );
}
