//! The interrupt controller and the timer; and, for programs without better ones, descriptor tables
//! of this kernel's own.

use crate::{exit, println, sync::Lock};
use core::arch::naked_asm;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use pic8259::ChainedPics;
use spin::Once;
use x86_64::instructions::{
    port::Port,
    segmentation::{CS, SS, Segment},
    tables::load_tss,
};
use x86_64::registers::control::Cr2;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

/// The timer's vector: the first of the controller's.
pub const TIMER: u8 = 32;
/// The timer's interrupts in a second.
pub const HZ: u32 = 100;

// SAFETY: vectors that the CPU's exceptions do not use.
static PICS: Lock<ChainedPics> = Lock::new(unsafe { ChainedPics::new(TIMER, TIMER + 8) });
static TICKS: AtomicU64 = AtomicU64::new(0);
static ON_TICK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sets the controller up, with the timer as the only source, and the timer going.
pub(crate) fn init_pic() {
    let count = (1_193_182 / HZ) as u16;
    // SAFETY: the ports of the timer and the controllers.
    unsafe {
        PICS.lock().initialize();
        PICS.lock().write_masks(0xfe, 0xff);
        Port::<u8>::new(0x43).write(0x34);
        Port::<u8>::new(0x40).write(count as u8);
        Port::<u8>::new(0x40).write((count >> 8) as u8);
    }
}

/// What else is to be done at each tick.
pub fn on_tick(what: fn()) {
    ON_TICK.store(what as *mut (), Ordering::Release);
}

/// Ticks of the timer since the start.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Handles an interrupt of the controller's.
pub fn handle(vector: u8) {
    assert_eq!(vector, TIMER, "an interrupt that nothing asked for");
    TICKS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: this very interrupt is in service.
    unsafe { PICS.lock().notify_end_of_interrupt(vector) };
    let what = ON_TICK.load(Ordering::Acquire);
    if !what.is_null() {
        // SAFETY: `on_tick` stored a function.
        unsafe { core::mem::transmute::<*mut (), fn()>(what)() };
    }
}

/// The number of the double fault's stack in the TSS.
pub const DOUBLE_FAULT_IST: u16 = 0;

fn tss() -> TaskStateSegment {
    const SIZE: usize = 16 * 1024;
    static mut STACK: [u128; SIZE / 16] = [0; SIZE / 16];
    let mut tss = TaskStateSegment::new();
    let top = VirtAddr::from_ptr(&raw const STACK) + SIZE as u64;
    tss.interrupt_stack_table[usize::from(DOUBLE_FAULT_IST)] = top;
    tss
}

fn idt() -> InterruptDescriptorTable {
    let mut idt = InterruptDescriptorTable::new();
    let address = |stub: unsafe extern "C" fn()| VirtAddr::new(stub as usize as u64);
    // SAFETY: the stubs are made for these vectors; the double fault's stack is in the TSS.
    unsafe {
        idt.page_fault.set_handler_addr(address(page_fault_stub));
        idt.double_fault
            .set_handler_addr(address(double_fault_stub))
            .set_stack_index(DOUBLE_FAULT_IST);
        idt[TIMER].set_handler_addr(address(timer_stub));
    }
    idt
}

/// Loads descriptor tables of this kernel's own: page fault, double fault and timer.
pub fn load_tables() {
    load_tables_with(|_| (), |_| ());
}

/// The same, with what a program puts into them.
pub fn load_tables_with(
    stacks: impl FnOnce(&mut TaskStateSegment),
    gates: impl FnOnce(&mut InterruptDescriptorTable),
) {
    static TSS: Once<TaskStateSegment> = Once::new();
    static GDT: Once<(GlobalDescriptorTable, SegmentSelector)> = Once::new();
    static IDT: Once<InterruptDescriptorTable> = Once::new();
    let tss = TSS.call_once(|| {
        let mut tss = tss();
        stacks(&mut tss);
        tss
    });
    let (gdt, selector) = GDT.call_once(|| {
        let mut gdt = GlobalDescriptorTable::new();
        gdt.append(Descriptor::kernel_code_segment());
        gdt.append(Descriptor::kernel_data_segment());
        let selector = gdt.append(Descriptor::tss_segment(tss));
        (gdt, selector)
    });
    gdt.load();
    // SAFETY: the selectors are those of the table just loaded.
    unsafe {
        CS::set_reg(SegmentSelector::new(1, PrivilegeLevel::Ring0));
        SS::set_reg(SegmentSelector::new(2, PrivilegeLevel::Ring0));
        load_tss(*selector);
    }
    let idt = IDT.call_once(|| {
        let mut idt = idt();
        gates(&mut idt);
        idt
    });
    idt.load();
}

/// Saves what Rust code may change, calls a handler on the interrupted stack, goes back.
#[unsafe(naked)]
unsafe extern "C" fn timer_stub() {
    naked_asm!(
        "push rbp", "mov rbp, rsp",
        "push rax", "push rcx", "push rdx", "push rsi", "push rdi",
        "push r8", "push r9", "push r10", "push r11",
        // The CPU's frame is five words, and the registers ten: 8 more, and SP is 16-aligned.
        "sub rsp, 8",
        "mov edi, {vector}",
        "call {handle}",
        "add rsp, 8",
        "pop r11", "pop r10", "pop r9", "pop r8",
        "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
        "pop rbp",
        "iretq",
        vector = const TIMER,
        handle = sym timer_handler,
    )
}

extern "C" fn timer_handler(vector: u64) {
    handle(vector as u8);
}

/// The CPU's frame, above the error code.
#[repr(C)]
struct Frame {
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

#[unsafe(naked)]
unsafe extern "C" fn page_fault_stub() {
    naked_asm!("mov rdi, rsp", "and rsp, -16", "call {}", "ud2", sym page_fault)
}

#[unsafe(naked)]
unsafe extern "C" fn double_fault_stub() {
    naked_asm!("mov rdi, rsp", "and rsp, -16", "call {}", "ud2", sym double_fault)
}

extern "C" fn page_fault(frame: &Frame) -> ! {
    println!("page fault at {:#x}, RIP {:#x}, error {}", Cr2::read_raw(), frame.rip, frame.error);
    exit::after_failure(exit::Code::Exception)
}

static ON_DOUBLE_FAULT: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// What is to be said of a double fault besides, given the address that was accessed.
pub fn on_double_fault(what: fn(address: u64)) {
    ON_DOUBLE_FAULT.store(what as *mut (), Ordering::Release);
}

/// Lets no interrupt through.
pub fn mask_all() {
    // SAFETY: the ports of the controllers.
    unsafe { PICS.lock().disable() };
}

extern "C" fn double_fault(frame: &Frame) -> ! {
    let what = ON_DOUBLE_FAULT.load(Ordering::Acquire);
    if !what.is_null() {
        // SAFETY: `on_double_fault` stored a function.
        unsafe { core::mem::transmute::<*mut (), fn(u64)>(what)(Cr2::read_raw()) };
    }
    println!(
        "double fault: CR2 {:#x}, RIP {:#x}, RSP {:#x}",
        Cr2::read_raw(),
        frame.rip,
        frame.rsp
    );
    exit::after_failure(exit::Code::Exception)
}
