//! User shadow stacks: the words that a kernel writes to one, and what it accepts there.
//!
//! A shadow stack holds return addresses a second time. Only calls, returns and a few instructions
//! write it; a return to another address than the one it holds is a fault. Two things a program
//! wants to do are neither call nor return, and for both a word on the shadow stack stands for
//! "here a stack was left, and here it may be taken up again":
//!
//! | | x86_64 (Intel SDM vol. 1, 17.2; Linux's arch/x86/kernel/shstk.c) | arm64 (Arm ARM, D11.3; Linux's arch/arm64/mm/gcs.c) |
//! | --- | --- | --- |
//! | the pointer | at the last word that was pushed | the same |
//! | to switch to another stack: at its word `a` | `a + 8`, bit 0 set | the page of `a`, bit 0 set |
//! | a signal pushes, at pointer `p` | `p - 8`: `p`, bit 63 set; `p - 16`: the return address | `p - 8`: the page of `p - 8`; `p - 16`: the return address |
//! | the handler begins with | `p - 16` | `p - 16` |
//! | it returns, which pops the return address; then the word at the pointer | must have bit 63, and leads to `p` | must be the page of its place; becomes 0; leads to `p` |
//! | who chooses the pointer at that moment | the processor's register | the frame: a program may write any number there |
//!
//! What a handler returns to is the program's to choose on x86_64 (`sa_restorer`), so the kernel
//! pushes that word for it: as Linux does.
//!
//! So on arm64 the word is what counts, and it counts once. A program that forges frames can return
//! only to where the kernel pushed a word that has not been used: it has no instruction to write
//! one (unless it asked for stores to shadow stacks), and no return address is the page of a shadow
//! stack, since no shadow stack can be executed. On x86_64 the pointer is always where the
//! processor put it.
//!
//! The tests here run a small machine through every order of calls, returns, signals, switches and
//! forged frames.

/// What an architecture's shadow stack looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the two that programs on Linux have here")]
pub enum Form {
    /// Control-flow enforcement technology.
    X86_64,
    /// Guarded control stack (FEAT_GCS).
    Arm64,
}

/// What a thread asked of its shadow stack: bits, the same on both architectures.
pub mod mode {
    /// Calls and returns use it.
    pub const ENABLED: u64 = 1;
    /// Stores by an instruction of their own are allowed.
    pub const STORES: u64 = 2;
    /// Pushes and pops by an instruction of their own are allowed. arm64 alone.
    pub const PUSHES: u64 = 4;
}

/// Bytes of a word on a shadow stack.
pub const WORD: u64 = 8;
const PAGE_BITS: u64 = 0xfff;
const RESTORES: u64 = 1;
const FROM_KERNEL: u64 = 1 << 63;

/// What a signal pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what is to be written, and where")]
pub struct Pushed {
    /// The pointer that the handler begins with: the lower word's place.
    pub pointer: u64,
    /// The words from there up.
    pub words: [u64; 2],
}

/// How a handler's end is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what is to be done")]
pub struct Popped {
    /// The pointer that the interrupted program continues with.
    pub pointer: u64,
    /// Whether the word must become 0, so that it is not accepted again.
    pub is_used_up: bool,
}

impl Form {
    /// The word at an address by which a program may switch to the stack that begins there.
    pub const fn switch_word(self, at: u64) -> u64 {
        match self {
            Self::X86_64 => at.wrapping_add(WORD) | RESTORES,
            Self::Arm64 => at & !PAGE_BITS | RESTORES,
        }
    }

    /// What a signal pushes on the stack whose pointer is this. `None`: the pointer is none.
    pub const fn for_signal(self, pointer: u64, return_address: u64) -> Option<Pushed> {
        if pointer % WORD != 0 || pointer < 2 * WORD || pointer & FROM_KERNEL != 0 {
            return None;
        }
        let word = match self {
            Self::X86_64 => pointer | FROM_KERNEL,
            Self::Arm64 => (pointer - WORD) & !PAGE_BITS,
        };
        Some(Pushed { pointer: pointer - 2 * WORD, words: [return_address, word] })
    }

    /// What follows from the word that lies at the pointer when a handler has returned. `top`: what
    /// a program's addresses are below. `None`: no kernel put it there.
    ///
    /// Where a program may store to its shadow stack, the word may be anything. On x86_64 the
    /// pointer that follows is put into a register that refuses an address which is not canonical,
    /// with an exception in the kernel: hence the bound.
    pub const fn pop(self, pointer: u64, word: u64, top: u64) -> Option<Popped> {
        if pointer % WORD != 0 {
            return None;
        }
        let (is_right, before, is_used_up) = match self {
            Self::X86_64 => {
                let before = word & !FROM_KERNEL;
                (word & FROM_KERNEL != 0 && before % WORD == 0 && before < top, before, false)
            }
            Self::Arm64 => (word == pointer & !PAGE_BITS, pointer.wrapping_add(WORD), true),
        };
        if is_right { Some(Popped { pointer: before, is_used_up }) } else { None }
    }
}

/// Bytes of the shadow stack for a stack of so many bytes; 0: for the first thread, or one whose
/// stack's size is not known. `limit`: that of the growing stack (RLIMIT_STACK).
pub const fn stack_bytes(form: Form, bytes: u64, limit: u64) -> u64 {
    const MAX_X86_64: u64 = 4 << 30;
    const MAX_ARM64: u64 = 2 << 30;
    const fn smaller(a: u64, b: u64) -> u64 {
        if a < b { a } else { b }
    }
    let wanted = match form {
        Form::X86_64 if bytes != 0 => smaller(bytes, MAX_X86_64),
        Form::X86_64 => smaller(limit, MAX_X86_64),
        Form::Arm64 if bytes >= 2 => bytes / 2,
        Form::Arm64 => smaller(limit / 2, MAX_ARM64),
    };
    let page = PAGE_BITS + 1;
    // At most half of what a number can say: it has a next page.
    let whole = wanted.next_multiple_of(page);
    if whole == 0 { page } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet, VecDeque};
    use std::vec::Vec;

    /// Two stacks of a few words, at both ends of pages.
    const LOWEST: [u64; 2] = [0x7000_0fe0, 0x7000_2fd0];
    const WORDS: u64 = 6;
    const CODE: [u64; 2] = [0x40_0000, 0x40_0104];
    const WAY_BACK: u64 = 0x50_0000;
    const TOP: u64 = 0x7fff_ffff_f000;

    /// A machine: the words that are not 0, the pointer, and what the kernel wrote and has not seen
    /// again.
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct Machine {
        words: BTreeMap<u64, u64>,
        pointer: u64,
        /// Words for handlers, by place, and where each leads.
        signals: BTreeMap<u64, u64>,
        /// Words for switching, likewise.
        switches: BTreeSet<u64>,
        /// On x86_64, words that say which stack was left, between the two halves of a switch.
        lefts: BTreeSet<u64>,
    }

    fn is_on_a_stack(at: u64) -> bool {
        at.is_multiple_of(WORD)
            && LOWEST.iter().any(|&lowest| (lowest..lowest + WORDS * WORD).contains(&at))
    }

    impl Machine {
        fn read(&self, at: u64) -> Option<u64> {
            is_on_a_stack(at).then(|| self.words.get(&at).copied().unwrap_or(0))
        }

        fn write(&mut self, at: u64, word: u64) -> bool {
            if !is_on_a_stack(at) {
                return false;
            }
            self.signals.remove(&at);
            self.switches.remove(&at);
            self.lefts.remove(&at);
            self.words.insert(at, word);
            true
        }

        /// What the kernel does at the end of a handler, with a pointer that the program chose or
        /// not.
        fn sigreturn(&self, form: Form, pointer: u64) -> Option<Self> {
            let popped = form.pop(pointer, self.read(pointer)?, TOP)?;
            let leads = self.signals.get(&pointer).copied();
            assert_eq!(
                leads,
                Some(popped.pointer),
                "a word is accepted that no signal pushed, or a second time"
            );
            let mut next = self.clone();
            next.signals.remove(&pointer);
            if popped.is_used_up {
                next.write(pointer, 0);
                assert!(next.sigreturn(form, pointer).is_none(), "a word is accepted twice");
            }
            next.pointer = popped.pointer;
            Some(next)
        }

        /// Every state that follows from what a program, or a signal that comes, can do.
        fn next(&self, form: Form) -> Vec<Self> {
            let mut next = Vec::new();
            for code in CODE {
                let mut called = self.clone();
                called.pointer = self.pointer.wrapping_sub(WORD);
                if called.write(called.pointer, code) {
                    next.push(called);
                }
            }
            match self.read(self.pointer) {
                Some(word) if CODE.contains(&word) || word == WAY_BACK => {
                    let mut returned = self.clone();
                    returned.pointer += WORD;
                    next.push(returned);
                }
                _ => {}
            }
            if let Some(pushed) = form.for_signal(self.pointer, WAY_BACK) {
                let mut signalled = self.clone();
                let [lower, upper] = [pushed.pointer, pushed.pointer + WORD];
                if signalled.write(upper, pushed.words[1])
                    && signalled.write(lower, pushed.words[0])
                {
                    signalled.signals.insert(upper, self.pointer);
                    signalled.pointer = pushed.pointer;
                    next.push(signalled);
                }
            }
            // A frame may say any pointer where the kernel takes it from there.
            let stacks =
                LOWEST.iter().flat_map(|&lowest| (0..WORDS).map(move |i| lowest + i * WORD));
            for pointer in stacks.clone().filter(|&at| form == Form::Arm64 || at == self.pointer) {
                next.extend(self.sigreturn(form, pointer));
            }
            if form == Form::X86_64 {
                self.switches_of_x86_64(stacks, &mut next);
                return next;
            }
            // A switch uses up the word at its target, and leaves one at the pointer: the
            // instructions' rule.
            for target in stacks {
                if self.read(target) == Some(form.switch_word(target)) {
                    assert!(self.switches.contains(&target), "a switch to where no stack was left");
                    let mut switched = self.clone();
                    switched.write(target, 0);
                    let left = self.pointer.wrapping_sub(WORD);
                    if switched.write(left, form.switch_word(left)) {
                        switched.switches.insert(left);
                        switched.pointer = target + WORD;
                        next.push(switched);
                    }
                }
            }
            next
        }
    }

    impl Machine {
        /// What moves the pointer of x86_64 otherwise: `incssp`, and a switch by its two halves,
        /// which other things may come between (Intel SDM vol. 1, 17.2.3 and vol. 2, INCSSP,
        /// RSTORSSP, SAVEPREVSSP).
        fn switches_of_x86_64(&self, stacks: impl Iterator<Item = u64>, next: &mut Vec<Self>) {
            const LONG: u64 = 1;
            const PREVIOUS: u64 = 2;
            if self.read(self.pointer).is_some() {
                let mut passed = self.clone();
                passed.pointer += WORD;
                next.push(passed);
            }
            for target in stacks {
                if self.read(target) == Some(Form::X86_64.switch_word(target)) {
                    assert!(self.switches.contains(&target), "a switch to where no stack was left");
                    let mut switched = self.clone();
                    switched.write(target, self.pointer | LONG | PREVIOUS);
                    switched.lefts.insert(target);
                    switched.pointer = target;
                    next.push(switched);
                }
            }
            let left = |word: &u64| word & PREVIOUS != 0 && word & FROM_KERNEL == 0;
            if let Some(word) = self.read(self.pointer).filter(left) {
                assert!(self.lefts.contains(&self.pointer), "no switch left this word");
                let left = (word & !7).wrapping_sub(WORD);
                let mut saved = self.clone();
                saved.pointer += WORD;
                if saved.write(left, Form::X86_64.switch_word(left)) {
                    saved.switches.insert(left);
                    next.push(saved);
                }
            }
        }
    }

    /// Every order of calls, returns, signals, ends of handlers and switches, with frames that name
    /// any pointer: the kernel accepts only what a signal pushed, where it pushed it, and once: on
    /// arm64 because the word is used up, on x86_64 because the pointer comes back to it only by
    /// what overwrites it.
    #[test]
    fn p7_whatever_a_program_does_only_the_kernels_words_are_accepted() {
        for form in [Form::X86_64, Form::Arm64] {
            let second = LOWEST[1] + (WORDS - 1) * WORD;
            let mut first = Machine {
                words: BTreeMap::new(),
                pointer: LOWEST[0] + (WORDS - 1) * WORD,
                signals: BTreeMap::new(),
                switches: BTreeSet::new(),
                lefts: BTreeSet::new(),
            };
            first.write(second, form.switch_word(second));
            first.switches.insert(second);
            let (mut seen, mut queue) = (BTreeSet::new(), VecDeque::from([(first, 0)]));
            let (mut handlers, mut switched) = (0, 0);
            while let Some((machine, depth)) = queue.pop_front() {
                if depth == 9 || !seen.insert(machine.clone()) {
                    continue;
                }
                handlers += usize::from(!machine.signals.is_empty());
                switched += usize::from(machine.pointer > LOWEST[1]);
                queue.extend(machine.next(form).into_iter().map(|next| (next, depth + 1)));
            }
            assert!(
                seen.len() > 5_000 && handlers > 1_000 && switched > 500,
                "{form:?}: {}",
                seen.len()
            );
        }
    }

    #[test]
    fn p7_words_are_those_of_the_manuals_and_of_linux() {
        assert_eq!(Form::X86_64.switch_word(0x7000_0ff8), 0x7000_1001);
        assert_eq!(Form::Arm64.switch_word(0x7000_0ff8), 0x7000_0001);
        let pushed = Form::X86_64.for_signal(0x7000_0ff0, 7).unwrap();
        assert_eq!((pushed.pointer, pushed.words), (0x7000_0fe0, [7, 0x7000_0ff0 | 1 << 63]));
        let pushed = Form::Arm64.for_signal(0x7000_1000, 7).unwrap();
        assert_eq!((pushed.pointer, pushed.words), (0x7000_0ff0, [7, 0x7000_0000]));
        assert_eq!(Form::Arm64.for_signal(0x7000_1004, 7), None);
        for form in [Form::X86_64, Form::Arm64] {
            let pointer_of = |pointer| form.for_signal(pointer, 7).map(|pushed| pushed.pointer);
            // Two words, and no more, have room below.
            assert_eq!([0, 8, 16, 24].map(pointer_of), [None, None, Some(0), Some(8)]);
            assert_eq!(pointer_of(0x7000_0ff0 | 1 << 63), None, "{form:?}: of the upper half");
            // Not a word's place, whatever lies there.
            for word in [0x7000_0ff0 | 1 << 63, 0x7000_0000, 0] {
                assert_eq!(form.pop(0x7000_0fec, word, TOP), None, "{form:?}");
            }
        }
        let refused = |word| Form::X86_64.pop(0x7000_0fe8, word, TOP).is_none();
        assert!(refused(0x7000_0ff0), "without bit 63");
        assert!(refused(0x7000_0ff4 | 1 << 63), "not a word's place");
        assert!(refused(TOP | 1 << 63), "beyond what a program has");
        assert!(!refused((TOP - WORD) | 1 << 63), "the last word that a program has");
        let popped = Some(Popped { pointer: 0x7000_0ff0, is_used_up: false });
        assert_eq!(Form::X86_64.pop(0x7000_0fe8, 0x7000_0ff0 | 1 << 63, TOP), popped);
        let popped = Some(Popped { pointer: 0x7000_1000, is_used_up: true });
        assert_eq!(Form::Arm64.pop(0x7000_0ff8, 0x7000_0000, TOP), popped);
        assert_eq!(Form::Arm64.pop(0x7000_0ff8, 0x7000_1000, TOP), None, "of another page");
        assert_eq!(Form::Arm64.pop(0x7000_0ff8, 0, TOP), None);
    }

    /// Whatever lies there: a program may store to its shadow stack. Red if the pointer goes
    /// unchecked to a register that refuses it.
    #[test]
    fn p7_no_word_leads_to_a_pointer_that_a_processor_refuses() {
        let mut accepted = 0;
        for high in 0..=63 {
            for low in 0..16 {
                let word = (1 << high | low) | FROM_KERNEL;
                if let Some(popped) = Form::X86_64.pop(0x7000_0fe8, word, TOP) {
                    assert!(popped.pointer < TOP && popped.pointer % WORD == 0, "{word:#x}");
                    accepted += 1;
                }
            }
        }
        assert!(accepted > 40, "{accepted}");
    }

    #[test]
    fn p7_a_shadow_stack_is_as_large_as_linux_makes_it() {
        const MIB: u64 = 1 << 20;
        for (form, bytes, limit, expected) in [
            (Form::X86_64, 0, 8 * MIB, 8 * MIB),
            (Form::X86_64, 0, u64::MAX, 4096 * MIB),
            (Form::X86_64, 5000, 8 * MIB, 8192),
            (Form::X86_64, 8192 * MIB, 8 * MIB, 4096 * MIB),
            (Form::Arm64, 0, 8 * MIB, 4 * MIB),
            (Form::Arm64, 0, u64::MAX, 2048 * MIB),
            (Form::Arm64, 0, 0, 4096),
            (Form::Arm64, 5 * MIB, 8 * MIB, 5 * MIB / 2),
            (Form::Arm64, 100, 8 * MIB, 4096),
            // Not known is only what is no size.
            (Form::X86_64, 1, 8 * MIB, 4096),
            (Form::Arm64, 2, 8 * MIB, 4096),
            (Form::Arm64, 1, 8 * MIB, 4 * MIB),
            // A size that a program chooses freely there.
            (Form::Arm64, 1 << 60, 8 * MIB, 1 << 59),
            (Form::Arm64, u64::MAX, 8 * MIB, 1 << 63),
        ] {
            assert_eq!(stack_bytes(form, bytes, limit), expected, "{form:?} {bytes} {limit}");
        }
    }
}
