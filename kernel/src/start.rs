//! From `kernel_main` to the first thread, and the same for the other CPUs.
//!
//! Order matters: the per-CPU block before the first lock, the frame table before the page tables, stacks before interrupts,
//! descriptor tables of a CPU (with its exception stacks) before anything that may fault there.

use crate::arch::layout::{EARLY_TOP, IMAGE_LOWEST};
use crate::arch::paging::{self, Access};
use crate::arch::serial;
use crate::arch::{boot, cpu, irqchip, power, smp};
use crate::boot_info::BootInfo;
use crate::cpus::{self, MAX_CPUS};
use crate::memory::frames::{self, FRAME_BYTES, Frame};
use crate::memory::{IMAGE, direct, heap};
use crate::sync::SpinLock;
use crate::{cpu_stacks, sched, stacks};
use alloc::string::String;
use core::sync::atomic::Ordering;

/// What goes out on the console before anything else of the kernel's: firmware may have written there before, and what came in before
/// is lost. Whoever passes a program's output on, and its input, begins here. No terminal shows it.
const START_OF_TEXT: u8 = 0x02;

unsafe extern "C" {
    static text_lowest: u8;
    static text_top: u8;
    static rodata_lowest: u8;
    static rodata_top: u8;
    static data_lowest: u8;
    static data_top: u8;
}

/// The first CPU, on the boot stack, with the boot tables. `boot_argument` is what the boot loader handed over.
pub fn first(boot_argument: u64) -> ! {
    let me = cpus::by_number(0);
    // SAFETY: (1) a static; (2) interrupts are off.
    unsafe { me.local.load() };
    serial::CONSOLE.set_up(true);
    serial::CONSOLE.put(START_OF_TEXT);
    serial::CONTROL.set_up(false);
    let mut info = BOOT_INFO.lock();
    // SAFETY: (1) the boot tables are active.
    if !unsafe { boot::read_boot_info(boot_argument, &mut info) } {
        panic!("started by something that is no boot loader this kernel knows");
    }
    // SAFETY: (1) the boot tables write everything; those that the next line makes do not.
    unsafe { kstack::hooks::install(&crate::hooks::HOOKS) };
    set_up_memory(&info);
    crate::options::set(String::from_utf8_lossy(info.command_line()).as_ref());
    drop(info);
    stacks::set_up();
    irqchip::set_up_once();
    irqchip::set_up_local();
    me.hardware_id.store(irqchip::id(), Ordering::Relaxed);
    // From here on, this is the idle thread of CPU 0, on a stack of the arena.
    let idle = cpu_stacks::prepare(me);
    cpu_stacks::load(me);
    cpu::continue_on(idle, || first_on_idle_stack());
}

/// What the boot loader told. Not on a stack: it is large.
static BOOT_INFO: SpinLock<BootInfo> = SpinLock::new(BootInfo::new());

fn first_on_idle_stack() -> ! {
    let me = cpus::this();
    cpus::set_online(me.id());
    start_other_cpus();
    irqchip::route_console(me.hardware_id.load(Ordering::Relaxed));
    irqchip::start_timer();
    let archive = BOOT_INFO.lock().initrd;
    if let Some((lowest, bytes)) = archive {
        // SAFETY: (1) the archive's memory was never given to the frame allocator and stays mapped.
        let archive = unsafe { core::slice::from_raw_parts(direct::<u8>(lowest), bytes as usize) };
        if let Some(text) = crate::initramfs::find(archive, "kstack/symbols") {
            crate::symbols::set(text);
        }
        crate::process::fs::unpack(archive);
    }
    stacks::start_stackd();
    sched::spawn_kernel("main", |_| crate::mode::run(), 0).expect("the first thread");
    sched::idle_loop()
}

/// Any other CPU, on its idle stack already.
pub fn secondary(number: usize) -> ! {
    let me = cpus::by_number(number);
    // SAFETY: (1) a static, this CPU's own; (2) interrupts are off.
    unsafe { me.local.load() };
    irqchip::set_up_local();
    cpu_stacks::load(me);
    cpus::set_online(me.id());
    irqchip::start_timer();
    sched::idle_loop()
}

fn set_up_memory(info: &BootInfo) {
    let image_top = (&raw const data_top) as u64 - IMAGE;
    let (initrd_lowest, initrd_top) = info.initrd.map_or((0, 0), |(at, bytes)| (at, at + bytes));
    let ram_top = info.ram().map(|region| region.top()).max().unwrap_or(0);
    let reserved = |lowest: u64, top: u64| {
        lowest < image_top && top > IMAGE_LOWEST
            || lowest < initrd_top && top > initrd_lowest
            // What lies below the image belongs to firmware.
            || lowest < IMAGE_LOWEST
    };
    // The frame table, then the heap: right behind the image, or behind the archive.
    let ram_bytes: u64 = info.ram().map(|region| region.bytes).sum();
    let heap_bytes = (ram_bytes / 8).clamp(8 << 20, 256 << 20) & !(FRAME_BYTES - 1);
    let table_bytes = frames::table_bytes(ram_top).next_multiple_of(FRAME_BYTES);
    let wanted = table_bytes + heap_bytes;
    let place = [image_top, initrd_top]
        .into_iter()
        .map(|at| at.next_multiple_of(FRAME_BYTES))
        .find(|&at| {
            let top = at + wanted;
            let is_ram = info.ram().any(|region| region.lowest <= at && top <= region.top());
            !reserved(at, top) && top <= EARLY_TOP && is_ram
        })
        .expect("no room for the frame table and the heap");
    // SAFETY: (1) the memory is RAM, not reserved, and below EARLY_TOP: the boot tables have it in the direct map.
    unsafe { frames::set_up(place, ram_top) };
    for region in info.ram() {
        let lowest = region.lowest.next_multiple_of(FRAME_BYTES);
        for at in (lowest..region.top() & !(FRAME_BYTES - 1)).step_by(FRAME_BYTES as usize) {
            let taken = at < place + wanted && at + FRAME_BYTES > place;
            // The early direct map may end before; frames are not touched before they are allocated.
            if !taken && !reserved(at, at + FRAME_BYTES) {
                frames::add(Frame::at(at));
            }
        }
    }
    let symbol = |symbol: *const u8| symbol as u64;
    let access = |write, exec| Access { write, exec };
    let image = [
        (symbol(&raw const text_lowest), symbol(&raw const text_top), access(false, true)),
        (symbol(&raw const rodata_lowest), symbol(&raw const rodata_top), access(false, false)),
        (symbol(&raw const data_lowest), symbol(&raw const data_top), access(true, false)),
    ];
    paging::set_up_kernel(info.regions(), &image).expect("memory for the kernel's page tables");
    // SAFETY: (1) unused RAM in the direct map.
    unsafe { heap::set_up(direct(place + table_bytes), heap_bytes as usize) };
}

fn start_other_cpus() {
    let mine = cpus::this().hardware_id.load(Ordering::Relaxed);
    let mut number = 1;
    smp::find_cpus(|hardware_id| {
        if hardware_id == mine || number >= MAX_CPUS {
            return;
        }
        let cpu = cpus::by_number(number);
        cpu.hardware_id.store(hardware_id, Ordering::Relaxed);
        let idle = cpu_stacks::prepare(cpu);
        if !smp::start_cpu(cpu, idle.top.get() as u64) {
            log!("CPU {number} ({hardware_id}) did not come up");
            cpu_stacks::give_up(cpu);
        }
        // Also then: should it come after all, the number is its own.
        number += 1;
    });
}

/// The kernel is broken: say where, and stop the machine.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::fmt::Write;
    cpu::interrupts_off();
    let mut console = serial::CONSOLE;
    // Nothing can be done about a console that refuses text.
    let _unprintable = writeln!(console, "\nkernel panic: {info}");
    crate::backtrace::print_here(&mut console);
    power::end(power::End::Panic)
}
