//! What 64-bit mode adds to the ways in and out: entries of other modes, local descriptors,
//! selectors that stay loaded, addresses that are not canonical, and frames that cannot be gone
//! back to.

use crate::hooks;
use crate::tests::arch::pc::nmi::{COUNT, WRONG, clear, send_to_this_cpu};
use crate::tests::arch::sweep;
use crate::tests::support::{install_hooks, kind_at, on_every_cpu, until};
use crate::tests::user_mode::{self, CODE, STACK_TOP, UserThread};
use crate::tests::{Outcome, check};
use alloc::format;
use alloc::vec::Vec;
use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::arch::current::tables::{CpuTables, USER_CODE_32, USER_DATA, Unfit};
use kstack::arch::current::vectors::vector;
use kstack::hooks::Hooks;
use kstack::kind::StackKind;
use machine::arch::fpu::FpuState;
use machine::arch::pc::control;
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, irqchip, step};
use machine::cpus;
use threads::entry::probes;
use threads::sched;

const INVALID_OPCODE: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;

fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: (1) the tests below name registers that every x86_64 has; reading has no effect.
    unsafe { asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high, options(nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
///
/// 1. The register exists, and nothing uses it until it is put right again.
unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: (1) by the caller's promise.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack));
    }
}

/// This CPU's segment descriptors.
fn descriptors() -> *mut u64 {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let mut gdt = Pointer { limit: 0, base: 0 };
    // SAFETY: (1) only stores the register.
    unsafe { asm!("sgdt [{}]", in(reg) &raw mut gdt, options(nostack)) };
    gdt.base as *mut u64
}

/// The place of programs' own segments among the descriptors.
const LOCAL_PLACE: usize = 10;

/// To 32-bit code, then `syscall`, then an invalid instruction.
#[unsafe(naked)]
extern "C" fn compatibility_syscall() {
    naked_asm!(
        "lea rax, [rip + 2f]",
        "push {code}",
        "push rax",
        "retfq",
        "2:",
        ".code32",
        "syscall",
        "ud2",
        ".code64",
        "ud2",
        code = const USER_CODE_32,
    )
}

/// `syscall` from compatibility mode is refused and touches nothing: by the entry that CSTAR names
/// on CPUs of AMD, by the CPU itself on those of Intel (SDM vol. 2, SYSCALL), which emulators need
/// not know. Red if its register is what it was at reset: the kernel runs at address 0, on the
/// program's stack.
pub fn u1_p8_a_system_call_of_compatibility_mode_is_refused() -> Outcome {
    const NO_SUCH_CALL: u32 = -38_i32 as u32;
    user_mode::with_hooks(None, || {
        user_mode::SEEN.lock().clear();
        UserThread::start(compatibility_syscall, 0)?.finish();
        let seen = user_mode::seen();
        let seen = seen.first().copied().ok_or("nothing was seen")?;
        let right = seen.vector == INVALID_OPCODE && seen.regs.from_user();
        let by_entry = seen.regs.rax as u32 == NO_SUCH_CALL;
        // `rax` still points at the instruction.
        let by_cpu = control::vendor() == *b"GenuineIntel" && seen.regs.rip == seen.regs.rax;
        check!(right && (by_entry || by_cpu), "{seen:x?}");
        check!(seen.regs.rsp == STACK_TOP, "its stack was used: {seen:x?}");
        user_mode::check_at_top(&seen)
    })
}

/// A CPU whose registers hold what firmware might leave, local descriptors and entries among them,
/// has none of it once the tables are loaded, here for a second time. Red if one of them is not
/// written.
pub fn u1_x1_loading_the_tables_leaves_nothing_of_what_was_there() -> Outcome {
    const SYSENTER_CS: u32 = 0x174;
    const SYSENTER_EIP: u32 = 0x176;
    const LSTAR: u32 = 0xc000_0082;
    const CSTAR: u32 = 0xc000_0083;
    /// Flags that `syscall` clears.
    const FMASK: u32 = 0xc000_0084;
    /// Trap, interrupts, direction, I/O privilege, nested task, alignment check: with one of them a
    /// program would choose how the kernel runs. The emulator clears the direction flag whatever
    /// the mask says, so no program can show that.
    const FLAGS_OF_A_PROGRAM: u64 = 0x4_7700;
    /// A local table of one descriptor at address 0.
    const LOCAL_TABLE: u64 = 0x0000_8200_0000_0007;
    cpu::without_interrupts(|| {
        let cpu = cpus::this();
        let (local, data, extra): (u64, u64, u64);
        // SAFETY: (1) interrupts are off, so nothing uses the two places or registers meanwhile;
        // (2) all of it is put back here, or by the load.
        let loaded = unsafe {
            let place = descriptors().add(LOCAL_PLACE);
            let before = [place.read_volatile(), place.add(1).read_volatile()];
            place.write_volatile(LOCAL_TABLE);
            place.add(1).write_volatile(0);
            asm!("lldt {:x}", in(reg) 8 * LOCAL_PLACE);
            place.write_volatile(before[0]);
            place.add(1).write_volatile(before[1]);
            asm!("mov ds, {0:e}", "mov es, {0:e}", "mov fs, {0:e}", in(reg) u32::from(USER_DATA));
            for register in [SYSENTER_CS, SYSENTER_EIP, LSTAR, CSTAR, FMASK] {
                write_msr(register, 8);
            }
            CpuTables::load(cpu.arch.tables.load(Ordering::Relaxed), &cpu.local)
        };
        // SAFETY: (1) only reads.
        unsafe {
            asm!("sldt {0:e}", "mov {1:e}, ds", "mov {2:e}, es", "mov {3:e}, fs", "or {2:e}, {3:e}",
                 out(reg) local, out(reg) data, out(reg) extra, out(reg) _);
        }
        check!(loaded == Ok(()), "{loaded:?}");
        check!(local & 0xffff == 0, "the local table is {local:#x}");
        check!((data | extra) & 0xffff == 0, "a selector is left: {data:#x}, {extra:#x}");
        let read = |register| read_msr(register);
        check!(read(SYSENTER_CS) == 0 && read(SYSENTER_EIP) == 0, "`sysenter` leads somewhere");
        let cleared = read(FMASK);
        check!(cleared & FLAGS_OF_A_PROGRAM == FLAGS_OF_A_PROGRAM, "`syscall` clears {cleared:#x}");
        for register in [LSTAR, CSTAR] {
            let entry = read(register);
            let name =
                threads::report::symbols::lookup(entry).map(|symbol| (symbol.name, symbol.offset));
            let right =
                name.is_some_and(|(name, offset)| name.contains("syscall_entry") && offset == 0);
            check!(right, "{register:#x} leads to {entry:#x}, {name:?}");
        }
        check!(core::ptr::eq(cpus::this(), cpu), "the CPU's block is lost");
        Ok(())
    })
}

/// Each thing that the library's entries rest on and that a CPU can tell, wrong once.
pub fn u1_tables_are_refused_on_a_cpu_that_is_not_as_the_entries_need_it() -> Outcome {
    const FSGSBASE: usize = 1 << 16;
    const WRITE_PROTECT: usize = 1 << 16;
    const SHADOW_STACKS: usize = 1 << 23;
    let check = |cpu: &'static cpus::Cpu| {
        // SAFETY: (1) the tables this CPU has loaded.
        unsafe { CpuTables::check(cpu.arch.tables.load(Ordering::Relaxed), &cpu.local) }
    };
    let with_interrupts = check(cpus::this());
    check!(with_interrupts == Err(Unfit::InterruptsAreOn), "{with_interrupts:?}");
    let (right, base, writes) = cpu::without_interrupts(|| {
        let cpu = cpus::this();
        let right = check(cpu);
        // SAFETY: (1) interrupts are off, and nothing here writes where it may not; `load` sets
        // both registers again.
        unsafe { asm!("mov {0}, cr4", "or {0}, {1}", "mov cr4, {0}", out(reg) _, const FSGSBASE) };
        let base = check(cpu);
        control::load();
        // SAFETY: (1) as above; (2) CR0.WP may be clear only while CR4.CET is.
        unsafe {
            asm!("mov {0}, cr4", "and {0}, {1}", "mov cr4, {0}", out(reg) _, const !SHADOW_STACKS as i32);
            asm!("mov {0}, cr0", "and {0}, {1}", "mov cr0, {0}", out(reg) _, const !WRITE_PROTECT as i32);
        };
        let writes = check(cpu);
        control::load();
        (right, base, writes)
    });
    check!(right == Ok(()), "{right:?}");
    check!(base == Err(Unfit::ProgramsSetGsBase), "{base:?}");
    check!(writes == Err(Unfit::WritesIgnoreProtection), "{writes:?}");
    Ok(())
}

#[unsafe(naked)]
extern "C" fn set_selectors() {
    naked_asm!(
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov eax, 1",
        "syscall",
        data = const USER_DATA,
    )
}

#[unsafe(naked)]
extern "C" fn get_selectors() {
    naked_asm!(
        "mov ebx, ds",
        "mov r12d, es",
        "mov r13d, fs",
        "mov r14d, gs",
        "mov eax, 1",
        "syscall",
    )
}

/// One program loads them, the next one finds none. Programs that have a floating-point area, which
/// goes with them, are the business of `hostile`; these have none, so it is given one.
pub fn u1_s1_a_program_starts_with_no_selector_of_another() -> Outcome {
    // What a program leaves, on this CPU, and then the switch to one that has loaded none.
    let new = || FpuState::new().map_err(|_| "no memory for a program's registers");
    let (other, fresh, used) = (new()?, new()?, new()?);
    let left = cpu::without_interrupts(|| {
        other.save();
        // SAFETY: (1) the kernel uses none of them, interrupts are off; the FS base is loaded at
        // the switch to a program.
        unsafe {
            asm!("mov ds, {0:e}", "mov es, {0:e}", "mov fs, {0:e}", in(reg) u32::from(USER_DATA))
        };
        used.save();
        fresh.load();
        let after_fresh = selectors();
        used.load();
        let after_used = selectors();
        other.load();
        (after_fresh, after_used)
    });
    let data = USER_DATA;
    check!(left.0 == [0; 3], "a fresh program has {:x?}", left.0);
    check!(left.1 == [data; 3], "a program that had loaded them has {:x?}", left.1);
    user_mode::with_hooks(None, || {
        for code in [set_selectors as extern "C" fn(), get_selectors] {
            UserThread::start(code, 0)?.finish();
        }
        let seen = user_mode::seen();
        check!(seen.iter().all(|seen| seen.vector == 0x80), "{seen:x?}");
        Ok(())
    })
}

/// DS, ES, FS.
fn selectors() -> [u16; 3] {
    let (ds, es, fs): (u32, u32, u32);
    // SAFETY: (1) only reads.
    unsafe {
        asm!("mov {:e}, ds", "mov {:e}, es", "mov {:e}, fs", out(reg) ds, out(reg) es, out(reg) fs)
    };
    [ds as u16, es as u16, fs as u16]
}

static TARGET: AtomicUsize = AtomicUsize::new(0);
static HITS: AtomicU32 = AtomicU32::new(0);

fn set_everywhere(at: usize) -> Outcome {
    TARGET.store(at, Ordering::Relaxed);
    on_every_cpu(|_| {
        step::set_breakpoint(Some(TARGET.load(Ordering::Relaxed)).filter(|&at| at != 0));
        Ok(())
    })
}

/// The address of `sysretq` in the entry of system calls.
fn sysret() -> Result<usize, alloc::string::String> {
    const SYSRET: [u8; 3] = [0x48, 0x0f, 0x07];
    let entry = read_msr(0xc000_0082);
    let symbol = threads::report::symbols::lookup(entry).ok_or("no symbol")?;
    // SAFETY: (1) a function of this kernel, all of which is mapped.
    let code = unsafe { core::slice::from_raw_parts(entry as *const u8, symbol.size as usize) };
    let offset = code.windows(3).position(|bytes| bytes == SYSRET).ok_or("no sysret")?;
    Ok(entry as usize + offset)
}

/// System calls that return to the edges of the lower half and beyond it. `sysret` with an address
/// that is not canonical faults in the kernel on the program's stack, on CPUs of Intel; emulators
/// may not, so what is looked at is which instruction goes back. Red if the entry's test of the
/// address is left out or off by one.
pub fn u1_p8_only_an_address_in_the_lower_half_goes_back_by_sysret() -> Outcome {
    static RETURN_TO: AtomicU64 = AtomicU64::new(0);
    const EDGE: u64 = 1 << 47;
    static HOOKS: Hooks = hooks::HOOKS
        .syscall(|regs: &mut SavedRegs| {
            if regs.from_user() && user_mode::is_ours() && regs.orig_rax == 0 {
                regs.rip = RETURN_TO.load(Ordering::Relaxed);
                // As `syscall` leaves it: another one would not go by sysret whatever the address.
                regs.rcx = regs.rip;
            } else if user_mode::is_ours() {
                sched::exit_current();
            } else {
                (hooks::HOOKS.syscall)(regs);
            }
        })
        .user_exception(|vector, fault, regs| {
            if user_mode::is_ours() {
                user_mode::see(vector, fault, regs);
                sched::exit_current();
            }
            (hooks::HOOKS.user_exception)(vector, fault, regs);
        });
    probes::set_debug_probe(Some(|regs| {
        sweep::resume(regs);
        if user_mode::is_ours() {
            HITS.fetch_add(1, Ordering::Relaxed);
        }
    }));
    *user_mode::SEEN.lock() = Vec::with_capacity(16);
    set_everywhere(sysret()?)?;
    install_hooks(&HOOKS);
    let outcome = (|| {
        let edges = [
            (CODE, true),
            (EDGE - 4096, true),
            (EDGE - 1, true),
            (EDGE, false),
            (EDGE + 4096, false),
            (0xffff_7fff_ffff_ffff, false),
            (0xffff_8000_0000_0000, false),
            (u64::MAX - 1, false),
        ];
        for (address, by_sysret) in edges {
            HITS.store(0, Ordering::Relaxed);
            user_mode::SEEN.lock().clear();
            RETURN_TO.store(address, Ordering::Relaxed);
            UserThread::start(call_zero, 0)?.finish();
            let hits = HITS.load(Ordering::Relaxed);
            check!((hits > 0) == by_sysret, "{address:#x}: {hits} times by sysret");
            let seen = user_mode::seen();
            let refused = |seen: &user_mode::Seen| {
                matches!(seen.vector, GENERAL_PROTECTION | PAGE_FAULT) && seen.regs.from_user()
            };
            check!(address == CODE || seen.first().is_some_and(refused), "{address:#x}: {seen:x?}");
        }
        Ok(())
    })();
    install_hooks(&hooks::HOOKS);
    let cleared = set_everywhere(0);
    probes::set_debug_probe(None);
    outcome.and(cleared)
}

/// System call 0, the first time it comes by; then system call 1.
#[unsafe(naked)]
extern "C" fn call_zero() {
    naked_asm!(
        "test ebx, ebx",
        "jnz 2f",
        "mov ebx, 1",
        "xor eax, eax",
        "syscall",
        "ud2",
        "2:",
        "mov eax, 1",
        "syscall",
    )
}

/// A single step in user mode: it lands on the debug stack, which needs the kernel's GS base to
/// find the thread's. Red if one of its `swapgs` is left out.
pub fn i8_u1_a_debug_exception_in_user_mode_is_handled_on_the_thread_stack() -> Outcome {
    const DEBUG: u8 = 1;
    user_mode::with_hooks(None, || {
        UserThread::start(step_once, 0)?.finish();
        let seen = user_mode::seen();
        let [step] = &seen[..] else { return Err(format!("{seen:x?}")) };
        check!(step.vector == DEBUG, "{step:x?}");
        user_mode::check_at_top(step)?;
        check!(step.regs.rbx == 0x1002 && step.regs.rsp == STACK_TOP, "{step:x?}");
        let base = read_msr(0xc000_0102);
        check!(base == 0, "the GS base of programs is {base:#x}");
        Ok(())
    })
}

#[unsafe(naked)]
extern "C" fn step_once() {
    naked_asm!(
        "mov ebx, 0x1002",
        "pushfq",
        "or dword ptr [rsp], {trap}",
        "popfq",
        "nop",
        "mov eax, 1",
        "syscall",
        trap = const 0x100,
    )
}

static FRAME: AtomicUsize = AtomicUsize::new(0);
static SP: AtomicUsize = AtomicUsize::new(0);

/// Ends the thread in the handler of an exception that may not return.
fn end_there(regs: &SavedRegs) -> ! {
    COUNT.fetch_add(1, Ordering::Relaxed);
    FRAME.store(core::ptr::from_ref(regs) as usize, Ordering::Relaxed);
    SP.store(cpu::stack_pointer(), Ordering::Relaxed);
    sched::exit_current()
}

/// Its vector, raised by an instruction, in a thread and in user mode's stead with the program's GS
/// base. The handler may not return, so it ends the thread from there. Twice: its stack can be used
/// again. That the CPU raises it at all is a bit of CR4, which
/// `u1_every_cpu_has_the_control_registers_of_the_table` looks at.
pub fn i8_a_machine_check_is_handled_on_its_own_stack() -> Outcome {
    const MACHINE_CHECK: u8 = 18;
    static HOOKS: Hooks = hooks::HOOKS.kernel_exception(|vector, fault, regs| {
        if vector != MACHINE_CHECK {
            return (hooks::HOOKS.kernel_exception)(vector, fault, regs);
        }
        if sched::current().name() != "broken" {
            WRONG.fetch_add(1, Ordering::Relaxed);
        }
        end_there(regs)
    });
    fn plain(_: usize) {
        // SAFETY: (1) the handler is ours, and ends this thread.
        unsafe { asm!("int {}", const MACHINE_CHECK) };
    }
    fn with_the_programs_gs(_: usize) {
        // SAFETY: (1) as above; (2) interrupts are off, and the handler finds the kernel's GS base.
        unsafe { asm!("cli", "swapgs", "int {}", const MACHINE_CHECK) };
    }
    clear();
    install_hooks(&HOOKS);
    let outcome = [plain, with_the_programs_gs, plain].into_iter().enumerate().try_for_each(
        |(number, body)| {
            sched::spawn_kernel("broken", body, 0).map_err(|e| format!("{e:?}"))?.join();
            check!(COUNT.load(Ordering::Relaxed) == number as u32 + 1, "{COUNT:?} machine checks");
            for word in [&FRAME, &SP] {
                let at = word.load(Ordering::Relaxed);
                check!(kind_at(at) == Some(StackKind::MachineCheck), "handled at {at:#x}");
            }
            check!(WRONG.load(Ordering::Relaxed) == 0, "its GS base was the program's");
            Ok(())
        },
    );
    install_hooks(&hooks::HOOKS);
    outcome
}

/// An NMI that lands while another one has not left the NMI stack yet, as one can when system
/// management mode ends: let in here by the return from a breakpoint on the entry. The frame of
/// the first is gone; red if the kernel goes back by the second one's.
pub fn i8_an_nmi_whose_frame_is_lost_is_told_to_the_kernel() -> Outcome {
    const NMI: u8 = 2;
    static HOOKS: Hooks = hooks::HOOKS.kernel_exception(|vector, fault, regs| {
        if vector != NMI {
            return (hooks::HOOKS.kernel_exception)(vector, fault, regs);
        }
        end_there(regs)
    });
    fn body(_: usize) {
        let entry = vector(NMI).get();
        // SAFETY: (1) the entry's first instructions, mapped.
        let code = unsafe { core::slice::from_raw_parts(entry as *const u8, 16) };
        let second = entry + step::instruction_length(code).unwrap_or(0);
        cpu::interrupts_off();
        step::set_breakpoint(Some(second));
        send_to_this_cpu();
        for _ in 0..1_000_000 {
            core::hint::spin_loop();
        }
        step::set_breakpoint(None);
        cpu::interrupts_on();
    }
    clear();
    probes::set_debug_probe(Some(|regs| {
        step::set_breakpoint(None);
        sweep::resume(regs);
        // Held back until this handler goes back.
        irqchip::send_nmi(cpus::this().hardware_id.load(Ordering::Relaxed));
    }));
    install_hooks(&HOOKS);
    let outcome = (|| {
        sched::spawn_kernel("hit", body, 0).map_err(|e| format!("{e:?}"))?.join();
        check!(COUNT.load(Ordering::Relaxed) == 1, "the kernel was told {COUNT:?} times");
        let at = SP.load(Ordering::Relaxed);
        check!(kind_at(at) == Some(StackKind::NmiBody), "told at {at:#x}");
        until("NMIs come again", || {
            probes::set_nmi_probe(Some(|_| {
                HITS.fetch_add(1, Ordering::Relaxed);
            }));
            HITS.store(0, Ordering::Relaxed);
            send_to_this_cpu();
            HITS.load(Ordering::Relaxed) > 0
        })
    })();
    probes::set_nmi_probe(None);
    probes::set_debug_probe(None);
    install_hooks(&hooks::HOOKS);
    outcome
}

/// Calls whose arguments are numbers, names and bytes, by the gate of 32 bits; no other. Red if the
/// gate is a fault, if a filter takes them for usual calls, or if the strict mode knows them by the
/// usual numbers.
pub fn p8_u1_calls_of_32_bits_are_made_by_int_0x80_and_kept_away_by_filters() -> Outcome {
    crate::tests::signals::program("old-calls", "all")
}
