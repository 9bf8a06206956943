//! The modes of a terminal, as programs set them (termios(3)).

/// Modes of input and output, and local ones.
pub(super) mod mode {
    pub(in crate::files) const PROCESSED: u32 = 1;
    pub(in crate::files) const NEWLINE_AS_BOTH: u32 = 4;
    pub(in crate::files) const NEWLINE_TO_RETURN: u32 = 0o100;
    pub(in crate::files) const NO_RETURN: u32 = 0o200;
    pub(in crate::files) const RETURN_TO_NEWLINE: u32 = 0o400;
    pub(in crate::files) const SIGNALS: u32 = 1;
    pub(in crate::files) const LINES: u32 = 2;
    pub(in crate::files) const ECHO: u32 = 0o10;
    pub(in crate::files) const ECHO_ERASE: u32 = 0o20;
    pub(in crate::files) const ECHO_KILL: u32 = 0o40;
    pub(in crate::files) const ECHO_NEWLINE: u32 = 0o100;
    pub(in crate::files) const NO_FLUSH: u32 = 0o200;
    /// Who writes from the background is stopped.
    pub(in crate::files) const STOP_OUTPUT: u32 = 0o400;
    pub(in crate::files) const ECHO_CONTROL: u32 = 0o1000;
    pub(in crate::files) const EXTENDED: u32 = 0o100000;
}

/// Places of control characters.
pub(super) mod key {
    pub(in crate::files) const INTERRUPT: usize = 0;
    pub(in crate::files) const QUIT: usize = 1;
    pub(in crate::files) const ERASE: usize = 2;
    pub(in crate::files) const KILL: usize = 3;
    pub(in crate::files) const END: usize = 4;
    pub(in crate::files) const TIME: usize = 5;
    pub(in crate::files) const LEAST: usize = 6;
    pub(in crate::files) const SUSPEND: usize = 10;
    pub(in crate::files) const END_OF_LINE: usize = 11;
    pub(in crate::files) const ERASE_WORD: usize = 14;
}

/// Control characters.
pub(super) const KEYS: usize = 19;

/// What programs set, in the order of `struct termios`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modes {
    pub(super) input: u32,
    pub(super) output: u32,
    pub(super) control: u32,
    pub(super) local: u32,
    pub(super) keys: [u8; KEYS],
}

impl Modes {
    /// These, but for what is locked, which stays as it was (TIOCSLCKTRMIOS).
    pub(super) fn keeping(self, before: &Self, locked: &Self) -> Self {
        let kept = |new: u32, old: u32, locked: u32| new & !locked | old & locked;
        let key = |at: usize| if locked.keys[at] != 0 { before.keys[at] } else { self.keys[at] };
        Self {
            input: kept(self.input, before.input, locked.input),
            output: kept(self.output, before.output, locked.output),
            control: kept(self.control, before.control, locked.control),
            local: kept(self.local, before.local, locked.local),
            keys: core::array::from_fn(key),
        }
    }
}

/// No bit and no key.
pub(super) const NONE: Modes = Modes { input: 0, output: 0, control: 0, local: 0, keys: [0; KEYS] };

/// As a terminal of Linux begins.
pub(super) const FIRST: Modes = Modes {
    input: 0o2400,
    output: 5,
    control: 0xbf,
    local: 0x8a3b,
    keys: [3, 0x1c, 0x7f, 0x15, 4, 0, 1, 0, 0x11, 0x13, 0x1a, 0, 0x12, 0xf, 0x17, 0x16, 0, 0, 0],
};

/// `struct termios`: four modes, the line discipline, 19 keys.
pub(super) const TERMIOS: usize = 36;

pub(super) fn encode(modes: &Modes) -> [u8; TERMIOS] {
    let mut bytes = [0; TERMIOS];
    let numbers = [modes.input, modes.output, modes.control, modes.local];
    for (place, number) in bytes.chunks_exact_mut(4).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    bytes[17..].copy_from_slice(&modes.keys);
    bytes
}

pub(super) fn decode(bytes: &[u8; TERMIOS]) -> Modes {
    let number =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let mut keys = [0; KEYS];
    keys.copy_from_slice(&bytes[17..]);
    Modes { input: number(0), output: number(4), control: number(8), local: number(12), keys }
}

/// `struct termio`, the older form: four modes of 16 bits, the line discipline, 8 keys and padding.
pub(super) const TERMIO: usize = 18;
const TERMIO_KEYS: usize = 8;

pub(super) fn encode_short(modes: &Modes) -> [u8; TERMIO] {
    let mut bytes = [0; TERMIO];
    let numbers = [modes.input, modes.output, modes.control, modes.local];
    for (place, number) in bytes.chunks_exact_mut(2).zip(numbers) {
        place.copy_from_slice(&(number as u16).to_le_bytes());
    }
    bytes[9..9 + TERMIO_KEYS].copy_from_slice(&modes.keys[..TERMIO_KEYS]);
    bytes
}

/// What it does not have stays as it is: the upper halves of the modes and the other keys.
pub(super) fn decode_short(bytes: &[u8; TERMIO], before: &Modes) -> Modes {
    let number = |at: usize, before: u32| {
        before & 0xffff_0000 | u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
    };
    let mut keys = before.keys;
    keys[..TERMIO_KEYS].copy_from_slice(&bytes[9..9 + TERMIO_KEYS]);
    Modes {
        input: number(0, before.input),
        output: number(2, before.output),
        control: number(4, before.control),
        local: number(6, before.local),
        keys,
    }
}
