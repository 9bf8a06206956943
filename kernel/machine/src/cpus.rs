//! What the kernel keeps per CPU. The first field is the library's block, which a register of the
//! CPU leads to.

use crate::arch::cpu_block::ArchCpu;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use kstack::addr::CpuId;
use kstack::local::CpuLocal;
use kstack::stock::Stock;

/// The most CPUs the kernel runs on.
pub const MAX_CPUS: usize = 64;

/// One CPU's block.
#[derive(Debug)]
#[repr(C)]
pub struct Cpu {
    /// Must stay first: the CPU's register leads to it.
    pub local: CpuLocal,
    /// What only this architecture needs.
    pub arch: ArchCpu,
    /// Spinning locks held; see `spin`.
    spinning: AtomicU32,
    /// What the interrupt controller calls it, for IPIs.
    pub hardware_id: AtomicU32,
    /// The last TLB flush this CPU carried out; see `arch::any::flush`.
    pub flushed: AtomicU64,
    /// The memory node that it is on; see [`crate::nodes`].
    pub node: AtomicUsize,
    /// The thread that runs when no other does.
    pub idle: AtomicUsize,
    /// The physical address of the page tables that are loaded. It fits a word everywhere: the
    /// kernel reaches it.
    pub tables_root: AtomicUsize,
    /// Timer interrupts so far.
    pub ticks: AtomicU64,
    /// Interrupts of other kinds so far.
    pub ipis: AtomicU64,
    /// Pages that are charged to a group before a stack asks for them.
    pub stock: Stock,
}

static CPUS: [Cpu; MAX_CPUS] = {
    let mut number = 0;
    let mut cpus = [const { Cpu::new(CpuId::new(0)) }; MAX_CPUS];
    while number < MAX_CPUS {
        cpus[number] = Cpu::new(CpuId::new(number as u32));
        number += 1;
    }
    cpus
};

static ONLINE: CpuSet = CpuSet::new();

impl Cpu {
    const fn new(cpu: CpuId) -> Self {
        Self {
            local: CpuLocal::new(cpu),
            arch: ArchCpu::new(),
            spinning: AtomicU32::new(0),
            hardware_id: AtomicU32::new(u32::MAX),
            flushed: AtomicU64::new(0),
            node: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            tables_root: AtomicUsize::new(0),
            ticks: AtomicU64::new(0),
            ipis: AtomicU64::new(0),
            stock: Stock::new(),
        }
    }

    /// Its number.
    pub fn id(&self) -> CpuId {
        self.local.cpu()
    }

    /// Spinning locks this CPU holds.
    pub fn spinning(&self) -> u32 {
        self.spinning.load(Ordering::Relaxed)
    }
}

/// The block of the CPU this runs on. With interrupts on, only good for reports.
#[inline(always)]
pub fn this() -> &'static Cpu {
    // SAFETY: (1) the first thing that a CPU does in Rust is to load its block; (2) every loaded
    // CpuLocal is the first field of an element of CPUS, which is repr(C).
    unsafe { &*core::ptr::from_ref(CpuLocal::this()).cast::<Cpu>() }
}

/// The word of the running thread: its address.
#[inline(always)]
pub fn current_thread() -> usize {
    // SAFETY: (1) as for `this`.
    unsafe { CpuLocal::current_thread() }
}

/// The block of a CPU.
///
/// # Panics
///
/// If the number is [`MAX_CPUS`] or more.
pub fn by_id(id: CpuId) -> &'static Cpu {
    &CPUS[id.index()]
}

/// The blocks of all CPUs that there can be, up or not.
pub fn all() -> core::slice::Iter<'static, Cpu> {
    CPUS.iter()
}

/// The CPUs that are up now: a snapshot, which stays the same while it is walked and when it is
/// walked again.
pub fn online() -> impl Iterator<Item = &'static Cpu> + Clone {
    ONLINE.members().map(by_id)
}

/// How many CPUs are up.
pub fn online_count() -> u32 {
    ONLINE.members().count() as u32
}

/// Counts a CPU as up.
pub fn set_online(cpu: CpuId) {
    ONLINE.insert(cpu);
}

/// CPUs of a word of a [`CpuSet`].
const WORD_CPUS: usize = usize::BITS as usize;
const SET_WORDS: usize = MAX_CPUS.div_ceil(WORD_CPUS);

/// A set of CPUs that any of them changes: a bit each, in words of the machine's size, since a
/// 32-bit CPU has no cheap load of 64 bits. Every operation is sequentially consistent, so that "I
/// am in the set" can be ordered against another variable.
#[derive(Debug)]
pub struct CpuSet([AtomicUsize; SET_WORDS]);

impl CpuSet {
    /// No CPU.
    pub const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; SET_WORDS])
    }

    /// Adds a CPU.
    #[inline]
    pub fn insert(&self, cpu: CpuId) {
        let number = cpu.index();
        self.0[number / WORD_CPUS].fetch_or(1 << (number % WORD_CPUS), Ordering::SeqCst);
    }

    /// Takes a CPU out.
    #[inline]
    pub fn remove(&self, cpu: CpuId) {
        let number = cpu.index();
        self.0[number / WORD_CPUS].fetch_and(!(1 << (number % WORD_CPUS)), Ordering::SeqCst);
    }

    /// The members at this moment, lowest number first.
    #[inline]
    pub fn members(&self) -> Members {
        Members { words: self.0.each_ref().map(|word| word.load(Ordering::SeqCst)), at: 0 }
    }
}

/// The CPUs that were in a set.
#[derive(Debug, Clone)]
pub struct Members {
    words: [usize; SET_WORDS],
    at: usize,
}

impl Iterator for Members {
    type Item = CpuId;

    #[inline]
    fn next(&mut self) -> Option<CpuId> {
        while let Some(word) = self.words.get_mut(self.at) {
            if *word != 0 {
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some(CpuId::new((self.at * WORD_CPUS + bit) as u32));
            }
            self.at += 1;
        }
        None
    }
}

#[inline(always)]
pub(crate) fn spin_count_up() {
    let count = &this().spinning;
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

#[inline(always)]
pub(crate) fn spin_count_down() {
    let count = &this().spinning;
    count.store(count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
}
