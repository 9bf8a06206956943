//! What a CPU is set to before anything runs on it, and what entries make of what a program set:
//! control registers, flags, what is written once, the old interrupt controllers, and the two
//! halves of an IPI.

use crate::hooks;
use crate::tests::arch::registers;
use crate::tests::arch::user_code::{self, FLAGS_OF_A_PROGRAM, flags};
use crate::tests::processes;
use crate::tests::support::{install_hooks, on_cpu, on_every_cpu, until};
use crate::tests::user_mode::{self, STACK_TOP, UserThread};
use crate::tests::{Outcome, check};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use kstack::addr::CpuId;
use kstack::hooks::Hooks;
use machine::arch::fpu;
use machine::arch::pc::control::{self, Register, TABLE, read, wanted};
use machine::arch::pc::page_entry::{PRESENT, WRITE};
use machine::arch::pc::ports::out8;
use machine::arch::regs::SavedRegs;
use machine::arch::{cpu, irqchip, paging};
use machine::cpus;
use threads::entry::probes;

const REGISTERS: [Register; 4] = [Register::Cr0, Register::Cr4, Register::Efer, Register::Dr7];

fn check_registers() -> Outcome {
    for register in REGISTERS {
        let (value, wanted) = (read(register), wanted(register));
        let mut wrong = TABLE
            .iter()
            .filter(|row| row.register == register && (value ^ wanted) >> row.bit & 1 != 0);
        if let Some(row) = wrong.next() {
            let (name, why) = (row.name, row.why);
            return Err(alloc::format!("{register:?}.{name} is wrong ({why}): {value:#x}"));
        }
        check!(value == wanted, "{register:?} is {value:#x}, not {wanted:#x}");
    }
    Ok(())
}

/// Every bit of every register, those that have no row too.
pub fn u1_every_cpu_has_the_control_registers_of_the_table() -> Outcome {
    on_every_cpu(|_| check_registers())
}

/// Red if a register is added to: whatever firmware left stays on then. What is left here is
/// harmless as long as interrupts are off.
pub fn u1_a_control_register_that_was_left_otherwise_is_set() -> Outcome {
    const TSD: usize = 1 << 2;
    const DE: usize = 1 << 3;
    const PCE: usize = 1 << 8;
    const FSGSBASE: usize = 1 << 16;
    const TS: usize = 1 << 3;
    const EBX: usize = 1;
    const BREAKPOINTS: usize = 0x700;
    on_every_cpu(|_| {
        let base =
            if control::has(7, EBX, 0) && cfg!(target_pointer_width = "64") { FSGSBASE } else { 0 };
        let (cr0, cr4) = (read(Register::Cr0) | TS, read(Register::Cr4) | TSD | DE | PCE | base);
        // SAFETY: (1) nothing here uses what these change, and `load` sets them again.
        unsafe {
            asm!("mov cr4, {cr4}", "mov cr0, {cr0}", "mov dr7, {dr7}", cr4 = in(reg) cr4, cr0 = in(reg) cr0, dr7 = in(reg) BREAKPOINTS);
        }
        let left = read(Register::Cr4) == cr4 && read(Register::Cr0) == cr0;
        control::load();
        check!(left, "the registers do not take what firmware may leave");
        check_registers()
    })
}

/// The page tables say so, and the CPU heeds them: CR0.WP is in the table above.
pub fn u1_what_is_written_once_is_read_only() -> Outcome {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: usize,
    }
    let mut idt = Pointer { limit: 0, base: 0 };
    // SAFETY: (1) only stores the register.
    unsafe { asm!("sidt [{}]", in(reg) &raw mut idt, options(nostack)) };
    let descriptors = idt.base;
    for (what, at) in
        [("interrupt descriptors", descriptors), ("hooks", kstack::hooks::place() as usize)]
    {
        let leaf = paging::kernel_leaf_or_new(at as u64).map_err(|_| "no table")?;
        let value = leaf.load(Ordering::Relaxed);
        check!(value & PRESENT != 0 && value & WRITE == 0, "the {what} at {at:#x}: {value:#x}");
    }
    Ok(())
}

static FLAGS_SEEN: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
const SYSCALL: usize = 0;
const INTERRUPT: usize = 1;
const NMI: usize = 2;
const FROM_KERNEL: usize = 3;
/// Always set: a handler was here.
const SEEN: usize = 2;

fn note_flags(entry: usize) {
    FLAGS_SEEN[entry].fetch_or(flags(), Ordering::Release);
}

/// Direction, alignment check, nested task: red if an entry leaves one of them set for the code
/// behind it, which is compiled for a clear direction flag, may touch no user page, and returns by
/// an `iret` that is no task switch.
pub fn u1_p8_no_entry_keeps_the_flags_that_a_program_chose() -> Outcome {
    FLAGS_SEEN.iter().for_each(|seen| seen.store(0, Ordering::Relaxed));
    fn is_flagged(regs: &SavedRegs) -> bool {
        regs.from_user() && user_mode::is_ours()
    }
    probes::set_call(|regs| {
        if is_flagged(regs) {
            note_flags(INTERRUPT);
        }
    });
    probes::set_nmi_probe(Some(|regs| {
        if is_flagged(regs) {
            note_flags(NMI);
        }
    }));
    let outcome = user_mode::with_hooks(Some(|| note_flags(SYSCALL)), || {
        let thread = UserThread::start(user_code::spin_with_flags, STACK_TOP - 8)?;
        let seen = |entry: usize| FLAGS_SEEN[entry].load(Ordering::Acquire) & SEEN != 0;
        let send_call = |id| irqchip::send_interrupt(id, irqchip::vector::CALL);
        let hit = thread
            .hit(send_call, || seen(INTERRUPT))
            .and_then(|()| thread.hit(irqchip::send_nmi, || seen(NMI)));
        user_mode::end_spin(&thread);
        let unharmed = thread.finish_unharmed();
        hit?;
        unharmed?;
        let kept = user_mode::seen().iter().all(|seen| user_code::has_flags(&seen.regs));
        check!(kept, "a program's flags were not saved: {:x?}", user_mode::seen());
        Ok(())
    });
    probes::set_nmi_probe(None);
    outcome?;
    probes::set_probe(Some(|_| note_flags(FROM_KERNEL)));
    // SAFETY: (1) nothing but the interrupt comes between the two; the handler returns with
    // everything as it was.
    unsafe { asm!("std", "int {}", "cld", const irqchip::vector::SOFTWARE) };
    probes::set_probe(None);
    for (entry, seen) in FLAGS_SEEN.iter().enumerate() {
        let seen = seen.load(Ordering::Relaxed);
        check!(seen & SEEN != 0, "entry {entry} was not seen");
        check!(seen & FLAGS_OF_A_PROGRAM == 0, "entry {entry} runs with the flags {seen:#x}");
    }
    Ok(())
}

static CALLS: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];
static OTHER: AtomicU32 = AtomicU32::new(0);
static SENT: AtomicBool = AtomicBool::new(false);

/// After every single instruction of an IPI's sending a handler sends one of its own, to another
/// CPU. Red if the first one goes there too: its destination is a register that the handler has
/// changed.
pub fn u1_a_handler_between_the_halves_of_an_ipi_leaves_it_its_destination() -> Outcome {
    CALLS.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    SENT.store(false, Ordering::Relaxed);
    probes::set_call(|_| {
        CALLS[cpus::this().id().index()].fetch_add(1, Ordering::Release);
    });
    probes::set_debug_probe(Some(|regs| {
        if SENT.load(Ordering::Relaxed) {
            registers::end_single_step(regs);
        } else {
            irqchip::send_interrupt(OTHER.load(Ordering::Relaxed), irqchip::vector::CALL);
        }
    }));
    let (mine, first) = cpu::without_interrupts(|| {
        let mine = cpus::this().id().get();
        let [first, other] = [1, 2].map(|step| (mine + step) % 4);
        let id = |number| cpus::by_id(CpuId::new(number)).hardware_id.load(Ordering::Relaxed);
        OTHER.store(id(other), Ordering::Relaxed);
        let id = id(first);
        registers::single_step();
        irqchip::send_interrupt(id, irqchip::vector::CALL);
        SENT.store(true, Ordering::Relaxed);
        (mine, first)
    });
    probes::set_debug_probe(None);
    let other = (mine + 2) % 4;
    let came = |number: u32| CALLS[number as usize].load(Ordering::Acquire);
    until("both have come", || came(first) > 0 && came(other) > 0)
        .map_err(|_| alloc::format!("CPU {first} got none: {CALLS:?}"))?;
    check!(came(first) == 1 && came(mine) == 0, "CPU {first} should have one: {CALLS:?}");
    Ok(())
}

static OLD_VECTOR: AtomicU32 = AtomicU32::new(0);

/// The old timer raises its line for once. Red if the controllers are where firmware left them: it
/// arrives as a double fault.
pub fn u1_the_old_interrupt_controllers_raise_no_exception() -> Outcome {
    const FIRST: u16 = 0x20;
    const ALL_BUT_THE_TIMER: u8 = 0xfe;
    const ALL: u8 = 0xff;
    const ITS_BASE: u8 = irqchip::vector::SPURIOUS - 7;
    static HOOKS: Hooks = hooks::HOOKS.interrupt(|vector, regs| {
        if (ITS_BASE..irqchip::vector::SPURIOUS).contains(&vector) {
            // SAFETY: (1) the controller is ours: masked again, and told that the interrupt is
            // over.
            unsafe {
                out8(FIRST + 1, ALL);
                out8(FIRST, 0x20);
            }
            OLD_VECTOR.store(vector.into(), Ordering::Release);
        } else {
            (hooks::HOOKS.interrupt)(vector, regs);
        }
    });
    OLD_VECTOR.store(0, Ordering::Relaxed);
    install_hooks(&HOOKS);
    // The first CPU is the one that the old controllers' line leads to.
    let unmasked = on_cpu(cpus::by_id(CpuId::new(0)), |_| {
        // SAFETY: (1) the controller is ours, and its timer has been running since the firmware's
        // time.
        unsafe { out8(FIRST + 1, ALL_BUT_THE_TIMER) };
        Ok(())
    });
    let came =
        until("the old timer's interrupt has come", || OLD_VECTOR.load(Ordering::Acquire) != 0);
    install_hooks(&hooks::HOOKS);
    // SAFETY: (1) the controller is ours.
    unsafe { out8(FIRST + 1, ALL) };
    unmasked.and(came)?;
    let vector = OLD_VECTOR.load(Ordering::Relaxed);
    check!(vector == u32::from(ITS_BASE), "it arrived as {vector:#x}");
    Ok(())
}

/// As on CPUs whose x87 pointers `fxrstor` leaves alone: what makes them lead nowhere disturbs no
/// other register.
pub fn u1_s1_floating_point_registers_are_kept_apart_where_pointers_stay() -> Outcome {
    let before = fpu::let_pointers_stay(true);
    let outcome = processes::s1_floating_point_registers_of_programs_are_kept_apart();
    fpu::let_pointers_stay(before);
    outcome
}
