//! What every tree has for the code above it, with its exact type: the compiler checks the tree
//! that it builds.
//!
//! It is the checklist for a new architecture, too: write the tree until this file compiles. The
//! heads of x86_64's files say what each function promises; `any` (every machine), `pc` and `virt`
//! (boards with a device tree) have what several share. A tree may have more, for its own files and
//! for tests of what only it has.
//!
//! Beside these, `kernel.ld` with the symbols `text_lowest` to `data_top`, `kstack_entry_lowest`
//! and `kstack_entry_top`, and in `boot` the first instruction, which ends in `kernel_main`.

use alloc::sync::Arc;
use core::iter::Empty;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;

use kstack::addr::{Addr, AddrRange};
use kstack::arch::current::tables::CpuTables;
use kstack::interrupts::InterruptsOff;
use kstack::ports::Ports;
use kstack::shadow::Form;

use super::bases::{Based, Bases};
use super::boot::{self, BOOT_STACK_BYTES};
use super::cpu_block::ArchCpu;
use super::entries::{self, EntryRow};
use super::exceptions::{self, UserFault};
use super::extras::{self, BadBreakpoint, Breakpoints, Extras, LocalSegments};
use super::fpu::FpuState;
use super::irqchip::{self, vector};
use super::mappings::{self, Mapping};
use super::paging::{self, Access, NoMemory, UserTables};
use super::power::{self, End};
use super::serial::{self, Port};
use super::{caches, cpu, cpu_tables, layout, regs::SavedRegs, rtc, smp, step, user, virtio};
use crate::boot_info::{BootInfo, MemoryRegion};
use crate::cpus::Cpu;
use crate::memory::frames::Frame;
use virtio_drivers::Hal;
use virtio_drivers::transport::{DeviceType, SomeTransport};

// `layout`: where the kernel's memory is.
const _: [u64; 6] = [
    layout::DIRECT_MAP,
    layout::REACH,
    layout::ARENA,
    layout::IMAGE,
    layout::IMAGE_LOWEST,
    layout::EARLY_TOP,
];
const _: u32 = layout::ARENA_SLOTS;
const _: Option<u64> = layout::RECORDS;

// `boot`: first instruction to `kernel_main`.
const _: usize = BOOT_STACK_BYTES;
const _: fn() -> AddrRange = boot::boot_stack;
const _: fn() -> AddrRange = boot::boot_guard;
const _: unsafe fn(u64, &mut BootInfo) -> bool = boot::read_boot_info;

// `caches`: for devices that do not see them.
const _: fn() -> u32 = caches::line;
const _: unsafe fn(*const u8, usize) = caches::clean;
const _: unsafe fn(*const u8, usize) = caches::invalidate;
const _: fn() = caches::settle;

// `cpu`: its instructions.
const _: fn() -> bool = cpu::interrupts_are_on;
const _: fn() -> bool = cpu::interrupts_off;
const _: fn() = cpu::interrupts_on;
const _: fn(fn() -> u8) -> u8 = cpu::without_interrupts;
const _: fn() = cpu::wait_for_interrupt;
const _: fn(AddrRange, fn() -> !) -> ! = cpu::continue_on;
const _: fn() -> ! = cpu::halt;
const _: fn() -> u64 = cpu::cycles;
const _: fn() -> Option<u64> = cpu::random;
const _: fn(Empty<u64>) = cpu::flush_pages;
const _: fn(u64) = cpu::flush_page;
const _: fn() = cpu::flush_all;
const _: unsafe fn(u64, &InterruptsOff) = cpu::load_tables;
const _: unsafe fn(*mut u8) = cpu::zero_page;
const _: fn() = cpu::breakpoint;
const _: fn() -> bool = cpu::keeps_off_programs;
const _: fn() -> usize = cpu::stack_pointer;
const _: fn() -> usize = cpu::frame_pointer;

// `cpu_block`, `cpu_tables`: what a CPU's block has of this architecture, and what the CPU reads of
// it.
const _: fn() -> ArchCpu = ArchCpu::new;
const _: fn(&'static Cpu) -> *mut CpuTables = cpu_tables::place;
const _: fn(&'static Cpu) = cpu_tables::load;
const _: fn(&Cpu, Addr) = cpu_tables::set_user_entry_stack;

// `entries`: which stack each kind of entry lands on.
const _: &[EntryRow] = entries::TABLE;

// `exceptions`: what a program did.
const _: fn(u8, &SavedRegs) -> UserFault = exceptions::of_user;
const _: fn(u8) -> bool = exceptions::is_breakpoint;

// `extras`: what else a program's thread may have in the CPU.
const _: fn() -> Extras = Extras::new;
const _: fn(&Extras) = Extras::leave;
const _: fn(&Extras) = Extras::come;
const _: fn(&Extras) = Extras::catch_up;
const _: fn(&Extras) -> bool = Extras::inherit;
const _: fn(&Extras) = Extras::start_afresh;
const _: fn(&Extras, Arc<LocalSegments>) = Extras::give_segments;
const _: fn(&Extras) = Extras::drop_segments;
const _: fn(&Extras) -> Option<Breakpoints> = Extras::take_breakpoints;
const _: fn(&Extras, Option<Breakpoints>) = Extras::give_breakpoints;
const _: fn(&Extras) -> u64 = Extras::events;
const _: fn(&Extras, u64) = Extras::set_events;
const _: fn(&Extras, u8, &mut SavedRegs) -> bool = Extras::keep_cause;
const _: fn() = extras::forget_cause;
const _: fn() -> Result<Breakpoints, crate::memory::fallible::NoMemory> = Breakpoints::new;
const _: fn(&Breakpoints, usize) -> u64 = Breakpoints::get;
const _: fn(&mut Breakpoints, usize, u64, u64) -> Result<(), BadBreakpoint> = Breakpoints::set;
const _: fn(&mut SavedRegs) -> Option<u8> = extras::fault_of_return;
const _: fn() -> Result<(), NoMemory> = extras::prepare_ports;
const _: fn(Ports<'_>) -> bool = extras::permit_ports;
const _: fn(u8) -> bool = extras::may_be_about_a_port;
const _: fn(u8, &mut SavedRegs) -> bool = extras::step_over_interrupt_flag;
const _: fn(&Extras, u64, u64) = Extras::set_shadow;
const _: fn(&Extras, u64, u64) = Extras::set_own_shadow;
const _: fn() -> Option<Form> = extras::shadow_form;
const _: fn() -> u64 = extras::shadow_pointer;
const _: fn() = extras::settle_shadow;
const _: fn(u8, &SavedRegs) -> bool = extras::is_shadow_access;

// `fpu`: what a program has in floating-point registers.
type Made = Result<FpuState, crate::memory::fallible::NoMemory>;
const _: fn() -> Made = FpuState::new;
const _: fn(&FpuState) -> Made = FpuState::fork;
const _: fn(&FpuState) = FpuState::save;
const _: fn(&FpuState) = FpuState::load;

// `irqchip`: interrupts by vector, the timer, and interrupts to other CPUs.
const _: [u8; 7] = [
    vector::TIMER,
    vector::CONSOLE,
    vector::RESCHEDULE,
    vector::FLUSH,
    vector::CALL,
    vector::SOFTWARE,
    vector::SPURIOUS,
];
const _: u64 = irqchip::HZ;
const _: fn() -> u32 = irqchip::id;
const _: fn() = irqchip::set_up_local;
const _: fn() = irqchip::set_up_once;
const _: fn() -> u64 = irqchip::counter;
const _: fn() -> u64 = irqchip::counter_per_second;
const _: fn() = irqchip::start_timer;
const _: fn(u64) = irqchip::start_timer_after;
const _: fn() = irqchip::stop_timer;
const _: fn(u8) -> u8 = irqchip::acknowledge;
const _: fn() -> bool = irqchip::acknowledge_nmi;
const _: fn() -> Option<u8> = irqchip::in_service;
const _: fn() = irqchip::end_of_interrupt;
const _: fn(u32, u8) = irqchip::send_interrupt;
const _: fn(u32) = irqchip::route_console;
const _: fn() = irqchip::software_interrupt;

// `mappings`: what is mapped in the kernel's half, by the tables that this CPU has loaded.
const _: &[(u64, &str)] = mappings::PARTS;
const _: fn(&mut dyn FnMut(Mapping)) = mappings::for_each;
const _: fn(&AtomicU64, bool) = mappings::set_writable;

// `paging`: the kernel's page tables, and those of a program.
const _: bool = paging::ABSENT_IS_REMEMBERED;
const _: fn() -> bool = paging::dirty_is_cached;
const _: fn() -> u64 = paging::kernel_root;
type Part = (u64, u64, Access);
const _: fn(Empty<MemoryRegion>, &[Part]) -> Result<(), NoMemory> = paging::set_up_kernel;
const _: fn(u64) -> Result<&'static AtomicU64, NoMemory> = paging::kernel_leaf_or_new;
const _: fn(&AtomicU64, Frame) = paging::set_kernel_leaf;
const _: fn(&AtomicU64) -> bool = paging::take_dirty;
const _: fn(&AtomicU64) -> bool = paging::is_dirty;
const _: fn() = paging::settle_dirty;
const _: fn(u64) -> u64 = paging::without_dirty;
const _: fn(u64) -> Option<Frame> = paging::leaf_frame;
const _: fn(u64) -> bool = paging::kernel_is_mapped;
const _: fn(u64) -> Option<Frame> = paging::kernel_frame;
const _: fn(u64) -> bool = paging::user_can_reach;
const _: fn() -> Option<UserTables> = UserTables::new;
const _: fn(&UserTables) -> u64 = UserTables::root;
const _: fn(&mut UserTables, u64, Frame) -> Result<(), NoMemory> = UserTables::map_shadow;
const _: fn(&mut UserTables, u64, Frame, Access) -> Result<(), NoMemory> = UserTables::map;
const _: fn(&mut UserTables, u64) -> Option<Frame> = UserTables::unmap;
const _: fn(&UserTables, u64) -> Option<(Frame, Access)> = UserTables::lookup;
const _: fn(&UserTables, u64, bool) -> Option<Frame> = UserTables::usable;
const _: fn(&mut UserTables, u64, Access) = UserTables::protect;
const _: fn(&mut UserTables, u64) -> Result<(), NoMemory> = UserTables::prepare;
const _: fn(&UserTables, u64, u64) -> Option<u64> = UserTables::next_mapped;
const _: fn(&mut UserTables, u64) = UserTables::forbid;
const _: fn(Empty<u64>) = paging::flush_user_pages;

// `power`: ends the machine, with a status that the emulator hands out.
const _: fn(End) -> ! = power::end;
const _: [End; 3] = [End::Orderly, End::Stopped, End::Panic];

// `rtc`: the clock that runs while the machine is off.
const _: fn() -> Option<u64> = rtc::seconds;

// `serial`: polled, without state.
const _: [Port; 2] = [serial::CONSOLE, serial::CONTROL];
const _: fn(Port, bool) = Port::set_up;
const _: fn(Port, u8) = Port::put;
const _: fn(Port, &[u8]) = Port::put_all;
const _: fn(Port) -> Option<u8> = Port::take;

// `smp`: the other CPUs.
const _: fn(fn(u32)) = smp::find_cpus;
const _: fn(&'static Cpu, u64) -> bool = smp::start_cpu;
const _: fn() -> u64 = smp::flushes;
const _: fn() = smp::flush_others;
const _: fn() = smp::answer_flush;
const _: fn(&Cpu) = smp::kick;
const _: fn(&Cpu) = smp::interrupt_at_once;

// `step`: how long an instruction is.
const _: fn(&[u8]) -> Option<usize> = step::instruction_length;

// `virtio`: where its devices are.
const _: fn() -> bool = virtio::sees_caches;
#[expect(dead_code, reason = "a function with a parameter has no type of its own to compare")]
fn find<H: Hal>() -> fn(DeviceType) -> Option<SomeTransport<'static>> {
    virtio::find::<H>
}
const _: fn(u64, usize) -> Option<NonNull<u8>> = virtio::registers;

// `user`: the word that a program's thread-local storage is found through.
const _: fn(&AtomicU64) = user::save_tls;
const _: fn(&AtomicU64) = user::load_tls;
const _: fn(u64) = user::set_tls;
const _: fn(&AtomicU64) -> Bases = Bases::read;
const _: fn(&Bases, &AtomicU64) = Bases::load;
const _: fn(&Bases, Based) -> Option<u64> = Bases::get;
const _: fn(&mut Bases, Based, u64) -> bool = Bases::set;
const _: fn(&Bases) -> bool = Bases::are_extras;
