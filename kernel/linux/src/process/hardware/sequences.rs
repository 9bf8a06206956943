//! Restartable sequences (rseq(2)): a thread reads from a structure of its own which CPU it runs
//! on, and names there a sequence of instructions that counts only if the thread neither left the
//! CPU nor took a signal before its end; else it continues at the sequence's abort handler.
//!
//! ```text
//!   struct rseq, of the thread            struct rseq_cs, of the sequence
//!    0  CPU at the start of a sequence     0  version (0)      4  flags (0)
//!    4  CPU                                8  first instruction
//!    8  address of a struct rseq_cs       16  bytes up to and with the last one
//!   16  flags (0)                         24  abort handler; the thread's signature is right before it
//!   20  memory node
//!   24  number among the process's threads that run
//! ```
//!
//! | what happened | where the thread is | what is done before user mode |
//! | --- | --- | --- |
//! | it left the CPU, or a handler is about to run | in the sequence named | the name is erased; to the abort handler |
//! | the same | elsewhere | the name is erased |
//! | nothing | anywhere | nothing |
//!
//! In the first two cases the CPU's numbers are written anew. The number among running threads is
//! the CPU's: no two threads that run have the same, and it is below the number of CPUs, which is
//! all that a program may rely on.

use super::registered::Registered;
use crate::abi;
use crate::abi::stack_image::sequences::ALIGNMENT;
use crate::error::{Errno, SysResult};
use crate::process::current_task;
use crate::process::task::Task;
use crate::process::user_memory::{get, put};
use machine::arch::regs::SavedRegs;
use threads::sched::{self, Thread};

/// Offsets in the structure.
const CPU_AT_START: u64 = 0;
const SEQUENCE: u64 = 8;
const FLAGS: u64 = 16;

/// rseq(2).
pub(crate) fn register(at: u64, bytes: u64, flags: u64, signature: u64) -> SysResult {
    const UNREGISTER: u32 = 1;
    /// What the first version of the structure has.
    const MIN_BYTES: u32 = 32;
    let (bytes, signature) = (bytes as u32, signature as u32);
    let task = current_task();
    let before = *task.sequences.lock();
    match (flags as u32, before) {
        (UNREGISTER, Some(known)) if (known.at, known.bytes) == (at, bytes) => {
            if known.signature != signature {
                return Err(Errno::EPERM);
            }
            /// `RSEQ_CPU_ID_UNINITIALIZED`.
            const NOT_REGISTERED: u32 = u32::MAX;
            put_numbers(at, [0, NOT_REGISTERED], [0, 0])?;
            forget_own();
            Ok(0)
        }
        (0, Some(known)) if (known.at, known.bytes) == (at, bytes) => {
            Err(if known.signature == signature { Errno::EBUSY } else { Errno::EPERM })
        }
        (0, None) => {
            if !at.is_multiple_of(ALIGNMENT) || bytes < MIN_BYTES {
                return Err(Errno::EINVAL);
            }
            let end = at.checked_add(bytes.into()).ok_or(Errno::EFAULT)?;
            if end > abi::USER_TOP {
                return Err(Errno::EFAULT);
            }
            *task.sequences.lock() = Some(Registered { at, bytes, signature });
            sched::current().tell_of_switches();
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Another program runs, or the structure is given up.
pub(crate) fn forget_own() {
    *current_task().sequences.lock() = None;
    sched::current().tell_nothing_of_switches();
}

/// A thread that is about to begin: in a copy of the memory it has its creator's structure.
pub(in crate::process) fn inherit(task: &Task, thread: &Thread) {
    let registered = *current_task().sequences.lock();
    if registered.is_some() {
        *task.sequences.lock() = registered;
        thread.tell_of_switches();
    }
}

/// The calling thread was off the CPU, or a handler is about to run: see the module's head. An
/// error means that what the program named makes no sense, or is not there.
pub(crate) fn interrupt(regs: &mut SavedRegs) -> Result<(), Errno> {
    let registered = *current_task().sequences.lock();
    let Some(registered) = registered else { return Ok(()) };
    leave_sequence(&registered, regs)?;
    let cpu = sched::current().last_cpu().get();
    put_numbers(registered.at, [cpu, cpu], [0, cpu])
}

/// Writes the CPU at the start and the CPU, the node and the number among running threads.
fn put_numbers(at: u64, cpus: [u32; 2], node_and_number: [u32; 2]) -> Result<(), Errno> {
    const NODE: u64 = 20;
    let bytes = |[first, second]: [u32; 2]| u64::from(first) | u64::from(second) << 32;
    put(at + CPU_AT_START, &bytes(cpus).to_le_bytes())?;
    put(at + NODE, &bytes(node_and_number).to_le_bytes())
}

fn leave_sequence(registered: &Registered, regs: &mut SavedRegs) -> Result<(), Errno> {
    let name_at = registered.at + SEQUENCE;
    let named = u64::from_le_bytes(get(name_at)?);
    if named == 0 {
        return Ok(());
    }
    let sequence = Sequence::read(named, registered.signature)?;
    let is_in_it = abi::program_counter(regs).wrapping_sub(sequence.first) < sequence.bytes;
    if is_in_it {
        // Bits that once kept a thread in its sequence: none is left that may be set.
        let flags = u32::from_le_bytes(get(registered.at + FLAGS)?);
        if flags != 0 || sequence.flags != 0 {
            return Err(Errno::EINVAL);
        }
    }
    put(name_at, &0_u64.to_le_bytes())?;
    if is_in_it {
        abi::set_program_counter(regs, sequence.abort);
    }
    Ok(())
}

/// A `struct rseq_cs`.
struct Sequence {
    flags: u32,
    first: u64,
    bytes: u64,
    abort: u64,
}

impl Sequence {
    fn read(at: u64, signature: u32) -> Result<Self, Errno> {
        if at >= abi::USER_TOP {
            return Err(Errno::EINVAL);
        }
        let [head, first, bytes, abort] = {
            let structure = get::<32>(at)?;
            let word = |n: usize| core::array::from_fn(|byte| structure[8 * n + byte]);
            [0, 1, 2, 3].map(|n| u64::from_le_bytes(word(n)))
        };
        let (version, flags) = (head as u32, (head >> 32) as u32);
        let end = first.checked_add(bytes).ok_or(Errno::EINVAL)?;
        let is_sound = version == 0
            && first < abi::USER_TOP
            && end < abi::USER_TOP
            && abort < abi::USER_TOP
            && abort.wrapping_sub(first) >= bytes;
        if !is_sound {
            return Err(Errno::EINVAL);
        }
        // What stands before the handler shows that the program means it to be one.
        let before = abort.checked_sub(4).ok_or(Errno::EFAULT)?;
        if u32::from_le_bytes(get(before)?) != signature {
            return Err(Errno::EINVAL);
        }
        Ok(Self { flags, first, bytes, abort })
    }
}
