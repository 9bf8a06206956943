//! The other system-call entry.

use super::user_code;
use crate::tests::user_mode::{self, STACK_TOP, UserThread};
use crate::tests::{Outcome, check};
use kstack::arch::current::tables::{USER_CODE, USER_DATA};
use machine::arch::regs::SavedRegs;
use machine::arch::user::SYSENTER_RETURN;

/// The registers are where `int 0x80` would have put them, but for what the instruction loses; the
/// return path, by `sysexit`, restores all of them, as a call by `int 0x80` behind it sees. Red if
/// SP is a word off on either way, or a register is lost.
pub fn x2_p8_sysenter_starts_at_the_top_of_the_thread_stack_and_keeps_registers() -> Outcome {
    user_mode::with_hooks(None, || {
        UserThread::start(user_code::call_by_sysenter, 0)?.finish();
        let seen = user_mode::seen();
        let [first, second, last] = &seen[..] else { return Err(alloc::format!("{seen:x?}")) };
        for seen in [first, second, last] {
            user_mode::check_at_top(seen)?;
        }
        // Below the user's top: the return address of the call, and ecx, edx, ebp.
        let sp = (STACK_TOP - 4 * size_of::<u32>() as u64) as u32;
        let known = SavedRegs {
            ebx: 0x1002,
            ecx: 0x1003,
            edx: 0x1004,
            esi: 0x1005,
            edi: first.regs.edi,
            ebp: sp,
            eax: 0,
            ds: USER_DATA.into(),
            es: USER_DATA.into(),
            fs: 0,
            gs: 0,
            orig_eax: 0,
            eip: SYSENTER_RETURN as u32,
            cs: USER_CODE.into(),
            eflags: first.regs.eflags,
            esp: sp,
            ss: USER_DATA.into(),
        };
        check!(first.regs == known, "{:x?}, not {known:x?}", first.regs);
        check!(first.regs.interrupts_are_on(), "{:x?}", first.regs);
        let after = SavedRegs {
            ebp: 0x1007,
            eip: second.regs.eip,
            esp: STACK_TOP as u32,
            eflags: second.regs.eflags,
            ..known
        };
        check!(second.regs == after, "{:x?}, not {after:x?}", second.regs);
        check!(second.regs.interrupts_are_on(), "{:x?}", second.regs);
        Ok(())
    })
}

/// The trap comes at the first instruction of the kernel, on the entry stack. Red if it is taken
/// for the program's, or for ours: the call is made, the program continues.
pub fn x2_sysenter_with_the_trap_flag_set_is_a_call_like_any_other() -> Outcome {
    user_mode::with_hooks(None, || {
        UserThread::start(user_code::trapped_sysenter, 0)?.finish();
        let seen = user_mode::seen();
        let vectors: alloc::vec::Vec<u8> = seen.iter().map(|seen| seen.vector).collect();
        check!(vectors == [0x80, 0x80], "{seen:x?}");
        const TRAP_OR_NESTED_TASK: u32 = 1 << 8 | 1 << 14;
        check!(seen[0].regs.eip == SYSENTER_RETURN as u32, "{seen:x?}");
        check!(seen[1].regs.eflags & TRAP_OR_NESTED_TASK == 0, "{seen:x?}");
        Ok(())
    })
}
