//! What is not safe, and says so: each item shows one call that must not compile without `unsafe`.
//!
//! Compiled for documentation tests only.

macro_rules! needs_unsafe {
    ($($name:ident: $call:literal;)*) => {$(
        #[doc = concat!("```compile_fail,E0133\n", $call, "\n```\n\n```no_run\nunsafe { ", $call, " };\n```")]
        pub fn $name() {}
    )*};
}

needs_unsafe! {
    l2_the_cpus_block_is_unsafe_to_ask_for: "kstack::local::CpuLocal::this()";
    l2_the_running_thread_is_unsafe_to_ask_for: "kstack::local::CpuLocal::current_thread()";
    l2_interrupts_are_unsafe_to_turn_off: "kstack::arch::current::interrupts::off()";
    l2_interrupts_are_unsafe_to_turn_on: "kstack::arch::current::interrupts::on()";
    l2_softirqs_are_unsafe_to_raise: "kstack::irq::raise_softirq(1)";
    l2_bottom_halves_are_unsafe_to_disable: "kstack::irq::disable_bottom_halves()";
    l2_bottom_halves_are_unsafe_to_enable: "kstack::irq::enable_bottom_halves()";
}

/// ```compile_fail,E0133
/// fn install(pool: kstack_core::pool::Pool<'static>) -> kstack::registry::Registry {
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
/// use kstack_core::unwind::Backtrace;
/// fn forged(registry: &kstack::registry::Registry, regs: &kstack::arch::current::regs::SavedRegs) {
///     kstack::unwind::from_regs(registry, regs, &mut Backtrace::<8>::empty());
/// }
/// ```
pub fn l2_a_backtrace_from_registers_is_unsafe() {}

/// ```compile_fail,E0133
/// use kstack_core::addr::{Addr, AddrRange};
/// fn switch(local: &kstack::local::CpuLocal, watermark: &'static kstack_core::meter::Watermark) {
///     local.set_thread(0, AddrRange::EMPTY, watermark, 0);
/// }
/// ```
pub fn l2_the_running_thread_is_unsafe_to_set() {}

/// ```compile_fail,E0133
/// fn irq(local: &kstack::local::CpuLocal) {
///     local.set_irq_top(kstack_core::addr::Addr::new(0));
/// }
/// ```
pub fn l2_a_cpus_irq_stack_is_unsafe_to_set() {}
