//! Code with a known value in every register, for looking at what entries save and restore.

use crate::tests::{Outcome, check};
use core::arch::naked_asm;
use core::mem::offset_of;
use kstack::arch::current::tables::{GUARD_SEGMENT, KERNEL_CODE, KERNEL_DATA, PER_CPU};
use kstack::local::CpuLocal;
use machine::arch::irqchip::vector;
use machine::arch::regs::SavedRegs;

/// The general registers, without ESP.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
    /// SP right before and right after the instruction.
    pub esp: u32,
    /// The instruction after it.
    pub eip: u32,
}

impl Registers {
    /// The value that `eax` gets; each of the others, in the order of the fields, gets one more
    /// than the one before.
    pub const FIRST: u32 = 0x5a5a_c001;

    /// Whether every register is what the functions below put into it.
    pub fn are_known(&self) -> bool {
        const N: u32 = Registers::FIRST;
        *self
            == Self {
                eax: N,
                ebx: N + 1,
                ecx: N + 2,
                edx: N + 3,
                esi: N + 4,
                edi: N + 5,
                // Even, so that it does not look like a marked frame pointer.
                ebp: N + 7,
                esp: self.esp,
                eip: self.eip,
            }
    }

    /// The same as [`Registers::are_known`], but ebp is a frame pointer.
    pub(in crate::tests::arch) fn are_known_in_a_frame(&self) -> bool {
        Self { ebp: Self::FIRST + 7, ..*self }.are_known()
    }

    /// The frame pointer.
    pub(in crate::tests::arch) fn frame_pointer(&self) -> usize {
        self.ebp as usize
    }
}

/// Bytes of a word.
const WORD: usize = size_of::<u32>();

/// Loads every register, executes `$at`, and stores every register to what the argument points at.
macro_rules! with_known_registers {
    ($(#[$doc:meta])* $name:ident, $fp:literal, $($at:literal),+) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub extern "C" fn $name(after: &mut Registers) {
            naked_asm!(
                "push ebp", "mov ebp, esp", "push ebx", "push esi", "push edi",
                "push dword ptr [ebp + {word} * 2]",
                "mov eax, {first}", "lea ebx, [eax + 1]", "lea ecx, [eax + 2]", "lea edx, [eax + 3]",
                "lea esi, [eax + 4]", "lea edi, [eax + 5]", $fp,
                $($at,)+
                "9:",
                "push eax",
                "mov eax, [esp + {word}]",
                "pop dword ptr [eax + {eax}]",
                "mov [eax + {ebx}], ebx", "mov [eax + {ecx}], ecx", "mov [eax + {edx}], edx",
                "mov [eax + {esi}], esi", "mov [eax + {edi}], edi", "mov [eax + {ebp}], ebp",
                "mov [eax + {esp}], esp",
                "lea ecx, [9b]", "mov [eax + {eip}], ecx",
                "pop eax",
                "pop edi", "pop esi", "pop ebx", "pop ebp",
                "ret",
                word = const WORD,
                first = const Registers::FIRST,
                eax = const offset_of!(Registers, eax), ebx = const offset_of!(Registers, ebx),
                ecx = const offset_of!(Registers, ecx), edx = const offset_of!(Registers, edx),
                esi = const offset_of!(Registers, esi), edi = const offset_of!(Registers, edi),
                ebp = const offset_of!(Registers, ebp), esp = const offset_of!(Registers, esp),
                eip = const offset_of!(Registers, eip),
                software = const vector::SOFTWARE,
            )
        }
    };
}

with_known_registers!(
    /// Raises the software interrupt with known registers; stores what they are afterwards.
    across_an_interrupt, "lea ebp, [eax + 7]", "int {software}"
);

with_known_registers!(
    /// Executes a breakpoint with known registers; stores what they are afterwards.
    across_a_breakpoint, "lea ebp, [eax + 7]", "int3 # {software}"
);

with_known_registers!(
    /// Raises the software interrupt with known registers, but ebp is a frame pointer; stores what
    /// they are afterwards.
    across_an_interrupt_in_a_frame, "# ebp stays the frame pointer", "int {software}"
);

with_known_registers!(
    /// Counts to a million with known registers, long enough for something to come in; stores what
    /// they are afterwards.
    across_a_while, "lea ebp, [eax + 7]", "push ecx # {software}", "mov ecx, 1000000", "3:", "dec ecx", "jnz 3b", "pop ecx"
);

/// Loads the registers that a callee must keep with `pattern`, `+1` ..., calls `meanwhile`, and
/// returns how many of them came back as they were: 4.
#[unsafe(naked)]
pub extern "C" fn kept_across(meanwhile: extern "C" fn(), pattern: usize) -> usize {
    naked_asm!(
        "push ebx",
        "push ebp",
        "push esi",
        "push edi",
        "mov eax, [esp + {word} * 5]",
        "mov ecx, [esp + {word} * 6]",
        // SP is 16-aligned at the call.
        "sub esp, 2 * {word}",
        "push ecx",
        "lea ebx, [ecx + 1]",
        "lea ebp, [ecx + 2]",
        "lea esi, [ecx + 3]",
        "lea edi, [ecx + 4]",
        "call eax",
        "pop ecx",
        "add esp, 2 * {word}",
        "xor eax, eax",
        ".irp register, ebx, ebp, esi, edi",
        "inc ecx",
        "xor edx, edx",
        "cmp \\register, ecx",
        "sete dl",
        "add eax, edx",
        ".endr",
        "pop edi",
        "pop esi",
        "pop ebp",
        "pop ebx",
        "ret",
        word = const WORD,
    )
}

/// How many registers a switch keeps.
pub const KEPT: usize = 4;

/// Whether an entry saved every known register in the field of its name.
pub fn check_saved(saved: &SavedRegs, after: &Registers) -> Outcome {
    let seen = Registers {
        eax: saved.eax,
        ebx: saved.ebx,
        ecx: saved.ecx,
        edx: saved.edx,
        esi: saved.esi,
        edi: saved.edi,
        ebp: saved.ebp,
        esp: saved.esp,
        eip: saved.eip,
    };
    check!(seen == *after, "saved {seen:x?}, expected {after:x?}");
    check!(after.are_known(), "they are {after:x?}");
    let segments = [saved.cs, saved.ss, saved.ds, saved.es, saved.fs, saved.gs];
    let data = u32::from(KERNEL_DATA);
    let kernels = [KERNEL_CODE.into(), data, data, data, PER_CPU.into(), GUARD_SEGMENT.into()];
    check!(segments == kernels, "the segments are {segments:x?}");
    check!(saved.orig_eax == 0, "the error code is {:#x}", saved.orig_eax);
    Ok(())
}

/// What a compiler's stack check compares with, told to use FS: the word at FS:20.
pub fn loaded_canary() -> usize {
    let canary: usize;
    // Compilers have this place built in; it is no offset of ours.
    const COMPILERS_PLACE: usize = 0x14;
    // SAFETY: (1) FS is the CPU's block.
    unsafe {
        core::arch::asm!("mov {}, fs:[{place}]", out(reg) canary, place = const COMPILERS_PLACE, options(nostack, readonly));
    }
    canary
}

const TRAP_FLAG: u32 = 0x100;

/// Executes an instruction that a debug exception follows; its handler must call
/// [`end_single_step`].
#[inline(always)]
pub fn single_step() {
    // SAFETY: (1) the handler clears the trap flag again.
    unsafe {
        core::arch::asm!("pushfd", "or dword ptr [esp], {trap}", "popfd", "nop", "nop", trap = const TRAP_FLAG);
    }
}

/// In the handler of the debug exception: no more of them.
pub fn end_single_step(regs: &mut SavedRegs) {
    regs.eflags &= !TRAP_FLAG;
}

/// Raises the software interrupt with this frame pointer.
#[unsafe(naked)]
pub extern "C" fn interrupt_with_frame_pointer(fp: usize) {
    naked_asm!(
        "push ebp",
        "mov ebp, [esp + {word} * 2]",
        "int {software}",
        "pop ebp",
        "ret",
        word = const WORD,
        software = const vector::SOFTWARE,
    )
}

/// Whether this function is compiled to one instruction that reads the running thread, but for a
/// frame and the return.
pub fn check_is_one_load(function: *const u8) -> Outcome {
    // SAFETY: (1) a function of this kernel has at least these bytes of code and padding behind it.
    let bytes = unsafe { core::slice::from_raw_parts(function, 24) };
    let thread = CpuLocal::THREAD as u32;
    // mov eax, fs:[disp32]
    let load = [&[0x64, 0xa1][..], &thread.to_le_bytes()].concat();
    let with_frame = [&[0x55, 0x89, 0xe5][..], &load, &[0x5d, 0xc3]].concat();
    let without = [&load[..], &[0xc3]].concat();
    let is_one = bytes.starts_with(&with_frame) || bytes.starts_with(&without);
    check!(is_one, "`current` is compiled to {bytes:x?}");
    Ok(())
}
