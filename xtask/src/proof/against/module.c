// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What Linux takes for the work that `kernel/src/bench` measures in the kernel of this tree, in
// executed instructions: a module that measures while it is loaded, and prints a line for each
// figure, `kstack NAME VALUE`.
//
// The counters below advance by one per instruction in the emulator's counting mode. What reading
// them costs is subtracted. Each figure is the median of its rounds. Where a thread, a softirq or a
// switch was to run and did not, the module says so and prints no figure.
//
// Parameters: `threads=N`: create so many kernel threads that sleep, and print what each took, and
// nothing else. `sleepers=N`: measure with so many asleep; they stay, and so does the module.

#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/sort.h>
#include <linux/stacktrace.h>
#include <linux/vmalloc.h>
#ifdef CONFIG_X86_64
#include <asm/irq_vectors.h>
#include <asm/switch_to.h>
#endif

MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("figures of kernel stacks, threads, switches and interrupts");

static int threads;
module_param(threads, int, 0);
static int sleepers;
module_param(sleepers, int, 0);

#define ROUNDS 500

// ---- the counter ----

#ifdef CONFIG_X86_64
static __always_inline u64 now(void)
{
	u32 low, high;

	asm volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
	return low | (u64)high << 32;
}

static void start_counting(void)
{
}
#else
static __always_inline u64 now(void)
{
	u64 count;

	asm volatile("isb\n\tmrs %0, pmccntr_el0" : "=r"(count) : : "memory");
	return count;
}

// Starts the cycle counter, for programs too: `program-bench` reads it.
static void start_counting(void)
{
	const u64 enable_and_long = 1 | 1 << 6, cycles = 1ul << 31, for_programs = 1 | 1 << 2;
	u64 control;

	asm volatile("mrs %0, pmcr_el0" : "=r"(control));
	asm volatile("msr pmccfiltr_el0, xzr\n\t"
		     "msr pmcntenset_el0, %1\n\t"
		     "msr pmuserenr_el0, %2\n\t"
		     "msr pmcr_el0, %0\n\t"
		     "isb"
		     : : "r"(control | enable_and_long), "r"(cycles), "r"(for_programs));
}
#endif

// ---- medians ----

static u64 spans[ROUNDS];
static u64 reading;

static int ascending(const void *left, const void *right)
{
	u64 a = *(const u64 *)left, b = *(const u64 *)right;

	return a < b ? -1 : a > b;
}

static u64 median(void)
{
	sort(spans, ROUNDS, sizeof(spans[0]), ascending, NULL);
	return spans[ROUNDS / 2];
}

static u64 less_reading(u64 span)
{
	return span > reading ? span - reading : 0;
}

static void print(const char *name, u64 value)
{
	pr_info("kstack %s %llu\n", name, value);
}

static void fail(const char *name)
{
	pr_info("kstack-failed %s: a round did not do what is measured\n", name);
}

// The median instructions of a piece of work; the counter's own cost is subtracted.
#define MEDIAN(work) ({							\
	int round_;							\
	for (round_ = 0; round_ < ROUNDS; round_++) {			\
		u64 before_ = now();					\
		work;							\
		spans[round_] = less_reading(now() - before_);		\
	}								\
	median();							\
})

// ---- what the kernel does not export ----

static unsigned long (*lookup)(const char *name);

static bool find_lookup(void)
{
	// Registering a probe looks a name up. None is there while something is measured.
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };

	if (register_kprobe(&probe) < 0)
		return false;
	lookup = (void *)probe.addr;
	unregister_kprobe(&probe);
	return true;
}

static void *symbol(const char *name)
{
	void *address = (void *)lookup(name);

	if (!address)
		pr_info("kstack-failed no symbol %s\n", name);
	return address;
}

// ---- stacks ----

static void stacks(void)
{
	void *(*map)(unsigned long, unsigned long, unsigned long, unsigned long, gfp_t, pgprot_t,
		     unsigned long, int, const void *) = symbol("__vmalloc_node_range_noprof");
	void *stack;
	u64 clearing;

	if (!map)
		return;
	// As the creation of a thread does where no stack is cached, and what follows its end.
#define MAP() map(THREAD_SIZE, THREAD_ALIGN, VMALLOC_START, VMALLOC_END,			\
		  THREADINFO_GFP & ~__GFP_ACCOUNT, PAGE_KERNEL, 0, NUMA_NO_NODE,		\
		  __builtin_return_address(0))
	print("stack_arena", MEDIAN({ stack = MAP(); vfree(stack); }));
	// A cached stack is zeroed whole. The rest of a hit is inlined into the creation of a thread,
	// and not in this: the figure is a lower bound.
	stack = MAP();
	if (!stack)
		return fail("stack_cached");
	clearing = MEDIAN(memset(stack, 0, THREAD_SIZE));
	print("stack_cached_1k", clearing);
	print("stack_cached_full", clearing);
	print("stack_dirtied_1k", clearing);
	print("stack_dirtied_2k", clearing);
	print("stack_dirtied_4k", clearing);
	print("stack_dirtied_8k", clearing);
	print("stack_dirtied_16k", clearing);
	vfree(stack);
}

// ---- threads ----

static int lives;

static int live(void *argument)
{
	WRITE_ONCE(lives, lives + 1);
	return 0;
}

// A thread that has run to its end, and is waited for.
static void lives_of_threads(void)
{
	bool ran = true;
	u64 figure = MEDIAN({
		struct task_struct *thread = kthread_create(live, NULL, "life");
		int before = lives;

		if (IS_ERR(thread)) {
			ran = false;
		} else {
			// What another CPU does while this one looks would be counted, too.
			if (num_online_cpus() > 1)
				kthread_bind(thread, raw_smp_processor_id());
			get_task_struct(thread);
			wake_up_process(thread);
			// Before it has run, stopping it would keep it from running.
			while (READ_ONCE(lives) == before)
				yield();
			kthread_stop(thread);
			put_task_struct(thread);
		}
	});

	if (ran && lives == ROUNDS)
		print("thread_life", figure);
	else
		fail("thread_life");
}

// One switch between two kernel threads that hand the CPU to each other, without a scheduling
// decision: interrupts are off, and the scheduler does not see it. The partner was never woken. It
// runs on its own stack, below where it lies asleep, and in the end lies there as before.

static struct task_struct *first, *partner;
static int turns;

#ifdef CONFIG_X86_64
typedef struct task_struct *switching(struct task_struct *from, struct task_struct *to);
#else
typedef struct task_struct *switching(struct task_struct *from, struct task_struct *to);
#endif
static switching *hand_over;
static u64 left;

static __noreturn noinline void take_turns(void)
{
	for (;;) {
		spans[turns] = less_reading(now() - left);
		turns++;
		hand_over(partner, first);
	}
}

#ifdef CONFIG_X86_64
#define SWITCH "__switch_to_asm"
struct asleep { unsigned long stack; };

static void lay(struct asleep *kept)
{
	unsigned long top = ALIGN_DOWN(partner->thread.sp - 1024, 16);
	struct inactive_task_frame *frame = (void *)(top - 8 - sizeof(*frame));

	kept->stack = partner->thread.sp;
	memset(frame, 0, sizeof(*frame));
	frame->ret_addr = (unsigned long)take_turns;
	partner->thread.sp = (unsigned long)frame;
}

static void restore(struct asleep *kept)
{
	partner->thread.sp = kept->stack;
}
#else
#define SWITCH "__switch_to"
struct asleep { struct cpu_context context; };

static void lay(struct asleep *kept)
{
	struct cpu_context *context = &partner->thread.cpu_context;

	kept->context = *context;
	context->sp = ALIGN_DOWN(context->sp - 1024, 16);
	context->fp = 0;
	context->pc = (unsigned long)take_turns;
}

static void restore(struct asleep *kept)
{
	partner->thread.cpu_context = kept->context;
}
#endif

static int switch_bare(void *argument)
{
	unsigned long flags;
	struct asleep kept;
	int round;

	first = current;
	partner = kthread_create(live, NULL, "partner");
	if (IS_ERR(partner)) {
		fail("switch_bare");
		return 0;
	}
	local_irq_save(flags);
	lay(&kept);
	for (round = 0; round < ROUNDS; round++) {
		left = now();
		hand_over(first, partner);
	}
	restore(&kept);
	local_irq_restore(flags);
	kthread_stop(partner);
	if (turns == ROUNDS)
		print("switch_bare", median());
	else
		fail("switch_bare");
	return 0;
}

static void switches(void)
{
	struct task_struct *thread;

	hand_over = symbol(SWITCH);
	if (!hand_over)
		return;
	thread = kthread_create(switch_bare, NULL, "switch");
	if (IS_ERR(thread))
		return fail("switch_bare");
	get_task_struct(thread);
	wake_up_process(thread);
	while (!READ_ONCE(turns))
		yield();
	kthread_stop(thread);
	put_task_struct(thread);
}

// ---- interrupts ----

static void (*raise)(unsigned int number);
static int softirqs, interrupts;
static bool with_softirq;

static void softirq(void)
{
	WRITE_ONCE(softirqs, softirqs + 1);
}

static void interrupt(struct irq_work *work)
{
	if (with_softirq)
		raise(IRQ_POLL_SOFTIRQ);
	WRITE_ONCE(interrupts, interrupts + 1);
}

static struct irq_work work = IRQ_WORK_INIT_HARD(interrupt);

// From its request to its end.
static void interrupt_oneself(void)
{
	int before = interrupts;

	irq_work_queue(&work);
	while (READ_ONCE(interrupts) == before)
		cpu_relax();
}

#ifdef CONFIG_X86_64
// The vector of a list that is empty.
static __always_inline void software_interrupt(void)
{
	asm volatile("int %0" : : "i"(IRQ_WORK_VECTOR) : "memory");
}
#else
// Enters the vector as an interrupt does that is gone before the controller is asked: it names none.
static noinline void software_interrupt(void)
{
	asm volatile("mrs	x9, vbar_el1\n\t"
		     "add	x9, x9, %0\n\t"
		     "mov	x10, %1\n\t"
		     "adr	x11, 1f\n\t"
		     "msr	daifset, #15\n\t"
		     "msr	spsr_el1, x10\n\t"
		     "msr	elr_el1, x11\n\t"
		     "ret	x9\n"
		     "1:"
		     : : "i"(0x280), "r"((u64)PSR_MODE_EL1h | PSR_PAN_BIT)
		     : "x9", "x10", "x11", "memory", "cc");
}
#endif

static void interrupts_and_softirqs(void)
{
	void (*open)(int, void (*)(void)) = symbol("open_softirq");
	u64 without, with;

	raise = symbol("raise_softirq_irqoff");
	preempt_disable();
	print("irq_stack_round_trip", MEDIAN(software_interrupt()));
	preempt_enable();
	if (!open || !raise)
		return;
	// Its own user drives disks: the machine has none.
	open(IRQ_POLL_SOFTIRQ, softirq);
	preempt_disable();
	without = MEDIAN(interrupt_oneself());
	preempt_enable();
	with_softirq = true;
	preempt_disable();
	with = MEDIAN(interrupt_oneself());
	preempt_enable();
	if (softirqs == ROUNDS && interrupts == 2 * ROUNDS)
		print("softirq_inline", with - without);
	else
		fail("softirq_inline");
	softirqs = 0;
	with = MEDIAN({
		unsigned long flags;

		local_bh_disable();
		local_irq_save(flags);
		raise(IRQ_POLL_SOFTIRQ);
		local_irq_restore(flags);
		local_bh_enable();
	});
	if (softirqs == ROUNDS)
		print("softirq_from_thread", with);
	else
		fail("softirq_from_thread");
}

// ---- backtraces ----

static unsigned long frames[128];
static unsigned int found;

// The frames of this module are found by a search among modules, which no frame of the kernel's own
// needs: a backtrace of three frames is subtracted from one of all but the last.
static noinline void backtraces(void)
{
	const unsigned int few = 3;
	unsigned int all = stack_trace_save(frames, ARRAY_SIZE(frames), 0);
	u64 short_, long_;

	if (all < few + 5)
		return fail("backtrace_per_frame");
	short_ = MEDIAN(found = stack_trace_save(frames, few, 0));
	long_ = MEDIAN(found = stack_trace_save(frames, all - 1, 0));
	if (found == all - 1)
		print("backtrace_per_frame", (long_ - short_) / (all - 1 - few));
	else
		fail("backtrace_per_frame");
}

// A backtrace from so many calls further down, which are this module's own.
static noinline u64 backtrace_from(int depth)
{
	u64 figure;

	if (depth > 0)
		figure = backtrace_from(depth - 1);
	else
		figure = MEDIAN(found = stack_trace_save(frames, ARRAY_SIZE(frames), 0));
	// Otherwise the last call would be a jump.
	barrier();
	return figure;
}

static void depths(void)
{
	static const char *const names[] = { "backtrace_8", "backtrace_16", "backtrace_32", "backtrace_64" };
	unsigned int depth = 8, i;

	for (i = 0; i < ARRAY_SIZE(names); i++, depth *= 2) {
		u64 figure = backtrace_from(depth);

		if (found > depth)
			print(names[i], figure);
		else
			fail(names[i]);
	}
}

// ---- memory ----

static struct task_struct **created;
static atomic_t asleep;

static int sleep(void *argument)
{
	atomic_inc(&asleep);
	while (!kthread_should_stop()) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
	return 0;
}

static u64 free_memory(void)
{
	struct sysinfo info;

	si_meminfo(&info);
	return (u64)info.freeram << PAGE_SHIFT;
}

// So many threads that are asleep; whether they are.
static bool create_sleepers(int wanted)
{
	u64 before, span;
	int count;

	created = vzalloc(array_size(wanted, sizeof(*created)));
	if (!created)
		return false;
	before = free_memory();
	span = now();
	for (count = 0; count < wanted; count++) {
		created[count] = kthread_run(sleep, NULL, "sleeper");
		if (IS_ERR(created[count])) {
			pr_info("kstack-failed thread %d: error %ld\n", count, PTR_ERR(created[count]));
			return false;
		}
	}
	span = now() - span;
	while (atomic_read(&asleep) < count)
		yield();
	print("bytes_per_sleeping_thread", (before - free_memory()) / wanted);
	print("create_one_of_them", span / wanted);
	return true;
}

static void wake_sleepers(int count)
{
	while (count--)
		kthread_stop(created[count]);
	vfree(created);
}

static int __init measure(void)
{
	start_counting();
	reading = MEDIAN(({}));
	if (!find_lookup()) {
		pr_info("kstack-failed no way to look names up\n");
		return -ENOENT;
	}
	if (threads > 0) {
		if (create_sleepers(threads))
			wake_sleepers(threads);
		else
			__module_get(THIS_MODULE);
		return 0;
	}
	if (sleepers > 0) {
		__module_get(THIS_MODULE);
		if (!create_sleepers(sleepers))
			return 0;
	}
	stacks();
	interrupts_and_softirqs();
	backtraces();
	depths();
	lives_of_threads();
	switches();
	pr_info("kstack-end\n");
	return 0;
}

static void __exit leave(void)
{
}

module_init(measure);
module_exit(leave);
