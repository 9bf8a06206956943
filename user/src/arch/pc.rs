//! What both PCs share.

use core::arch::{asm, naked_asm};

/// Pushes the flags register, a word of the machine's size. By its byte: the assembler takes
/// `pushf` for the one of 16 bits where words have 32.
macro_rules! push_flags {
    () => {
        ".byte 0x9c"
    };
}

/// Instructions that fault: the signal, its code, a function that has the instruction.
pub const FAULTS: &[(usize, i32, extern "C" fn(usize) -> usize)] = &[
    (4, 2, faults_undefined),
    (8, 1, faults_divide),
    (5, 0x80, faults_breakpoint),
    (11, 0x80, faults_halt),
];

/// Whether the processor runs this as a program, as far as it says.
pub fn is_unprivileged() -> bool {
    /// Interrupts, and the level that may use ports.
    const INTERRUPTS: usize = 1 << 9;
    const PORTS: usize = 3 << 12;
    let (flags, selector): (usize, usize);
    // SAFETY: (1) what is pushed is popped.
    unsafe {
        asm!(push_flags!(), "pop {0}", "mov {1:e}, cs", out(reg) flags, out(reg) selector);
    }
    selector & 3 == 3 && flags & INTERRUPTS != 0 && flags & PORTS == 0
}

/// Keeps known values in registers that a system call may change, until a word is no longer 0.
/// Returns whether they are still there.
pub fn spins_with_all_kept(until: &core::sync::atomic::AtomicU32) -> bool {
    const VALUES: [usize; 3] = [0x1234_5678, 0x2345_6789, 0x3456_789a];
    let [mut a, mut c, mut d] = VALUES;
    // SAFETY: (1) the word is read as long as it is borrowed; (2) the registers are named.
    unsafe {
        #[cfg(target_pointer_width = "64")]
        {
            let mut r11 = usize::MAX / 3;
            asm!(
                "2: cmp dword ptr [{until}], 0",
                "je 2b",
                until = in(reg) until.as_ptr(),
                inout("rax") a, inout("rcx") c, inout("rdx") d, inout("r11") r11,
                options(nostack, readonly),
            );
            r11 == usize::MAX / 3 && [a, c, d] == VALUES
        }
        #[cfg(target_pointer_width = "32")]
        asm!(
            "2: cmp dword ptr [{until}], 0",
            "je 2b",
            until = in(reg) until.as_ptr(),
            inout("eax") a, inout("ecx") c, inout("edx") d,
            options(nostack, readonly),
        );
        #[cfg(target_pointer_width = "32")]
        {
            [a, c, d] == VALUES
        }
    }
}

/// Makes every floating-point register something else.
pub extern "C" fn clobber_floats() {
    /// What a program starts with.
    static CONTROL: u32 = 0x1f80;
    // SAFETY: (1) only registers are written, which a function of C may change; (2) the word is a
    // static.
    unsafe {
        asm!(
            "ldmxcsr [{control}]",
            "fninit",
            "fldpi",
            "fldpi",
            ".irp n, 0,1,2,3,4,5,6,7",
            "pcmpeqd xmm\\n, xmm\\n",
            ".endr",
            ".if {word} == 8",
            ".irp n, 8,9,10,11,12,13,14,15",
            "pcmpeqd xmm\\n, xmm\\n",
            ".endr",
            ".endif",
            control = in(reg) &raw const CONTROL,
            word = const size_of::<usize>(),
            clobber_abi("C"),
        );
    }
}

#[unsafe(naked)]
extern "C" fn faults_undefined(_argument: usize) -> usize {
    naked_asm!("ud2")
}

#[unsafe(naked)]
extern "C" fn faults_divide(_argument: usize) -> usize {
    naked_asm!("xor edx, edx", "xor ecx, ecx", "div ecx", "ret")
}

#[unsafe(naked)]
extern "C" fn faults_breakpoint(_argument: usize) -> usize {
    naked_asm!("int3", "ret")
}

#[unsafe(naked)]
extern "C" fn faults_halt(_argument: usize) -> usize {
    naked_asm!("hlt", "ret")
}

/// Whether programs may use I/O ports, where the kernel permits it.
pub const HAS_PORTS: bool = true;

/// Reads a byte from a port.
pub extern "C" fn read_port(port: usize) -> usize {
    let byte: u8;
    // SAFETY: (1) the ports that the tests use are those that firmware writes its progress to:
    // reading has no effect. Where the kernel permits none, it is a fault.
    unsafe { asm!("in al, dx", in("dx") port as u16, out("al") byte, options(nostack)) };
    byte.into()
}

/// Reads two bytes from a port and the next.
pub extern "C" fn read_two_ports(port: usize) -> usize {
    let bytes: u16;
    // SAFETY: (1) as above.
    unsafe { asm!("in ax, dx", in("dx") port as u16, out("ax") bytes, options(nostack)) };
    bytes.into()
}

/// Disables interrupts, and enables them again. Gives out whether they stayed enabled between.
pub extern "C" fn switch_interrupts(_argument: usize) -> usize {
    const INTERRUPTS: usize = 1 << 9;
    let flags: usize;
    // SAFETY: (1) a fault, or without effect; (2) what is pushed is popped.
    unsafe { asm!("cli", push_flags!(), "sti", "pop {}", out(reg) flags) };
    usize::from(flags & INTERRUPTS != 0)
}

/// Flags of open that are not the same everywhere: `O_DIRECTORY`, `O_NOFOLLOW`, `O_LARGEFILE`.
pub const OPEN_FLAGS: [usize; 3] = [0o200_000, 0o400_000, 0o100_000];
