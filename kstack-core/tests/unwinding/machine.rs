//! A machine invented for the tests of the unwinder: stacks that are arrays, and rules of its own
//! for frames.

use kstack_core::addr::{Addr, AddrRange, ByteSize, CpuId};
use kstack_core::kind::StackKind;
use kstack_core::prologue::FrameState;
use kstack_core::stacks::{Code, StackId, StackLookup, ThreadId};
use kstack_core::unwind::{End, FrameRules, SavedRegs, Step, Unwinder};

pub(crate) const WORD: usize = size_of::<usize>();

/// Frame rules of a machine invented for these tests: bit 0 marks saved registers of four words:
/// pc, sp, fp, user.
pub(crate) struct Rules;

impl FrameRules for Rules {
    fn saved_regs_at(fp: Addr) -> Option<Addr> {
        (fp.get() % WORD == 1).then(|| Addr::new(fp.get() - 1))
    }

    const SAVED_REGS: ByteSize = ByteSize::new(4 * WORD);

    fn read_saved_regs(
        at: Addr,
        read: &mut impl FnMut(Addr) -> Option<usize>,
    ) -> Option<SavedRegs> {
        let mut word = |i: usize| read(Addr::new(at.get() + i * WORD));
        Some(SavedRegs {
            pc: Addr::new(word(0)?),
            sp: Addr::new(word(1)?),
            fp: Addr::new(word(2)?),
            link: None,
            from_user: word(3)? != 0,
        })
    }

    fn frame_state(code: &[u8], offset: usize) -> FrameState {
        state(code, offset)
    }

    fn keeps_frames(code: &[u8]) -> bool {
        code == b"framed"
    }
}

/// Offset 0: at SP; 1: in the link register; 2: the code does not tell; 3: one word above SP; then
/// the record is there.
pub(crate) fn state(code: &[u8], offset: usize) -> FrameState {
    match (code, offset) {
        (b"frameless", 4..) | (_, 2) => FrameState::Unknown,
        (_, 0) => FrameState::OnStack(0),
        (_, 1) => FrameState::InLink,
        (_, 3) => FrameState::OnStack(1),
        _ => FrameState::There,
    }
}

/// One stack with its words.
pub(crate) struct Stack {
    pub(crate) id: StackId,
    pub(crate) words: Vec<usize>,
    /// Whether it stays mapped during the walk.
    pub(crate) kept: bool,
}

pub(crate) struct Machine(pub(crate) Vec<Stack>);

impl StackLookup for Machine {
    fn stack_at(&self, addr: Addr) -> Option<StackId> {
        self.0.iter().map(|stack| stack.id).find(|id| id.range.contains(addr))
    }

    fn stays_mapped(&self, id: &StackId) -> bool {
        self.0.iter().any(|stack| stack.id == *id && stack.kept)
    }

    /// Code of the invented machine: an address's second hexadecimal digit says what the function
    /// is like, the last one how far from the function's start the instruction lies.
    fn code_at(&self, pc: Addr) -> Code {
        let lowest = Addr::new(pc.get() & !0xf);
        match pc.get() >> 4 & 0xf {
            0 => Code::Unknown,
            0xe => Code::Entry,
            0xf => Code::Function { lowest, code: b"frameless" },
            _ => Code::Function { lowest, code: b"framed" },
        }
    }
}

impl Machine {
    pub(crate) fn with(stacks: &[(StackKind, usize)]) -> Self {
        Self::of_words(64, stacks)
    }

    /// The same with stacks of so many words.
    pub(crate) fn of_words(words: usize, stacks: &[(StackKind, usize)]) -> Self {
        let stack = |&(kind, lowest): &(StackKind, usize)| Stack {
            id: StackId {
                kind,
                cpu: Some(CpuId::new(0)),
                owner: ThreadId::new(7),
                range: AddrRange::sized(Addr::new(lowest), ByteSize::new(words * WORD)),
            },
            words: vec![0; words],
            kept: true,
        };
        Self(stacks.iter().map(stack).collect())
    }

    pub(crate) fn put(&mut self, at: usize, value: usize) {
        let stack = self
            .0
            .iter_mut()
            .find(|stack| stack.id.range.contains(Addr::new(at)))
            .expect("on a stack");
        let index = (at - stack.id.range.lowest.get()) / WORD;
        stack.words[index] = value;
    }

    /// A frame record at `at`.
    pub(crate) fn frame(&mut self, at: usize, fp: usize, pc: usize) {
        self.put(at, fp);
        self.put(at + WORD, pc);
    }

    pub(crate) fn regs(&mut self, at: usize, pc: usize, sp: usize, fp: usize, user: bool) {
        for (i, word) in [pc, sp, fp, usize::from(user)].into_iter().enumerate() {
            self.put(at + i * WORD, word);
        }
    }

    /// Reads like a kernel would; asserts what the unwinder promises of its reads.
    pub(crate) fn read(&self, at: Addr) -> Option<usize> {
        assert_eq!(at.get() % WORD, 0, "aligned reads only");
        let stack = self.0.iter().find(|stack| stack.id.range.contains(at));
        let stack = stack.unwrap_or_else(|| panic!("read {at} outside all stacks"));
        Some(stack.words[(at.get() - stack.id.range.lowest.get()) / WORD])
    }

    pub(crate) fn walk(&self, fp: usize) -> Vec<Step> {
        let mut unwinder = Unwinder::new(self, |at| self.read(at), Addr::new(fp));
        let mut steps = Vec::new();
        loop {
            let step = unwinder.step::<Rules>();
            steps.push(step);
            assert!(steps.len() < 2000, "the walk does not end");
            if let Step::End(_) = step {
                return steps;
            }
        }
    }
}

pub(crate) fn callers(steps: &[Step]) -> Vec<usize> {
    let pc = |step: &Step| match step {
        Step::Caller(pc) => Some(pc.get()),
        Step::Interrupted(regs) => Some(regs.pc.get()),
        _ => None,
    };
    steps.iter().filter_map(pc).collect()
}

pub(crate) fn end(steps: &[Step]) -> End {
    match steps.last() {
        Some(Step::End(end)) => *end,
        other => panic!("no end but {other:?}"),
    }
}
