//! What is not safe, and says so: each item shows one call that must not compile without `unsafe`.
//!
//! Compiled for documentation tests only.

macro_rules! needs_unsafe {
    ($($name:ident: $call:literal;)*) => {$(
        #[doc = concat!("```compile_fail,E0133\n", $call, ";\n```\n\n```no_run\nunsafe { ", $call, " };\n```")]
        pub fn $name() {}
    )*};
}

needs_unsafe! {
    l2_the_cpus_block_is_unsafe_to_ask_for: "kstack::local::CpuLocal::this()";
    l2_the_running_thread_is_unsafe_to_ask_for: "kstack::local::CpuLocal::current_thread()";
    l2_interrupts_are_unsafe_to_turn_off: "kstack::arch::current::interrupts::off()";
    l2_interrupts_are_unsafe_to_turn_on: "kstack::arch::current::interrupts::on()";
    l2_softirqs_are_unsafe_to_raise: "kstack::irq::raise_softirq(1)";
    l2_softirqs_are_unsafe_to_raise_from_a_thread: "kstack::irq::raise_softirq_from_thread(1)";
    l2_bottom_halves_are_unsafe_to_disable: "kstack::irq::disable_bottom_halves()";
    l2_bottom_halves_are_unsafe_to_enable: "kstack::irq::enable_bottom_halves()";
    l2_a_section_without_interrupts_is_unsafe: "kstack::interrupts::without(|_| ())";
    l2_the_proof_of_interrupts_off_is_unsafe_to_make: "kstack::InterruptsOff::assume()";
}

/// ```compile_fail,E0133
/// fn install(pool: kstack::pool::Pool<'static>) -> kstack::registry::Registry {
///     kstack::registry::Registry::new(pool)
/// }
/// ```
pub fn l2_a_registry_is_unsafe_to_make() {}

/// ```compile_fail,E0133
/// fn pool(registry: &kstack::registry::Registry) {
///     registry.pool();
/// }
/// ```
pub fn l2_a_registrys_pool_is_unsafe_to_ask_for() {}

/// ```compile_fail,E0133
/// use kstack::unwind::Backtrace;
/// fn forged(registry: &kstack::registry::Registry, regs: &kstack::arch::current::regs::SavedRegs) {
///     kstack::unwind::from_regs(registry, regs, &mut Backtrace::<8>::empty());
/// }
/// ```
pub fn l2_a_backtrace_from_registers_is_unsafe() {}

/// ```compile_fail,E0133
/// use kstack::addr::{Addr, AddrRange};
/// fn switch(local: &kstack::local::CpuLocal, watermark: &'static kstack::meter::Watermark) {
///     local.set_thread(0, AddrRange::EMPTY, watermark, 0);
/// }
/// ```
pub fn l2_the_running_thread_is_unsafe_to_set() {}

/// ```compile_fail,E0133
/// fn irq(local: &kstack::local::CpuLocal) {
///     local.set_irq_top(kstack::addr::Addr::new(0));
/// }
/// ```
pub fn l2_a_cpus_irq_stack_is_unsafe_to_set() {}

/// ```compile_fail,E0133
/// fn install(hooks: &'static kstack::hooks::Hooks) {
///     kstack::hooks::install(hooks);
/// }
/// ```
pub fn l2_hooks_are_unsafe_to_install() {}

/// ```compile_fail,E0133
/// fn load(local: &'static kstack::local::CpuLocal) {
///     local.load();
/// }
/// ```
pub fn l2_a_cpus_block_is_unsafe_to_load() {}

/// ```compile_fail,E0133
/// fn load(local: &'static kstack::local::CpuLocal, tables: *mut kstack::arch::current::tables::CpuTables) {
///     let _refused = kstack::cpu::load(local, tables);
/// }
/// ```
pub fn l2_a_cpus_tables_are_unsafe_to_load() {}

/// ```compile_fail,E0133
/// fn build(stack: kstack::addr::AddrRange, start: kstack::first_frame::Start<'_>) -> usize {
///     kstack::first_frame::build(stack, start)
/// }
/// ```
pub fn l2_a_first_frame_is_unsafe_to_build_anywhere() {}

/// ```compile_fail,E0133
/// fn forged(registry: &kstack::registry::Registry, regs: &kstack::arch::current::regs::SavedRegs) {
///     kstack::unwind::for_each_from_regs(registry, regs, |_| ());
/// }
/// ```
pub fn l2_steps_from_registers_are_unsafe() {}

/// ```compile_fail,E0133
/// extern "C" fn there(_: usize, _: usize) {}
/// fn call(sp: usize) {
///     kstack::arch::current::call::call_on_stack(0, 0, there, sp);
/// }
/// ```
pub fn l2_a_call_on_another_stack_is_unsafe() {}

/// ```compile_fail,E0133
/// fn switch(saved: *mut usize, sp: usize) -> usize {
///     kstack::arch::current::switch::switch(saved, sp, 0)
/// }
/// ```
pub fn l2_the_bare_switch_is_unsafe() {}

macro_rules! stacks_of_nothing {
    ($($name:ident, $code:literal: $body:literal;)*) => {$(
        #[doc = concat!(
            "```compile_fail,", $code, "\n\
            use kstack::{Backing, Borrowed, InterruptsOff, Stack, Stacks, Start, Thread, cpu};\n\
            use kstack::{addr::{Addr, AddrRange, CpuId}, pool::{Exhausted, Request, StackRef}, kind::StackKind};\n",
            $body, "\n```"
        )]
        pub fn $name() {}
    )*};
}

// The same with the misuse left out compiles: the tests of `owned` and the front page use all of
// it.
stacks_of_nothing! {
    l2_a_backing_is_unsafe_to_implement, "E0200": "struct P;\n\
        impl Backing for P {\n\
            fn map_page(&self, _: Addr) -> Result<(), Exhausted> { Ok(()) }\n\
            fn unmap_pages(&self, _: AddrRange) {}\n\
        }";
    l2_a_stack_is_released_once, "E0382": "fn twice<B: Backing>(stack: Stack<B>) { stack.release(); stack.release(); }";
    l2_a_stack_is_not_used_after_its_release, "E0382": "fn late<B: Backing>(stack: Stack<B>) { stack.release(); let _range = stack.range(); }";
    l2_the_stack_of_a_thread_is_the_threads, "E0505": "fn out<B: Backing>(thread: Thread<B>) { let stack = thread.stack(); drop(thread); let _range = stack.range(); }";
    l2_a_stack_is_not_copied, "E0277": "fn copied<B: Backing>(stack: &Stack<B>) -> Stack<B> { Stack::<B>::clone(stack) }";
    l2_a_borrow_is_not_copied, "E0277": "fn copied<B: Backing>(stack: &Borrowed<B>) -> Borrowed<B> { Borrowed::<B>::clone(stack) }";
    l2_a_stack_of_a_cpu_is_unsafe_to_ask_for, "E0133": "fn irq<B: Backing>(stacks: &'static Stacks<B>) { let _stack = stacks.acquire_for_cpu(StackKind::Irq, CpuId::new(0), None); }";
    l2_the_arena_is_unsafe_to_claim, "E0133": "fn claim<B: Backing>(arena: kstack::arena::Arena, records: &'static mut [kstack::record::SlotRecord], backing: B) {\n\
        let _stacks = Stacks::new(arena, records, kstack::erase::ErasePolicy::Full, backing);\n\
        }";
    l2_a_switch_is_unsafe, "E0133": "fn switch<B: Backing>(a: &Thread<B>, b: &Thread<B>, off: &InterruptsOff) { a.switch_to(b, off, 0); }";
    l2_a_cpu_is_unsafe_to_bring_up, "E0133": "fn up<B: Backing>(stacks: &'static Stacks<B>, block: &'static cpu::Block, main: fn(&'static Thread<B>) -> !) { let _refused = cpu::bring_up(stacks, block, main); }";
    l2_the_proof_of_interrupts_off_stays_on_its_cpu, "E0277": "fn sent<T: Send>() {}\nfn proof() { sent::<InterruptsOff>(); }";
    l2_a_cpus_cache_is_unsafe_to_use, "E0133": "fn cache(local: &kstack::local::CpuLocal) { local.with_cache(|_| ()); }";
}

macro_rules! not_for_devices {
    ($($name:ident, $code:literal: $body:literal;)*) => {$(
        #[doc = concat!(
            "```compile_fail,", $code, "\n\
            use kstack::dma::{Memory, OffStack, OffStackMut, Proven, entry::Entry, list::List};\n",
            $body, "\n```"
        )]
        pub fn $name() {}
    )*};
}

// The same of a static or an owned block compiles: the tests of `dma` use all of it.
not_for_devices! {
    d2_a_buffer_on_a_stack_makes_no_entry, "E0597": "fn entry<M: Memory>() {\n\
        let buffer = [0_u8; 512];\n\
        let _entries = Proven::of::<M>(&&buffer[..]).count();\n\
        }";
    d2_a_buffer_on_a_stack_that_a_device_would_write_makes_no_entry, "E0597": "fn entry<M: Memory>() {\n\
        let mut buffer = [0_u8; 512];\n\
        let _entries = Proven::of::<M>(&&mut buffer[..]).count();\n\
        }";
    d2_an_array_makes_no_entry, "E0277": "fn entry<M: Memory>() {\n\
        let _entries = Proven::of::<M>(&[0_u8; 512]).count();\n\
        }";
    d2_a_slice_of_anybodys_makes_no_entry, "E0521": "fn entry<M: Memory>(buffer: &[u8]) {\n\
        let _entries = Proven::of::<M>(&buffer).count();\n\
        }";
    d2_an_entry_of_any_address_is_no_proof, "E0451": "fn forged(entry: Entry) -> Proven<'static> {\n\
        Proven { entry, memory: core::marker::PhantomData }\n\
        }";
    d2_an_entry_is_not_kept_longer_than_its_buffer, "E0597": "fn kept<M: Memory>() {\n\
        let mut entries = None;\n\
        {\n\
        let buffer = std::vec![0_u8; 512];\n\
        entries = Proven::checked::<M>(&buffer).ok();\n\
        }\n\
        drop(entries);\n\
        }";
    d2_that_memory_is_no_stacks_is_unsafe_to_claim, "E0200": "struct Mine([u8; 8]);\n\
        impl OffStack for Mine { fn bytes(&self) -> core::ptr::NonNull<[u8]> { core::ptr::NonNull::from(&self.0[..]) } }";
    d2_what_memory_is_where_is_unsafe_to_claim, "E0200": "struct Mine;\n\
        impl Memory for Mine { fn physical(_: kstack::addr::Addr) -> Option<u64> { None } fn is_of_a_stack(_: u64) -> bool { false } }";
    d2_unchecked_memory_is_unsafe_to_take, "E0133": "fn raw<M: Memory>(buffer: core::ptr::NonNull<[u8]>) {\n\
        let _entries = Proven::checked_raw::<M>(buffer).is_ok();\n\
        }";
}
