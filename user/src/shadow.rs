//! Shadow stacks, as programs here use them: the calls of each architecture behind the same names.

use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::arch::{SHADOW_BY_PRCTL, shadow_pointer, with_shadow_stack};
use crate::calls::{Calls, call, read_file};
use crate::memory;
use crate::signals::{SIGSEGV, Shared, address_of, code_of};

/// Codes of a SIGSEGV.
pub const MAPERR: i32 = 1;
/// A page that may not be used so.
pub const ACCERR: i32 = 2;
/// A return elsewhere, or a switch to where no word is.
pub const CPERR: i32 = 10;
/// `SI_KERNEL`.
pub const FROM_KERNEL: i32 = 0x80;
/// Modes.
pub const ON: usize = 1;
/// With the instruction that stores to shadow stacks.
pub const WITH_STORES: usize = 2;
/// With those that push and pop; arm64 alone.
pub const WITH_PUSHES: usize = 4;
/// Flags of map_shadow_stack: a word to switch by.
pub const SET_WORD: usize = 1;
/// A word above it that ends the stack; arm64 alone.
pub const SET_MARKER: usize = 2;
/// The status of a child whose SIGSEGV was told as expected.
pub const AS_EXPECTED: i32 = 42 << 8;
/// Whether this is the architecture whose calls are those of prctl.
pub const IS_ARM64: bool = SHADOW_BY_PRCTL;

/// `prctl` of them.
pub const GET: usize = 74;
/// Sets the mode.
pub const SET: usize = 75;
/// Locks bits of it.
pub const LOCK: usize = 76;
/// `arch_prctl` of them.
pub const ENABLE: usize = 0x5001;
/// Takes a feature away.
pub const DISABLE: usize = 0x5002;
/// Locks features.
pub const LOCK_FEATURES: usize = 0x5003;
/// Unlocks them: a tracer's.
pub const UNLOCK_FEATURES: usize = 0x5004;
/// Tells which are on.
pub const FEATURES: usize = 0x5005;

/// Of signals.
pub static NUMBERS: Shared = Shared::new();
/// prctl, map_shadow_stack, mprotect, arch_prctl.
static CALLS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
/// What the next SIGSEGV must say: code and address (0: any).
static EXPECTED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// What a child's shadow stack left behind.
static LEFT_BEHIND: AtomicI32 = AtomicI32::new(0);

/// A call that not every architecture has; `usize::MAX` is no call.
pub fn number(of: usize) -> usize {
    CALLS[of].load(Ordering::SeqCst)
}

/// The places of [`number`].
pub const MAP: usize = 1;
/// mprotect.
pub const PROTECT: usize = 2;
/// arch_prctl.
pub const ARCH: usize = 3;

/// Reads the numbers of signals and calls, and takes SIGSEGV. Says whether all is there.
pub fn begin() -> bool {
    let (Some(numbers), Ok(known)) = (crate::signals::Numbers::read(), Calls::read()) else {
        return false;
    };
    let names = ["prctl", "map_shadow_stack", "mprotect", "arch_prctl"];
    for (number, name) in CALLS.iter().zip(names) {
        number.store(known.number(name), Ordering::SeqCst);
    }
    NUMBERS.keep(numbers).handle(SIGSEGV, on_segv, 0, 0)
}

/// `prctl` with one argument.
pub fn prctl(option: usize, one: usize) -> isize {
    call(number(0), [option, one, 0, 0, 0])
}

/// `arch_prctl`.
pub fn arch_prctl(code: usize, value: usize) -> isize {
    call(number(ARCH), [code, value])
}

/// `map_shadow_stack`.
pub fn map_shadow(at: usize, bytes: usize, flags: usize) -> isize {
    call(number(MAP), [at, bytes, flags])
}

/// The calling thread's mode, or the error.
pub fn status() -> isize {
    let mut mode = 0_u64;
    let at = (&raw mut mode).addr();
    match if IS_ARM64 { prctl(GET, at) } else { arch_prctl(FEATURES, at) } {
        0 => mode as isize,
        error => error,
    }
}

/// Locks bits of the mode.
pub fn lock(bits: usize) -> isize {
    if IS_ARM64 { prctl(LOCK, bits) } else { arch_prctl(LOCK_FEATURES, bits) }
}

/// Whether this machine has them for programs.
pub fn are_there() -> bool {
    let turn_off = || {
        if IS_ARM64 { prctl(SET, 0) } else { arch_prctl(DISABLE, ON) }
    };
    number(if IS_ARM64 { 0 } else { ARCH }) != usize::MAX && turn_off() == 0
}

/// The word by which a program may switch to the stack that begins there.
pub fn switch_word(at: usize) -> usize {
    if IS_ARM64 { at & !(memory::PAGE - 1) | 1 } else { (at + 8) | 1 }
}

/// How many shadow stacks the process has, by `smaps`.
pub fn shadow_stacks() -> usize {
    let mut text = [0; 32768];
    let length = read_file(c"/proc/self/smaps", &mut text).unwrap_or(0);
    let lines = text[..length].split(|&byte| byte == b'\n');
    lines.filter(|line| line.starts_with(b"VmFlags:") && line.ends_with(b" ss ")).count()
}

/// What the next SIGSEGV must say.
pub fn expect(code: i32, address: usize) {
    EXPECTED[0].store(code as usize, Ordering::SeqCst);
    EXPECTED[1].store(address, Ordering::SeqCst);
}

extern "C" fn on_segv(_signal: usize, info: usize, _context: usize) {
    let [code, address] = [0, 1].map(|i| EXPECTED[i].load(Ordering::SeqCst));
    let is_right = code_of(info) as usize == code && (address == 0 || address_of(info) == address);
    crate::exit(if is_right { AS_EXPECTED >> 8 } else { 1 + code_of(info) })
}

/// Runs `body` in a child with a shadow stack in this mode; the child's wait status. 99: there is
/// no such mode; 98: on x86_64, turning it off leaves it mapped.
pub fn in_child(mode: usize, body: extern "C" fn(usize) -> usize) -> i32 {
    memory::child(|| match with_shadow_stack(mode, body, 0) {
        usize::MAX => 99,
        0 if !IS_ARM64 && shadow_stacks() != LEFT_BEHIND.load(Ordering::SeqCst) as usize => 98,
        status => status as i32,
    })
}

/// How many shadow stacks this process means to have when its own is off.
pub fn leaves_behind(stacks: i32) {
    LEFT_BEHIND.store(stacks, Ordering::SeqCst);
}

/// A child that must end in a SIGSEGV of this code.
pub fn dies(mode: usize, code: i32, body: extern "C" fn(usize) -> usize) -> bool {
    expect(code, 0);
    in_child(mode, body) == AS_EXPECTED
}

/// Calls itself so many times; where the shadow stack is at the deepest.
#[inline(never)]
pub fn depth(left: usize) -> usize {
    core::hint::black_box(if left == 0 { shadow_pointer() } else { depth(left - 1) })
}

/// Ends a body of [`in_child`] with status 1 and a sentence if something is not as it must be.
#[macro_export]
macro_rules! holds {
    ($condition:expr, $message:literal) => {
        if !$condition {
            let _ = $crate::write_all(1, concat!($message, "\n").as_bytes());
            return 1;
        }
    };
}
