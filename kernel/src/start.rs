//! From `kernel_main` to the first thread, and the same for the other CPUs.
//!
//! Order matters: the per-CPU block before the first lock, the frame table before the page tables,
//! stacks before interrupts, descriptor tables of a CPU (with its exception stacks) before anything
//! that may fault there.

use alloc::boxed::Box;
use alloc::string::String;
use core::sync::atomic::Ordering;
use kstack::addr::CpuId;
use kstack::end_word::{self, END_WORD};
use kstack::kind::StackKind;
use kstack::stacks::{StackId, ThreadId};
use machine::arch::layout::{EARLY_TOP, IMAGE_LOWEST};
use machine::arch::paging;
use machine::arch::serial;
use machine::arch::{boot, cpu, irqchip, power, smp};
use machine::boot_info::{BootInfo, MemoryRegion};
use machine::cpus::{self, MAX_CPUS};
use machine::dma;
use machine::halt;
use machine::memory::boot_map::BootMap;
use machine::memory::frames::{self, FRAME_BYTES};
use machine::memory::{IMAGE, direct, heap, image};
use machine::nodes;
use machine::spin::{self, SpinLock};
use threads::entry::{interrupts, ksoftirqd, on_return};
use threads::{clock, cpu_stacks, sched, stacks, terminal};

/// What goes out on the console before anything else of the kernel's: firmware may have written
/// there before, and what came in before is lost. The host that passes a program's output on, and
/// its input, begins here. No terminal shows it.
const START_OF_TEXT: u8 = 0x02;

/// The heap has an eighth of the memory, within these bounds; half of the lower one is what the
/// kernel cannot do without.
const LEAST_HEAP: u64 = 16 << 20;
const MAX_HEAP: u64 = 256 << 20;
/// The table of frames has at most this part of the longest stretch that the boot tables reach.
const MAX_FOR_TABLE: u64 = 2;

/// The first CPU, on the boot stack, with the boot tables. `boot_argument` is what the boot loader
/// handed over. The boot code enters Rust here.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(boot_argument: u64) -> ! {
    let me = cpus::by_id(CpuId::new(0));
    // SAFETY: (1) a static; (2) interrupts are off.
    unsafe { me.local.load() };
    spin::set_while_waiting(while_waiting);
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
    machine::options::set(String::from_utf8_lossy(info.command_line()).as_ref());
    drop(info);
    sched::seed_canaries();
    // SAFETY: (1) this CPU's, which takes no interrupts yet; (2) this function does not return.
    unsafe { me.local.start_canary(sched::new_canary(), sched::new_canary()) };
    stacks::set_up(sched::wake_stackd);
    if machine::options::get("stack-usage").as_deref() == Some("off") {
        stacks::depths::turn(false);
    }
    if machine::options::get("stacks").as_deref() == Some("contiguous") {
        stacks::make_threads_contiguous().expect("memory for the records of contiguous stacks");
    }
    on_return::set_up();
    declare_boot_stack();
    if machine::options::get("dma").as_deref() == Some("stop") {
        dma::set_on_refusal(Some(threads::report::device_buffer::stop));
    }
    interrupts::set_up();
    irqchip::set_up_once();
    irqchip::set_up_local();
    clock::set_up();
    me.hardware_id.store(irqchip::id(), Ordering::Relaxed);
    settle_nodes();
    // From here on, this is the idle thread of CPU 0, on a stack of the arena.
    let idle = cpu_stacks::prepare(me);
    cpu_stacks::load(me);
    cpu::continue_on(idle, || first_on_idle_stack());
}

/// Firmware has told of memory nodes by now: frames and stacks are divided among them.
fn settle_nodes() {
    nodes::settle();
    if !frames::divide() {
        log!("memory of a node is left unused: it is in too many stretches");
    }
    stacks::settle_nodes();
}

/// The boot stack is in the image, where the registry does not look.
///
/// It is the first CPU's until its idle stack is there, and zero when it begins, as all of the
/// image's memory that no byte is given for; its end word is written here, far below SP.
fn declare_boot_stack() {
    let range = boot::boot_stack();
    let end = end_word::at(range.lowest).get() as *mut usize;
    // SAFETY: (1) the lowest word of the stack that this runs on, which is not in use.
    unsafe { end.write_volatile(END_WORD) };
    let stack = Box::new(StackId {
        kind: StackKind::Boot,
        cpu: Some(CpuId::new(0)),
        owner: ThreadId::NONE,
        range,
    });
    kstack::elsewhere::declare(Box::leak(stack)).expect("the first of many places").keep();
    // SAFETY: (1) a part of the image, and its end word is there; (2) this is the CPU, with
    // interrupts off.
    let watched = unsafe { cpus::this().local.watch_end(range.lowest) };
    assert!(watched, "a boot stack too many");
}

/// Nothing runs on the boot stack any more: how deep it was is kept, and what lies on it goes.
fn leave_boot_stack() {
    let range = boot::boot_stack();
    // SAFETY: (1) the boot stack is a part of the image.
    assert!(unsafe { end_word::is_whole(range.lowest) }, "the boot stack overflowed");
    // SAFETY: (1) this CPU has left it for its idle stack, and no other was ever on it.
    unsafe { stacks::depths::leave_boot_stack(range) };
}

/// What a CPU does while it spins on a lock.
fn while_waiting() {
    // The holder may be waiting for this CPU to flush its TLB.
    smp::answer_flush();
    // Or have ended the machine.
    halt::park_if_asked();
}

/// What the boot loader told. Not on a stack: it is large.
static BOOT_INFO: SpinLock<BootInfo> = SpinLock::new(BootInfo::new());

fn first_on_idle_stack() -> ! {
    leave_boot_stack();
    let me = cpus::this();
    cpus::set_online(me.id());
    start_other_cpus();
    ksoftirqd::start();
    terminal::set_up();
    irqchip::route_console(me.hardware_id.load(Ordering::Relaxed));
    irqchip::start_timer();
    let archive = BOOT_INFO.lock().initrd;
    if let Some((lowest, bytes)) = archive {
        // SAFETY: (1) the archive's memory was never given to the frame allocator and stays mapped.
        let archive = unsafe { core::slice::from_raw_parts(direct::<u8>(lowest), bytes as usize) };
        if let Some(text) = machine::initramfs::find(archive, "kstack/symbols") {
            threads::report::symbols::set(text);
        }
        if let Some(table) = machine::initramfs::find(archive, "kstack/frames") {
            threads::report::symbols::set_frames(table);
        }
        if let Some(text) = machine::initramfs::find(archive, "kstack/checked") {
            threads::report::symbols::set_checked(text);
        }
        linux::fs::unpack(archive);
    }
    linux::dispatch::set_up();
    sched::start_stackd();
    linux::start();
    sched::spawn_kernel("main", |_| crate::mode::run(), 0).expect("the first thread");
    sched::idle_loop()
}

/// Any other CPU, on its idle stack already.
#[unsafe(no_mangle)]
extern "C" fn kernel_secondary(number: usize) -> ! {
    let me = cpus::by_id(CpuId::new(number as u32));
    // SAFETY: (1) a static, this CPU's own; (2) interrupts are off.
    unsafe { me.local.load() };
    // SAFETY: (1) as above; (2) this function does not return.
    unsafe { me.local.start_canary(sched::new_canary(), sched::idle_canary(me)) };
    irqchip::set_up_local();
    cpu_stacks::load(me);
    clock::compare_counter();
    cpus::set_online(me.id());
    // A flush that began before did not wait for this CPU: what it may have cached since then goes
    // now.
    smp::answer_flush();
    irqchip::start_timer();
    ksoftirqd::start();
    sched::idle_loop()
}

/// Frames, page tables, heap. Everything that is needed before the final page tables are there
/// comes from memory that the boot tables reach; how much more there is makes no difference. Not
/// inlined: together with its caller's, its frame would be wider than the narrowest guard.
#[inline(never)]
fn set_up_memory(info: &BootInfo) {
    if info.dropped > 0 {
        log!("the memory map has {} stretches too many: they are left unused", info.dropped);
    }
    let mut map = BootMap::new(info);
    // What lies below the image belongs to firmware.
    map.take(0, IMAGE_LOWEST);
    let parts = image::parts();
    map.take(IMAGE_LOWEST, parts[parts.len() - 1].top - IMAGE);
    let (initrd, bytes) = info.initrd.unwrap_or((0, 0));
    map.take(initrd, initrd + bytes);
    let ram_bytes: u64 = map.free().map(|(lowest, top)| top - lowest).sum();
    let ram_lowest = map.free().map(|(lowest, _)| lowest).min();
    let ram_lowest = ram_lowest.expect("the memory map has no memory for the kernel");
    let ram_top = map.free().map(|(_, top)| top).max().unwrap_or(0);
    // A table for all of it; of what it would have no room for, none is used.
    let most = map.longest(EARLY_TOP) / MAX_FOR_TABLE;
    let described = most / frames::table_bytes(0, FRAME_BYTES) * FRAME_BYTES;
    let top = ram_top.min(ram_lowest + described).min(frames::most_top(ram_lowest));
    if top < ram_top {
        log!("memory from {} MiB on is left unused: no room to keep books of it", top >> 20);
    }
    let table = map.find(frames::table_bytes(ram_lowest, top), EARLY_TOP);
    let table = table.expect("no room for the table of frames");
    let heap_bytes = (ram_bytes / 8).clamp(LEAST_HEAP, MAX_HEAP) & !(FRAME_BYTES - 1);
    let heap_bytes = heap_bytes.min((map.longest(EARLY_TOP) / 2) & !(FRAME_BYTES - 1));
    assert!(
        heap_bytes >= LEAST_HEAP / 2,
        "this machine has too little memory: {} KiB for the heap",
        heap_bytes >> 10
    );
    let heap = map.find(heap_bytes, EARLY_TOP).expect("no room for the heap");
    // SAFETY: (1) the memory is RAM, taken for this, and below EARLY_TOP: the boot tables have it
    // in the direct map.
    unsafe { frames::set_up(table, ram_lowest, top) };
    for (lowest, end) in map.free().filter(|&(lowest, _)| lowest < top) {
        if !frames::add(lowest, end.min(top)) {
            log!("memory from {} MiB on is left unused: it is in too many stretches", lowest >> 20);
            break;
        }
    }
    // What is not mapped is the guard below the stack that this runs on.
    let guard = boot::boot_guard();
    let [text, read_only, data] = parts;
    let image = [
        (text.lowest, text.top, text.access),
        (read_only.lowest, read_only.top, read_only.access),
        (data.lowest, guard.lowest.get() as u64, data.access),
        (guard.top.get() as u64, data.top, data.access),
    ];
    // Each page of RAM once: loaders list some twice.
    let all = BootMap::new(info);
    let all =
        all.free().map(|(lowest, top)| MemoryRegion { lowest, bytes: top - lowest, is_ram: true });
    paging::set_up_kernel(all, &image).expect("memory for the kernel's page tables");
    frames::end_of_boot();
    // SAFETY: (1) RAM in the direct map, taken for this.
    unsafe { heap::set_up(direct(heap), heap_bytes as usize) };
    heap::serve_from(&sched::TASKS);
}

fn start_other_cpus() {
    let mine = cpus::this().hardware_id.load(Ordering::Relaxed);
    let mut number = 1;
    let mut too_many = 0;
    smp::find_cpus(|hardware_id| {
        // Firmware that lists a CPU twice is not rare.
        let is_known = |known: u32| {
            cpus::by_id(CpuId::new(known)).hardware_id.load(Ordering::Relaxed) == hardware_id
        };
        if hardware_id == mine || (1..number).any(is_known) {
            return;
        }
        if number as usize >= MAX_CPUS {
            too_many += 1;
            return;
        }
        let cpu = cpus::by_id(CpuId::new(number));
        cpu.hardware_id.store(hardware_id, Ordering::Relaxed);
        nodes::settle_cpu(cpu);
        let idle = nodes::on(cpu.node.load(Ordering::Relaxed), || cpu_stacks::prepare(cpu));
        clock::compare_counter();
        if !smp::start_cpu(cpu, idle.top.get() as u64) {
            // Keep the number reserved: the CPU may still come up late, and then its stacks and
            // what the interrupt controller calls it are its own.
            log!("CPU {number} ({hardware_id}) did not come up");
        }
        clock::compare_counter();
        number += 1;
    });
    if !clock::is_steady() {
        log!("the counters of the CPUs disagree: the clock is one for all, and slower to read");
    }
    if too_many > 0 {
        log!("{too_many} CPUs stay off: the kernel runs on {MAX_CPUS} at most");
    }
}

/// The kernel is broken: say where, and stop the machine.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::fmt::Write;
    use threads::report::overflow::{self, Failure};
    // Whatever is left of the stack.
    // SAFETY: (1) this is the kernel; (2) they stay off.
    unsafe { kstack::arch::current::interrupts::off() };
    let (file, line) = info.location().map_or(("?", 0), |at| (at.file(), at.line()));
    overflow::continue_stopping(&Failure::Panic(file, line));
    let running = halt::park_others();
    let mut console = serial::CONSOLE;
    // Nothing can be done about a console that refuses text.
    let _unprintable = writeln!(console, "\nkernel panic: {info}");
    if running > 0 {
        let _unprintable = writeln!(console, "{running} other CPUs could not be stopped");
    }
    // Tools get the sentence too: on a machine that lacks something, it is all there is.
    let mut tools = serial::CONTROL;
    let _unprintable = writeln!(tools, "kernel panic: {info}");
    threads::report::backtrace::print_here(&mut console);
    power::end(power::End::Panic)
}
