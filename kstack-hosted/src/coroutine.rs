//! Coroutines: functions with a stack of their own that can stop in the middle.

use crate::arch::Message;
use crate::control::Control;
use crate::error::{ResumeError, StackError};
use crate::pool::{Stack, StackPool};
use crate::{arch, overflow, report, thread};
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, align_of, size_of};
use core::ptr::NonNull;
use kstack_core::addr::{Addr, AddrRange, ByteSize};
use kstack_core::stacks::ThreadId;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a stack must have left below the closure: enough for a body that does next to nothing. The
/// frames around it take 1600 bytes where the compiler does not optimise, and 170 where it does.
const LEAST_LEFT: usize = 2048;

/// What a coroutine handed to its resumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a coroutine yields or ends")]
pub enum Resumed<Yield, Return> {
    /// It waits, by [`Yielder::suspend`].
    Yielded(Yield),
    /// It has ended.
    Returned(Return),
}

impl<Yield, Return> Resumed<Yield, Return> {
    /// What it yielded, if it waits.
    pub fn yielded(self) -> Option<Yield> {
        match self {
            Self::Yielded(value) => Some(value),
            Self::Returned(_) => None,
        }
    }

    /// What it returned, if it has ended.
    pub fn returned(self) -> Option<Return> {
        match self {
            Self::Yielded(_) => None,
            Self::Returned(value) => Some(value),
        }
    }
}

/// A coroutine of the thread that made it.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a mark: it has no value")]
pub enum Local {}

/// A coroutine that may be sent to other threads between two resumptions.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a mark: it has no value")]
pub enum Movable {}

/// A function with a stack of its own, which runs when it is resumed and waits when it yields.
///
/// `Input` goes in with each [`resume`](Self::resume), `Yield` comes out while it lasts and
/// `Return` at its end. None of them borrows anything, nor does the body: a coroutine may be
/// forgotten, and threads of a `std::thread::scope` on its stack live on then. One that borrows is
/// lent by [`Coroutine::scope`].
///
/// Dropped while it waits, it is unwound: the [`Yielder::suspend`] in which it waits panics
/// (without a message), its destructors run, and its closure's captures go. Dropped before it was
/// resumed, only the closure is. With `panic = "abort"`, or if it catches that panic and suspends
/// again, it is leaked instead, with its stack. Forgotten, it is leaked likewise; nothing else
/// happens.
///
/// A panic of the body goes through to the thread that resumed it, with its payload, and the
/// coroutine has ended.
///
/// ```
/// use kstack_hosted::{Coroutine, Resumed};
///
/// let mut sum = Coroutine::new(|yielder, mut number: u32| {
///     let mut total = 0;
///     while number != 0 {
///         total += number;
///         number = yielder.suspend(total);
///     }
///     "done"
/// })?;
/// assert_eq!(sum.resume(2)?, Resumed::Yielded(2));
/// assert_eq!(sum.resume(5)?, Resumed::Yielded(7));
/// assert_eq!(sum.resume(0)?, Resumed::Returned("done"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Coroutine<Input, Yield, Return, Place = Local> {
    /// The saved SP; 0: it has ended, and `stack` is gone.
    sp: usize,
    control: NonNull<Control>,
    stack: ManuallyDrop<Stack>,
    id: u64,
    // All are invariant: its frames may hold values of all of them. No thread but this one, unless
    // said otherwise below.
    holds: PhantomData<*mut (Input, Yield, Return)>,
    place: PhantomData<Place>,
}

// SAFETY: (1) only `movable` makes one, whose caller has promised that all it keeps on its stack
// may go to another thread; (2) values that go in and out may, too.
unsafe impl<Input: Send, Yield: Send, Return: Send> Send
    for Coroutine<Input, Yield, Return, Movable>
{
}

impl<Input: 'static, Yield: 'static, Return: 'static> Coroutine<Input, Yield, Return> {
    /// A coroutine on a stack of [`StackPool::shared`].
    pub fn new<F>(body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&Yielder<Input, Yield>, Input) -> Return + 'static,
    {
        Self::on(StackPool::shared()?, body)
    }

    /// A coroutine on a stack of this pool.
    pub fn on<F>(pool: StackPool, body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&Yielder<Input, Yield>, Input) -> Return + 'static,
    {
        Self::make(pool, body)
    }
}

impl<Input: 'static, Yield: 'static, Return: 'static> Coroutine<Input, Yield, Return, Movable> {
    /// A coroutine on a stack of this pool that may be resumed and dropped on any thread.
    ///
    /// That `body` is [`Send`] is not enough. The compiler knows which values an `async fn` keeps
    /// across an `await`; which values a function keeps on its stack across a call it does not
    /// know.
    ///
    /// # Safety
    ///
    /// 1. Whatever is on the coroutine's stack while it waits in [`Yielder::suspend`] may go to
    ///    another thread: no `Rc`, no guard of a `std::sync::Mutex`, no reference to a thread-local
    ///    value, in `body` or any function that has called down to `suspend`.
    /// 2. No function that uses a thread-local value calls `suspend`, itself or through functions
    ///    that may be inlined into it: the compiler may look up the value's address before, and use
    ///    it after. Functions that return before the coroutine waits may use what they like.
    pub unsafe fn movable<F>(pool: StackPool, body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&Yielder<Input, Yield>, Input) -> Return + Send + 'static,
    {
        Self::make(pool, body)
    }
}

impl<Input, Yield, Return, Place> Coroutine<Input, Yield, Return, Place> {
    /// Of a body that may borrow: the caller sees to it that it is over before what it borrows is.
    pub(crate) fn make<F>(pool: StackPool, body: F) -> Result<Self, StackError>
    where
        F: FnOnce(&Yielder<Input, Yield>, Input) -> Return,
    {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let size = pool.geometry().body().get();
        let align = align_of::<F>().max(16);
        // Twice the closure: it is moved once more to be called.
        let taken = size_of::<F>().saturating_mul(2).saturating_add(align + LEAST_LEFT);
        if taken.saturating_add(size_of::<Control>()) > size {
            return Err(StackError::ClosureTooLarge);
        }
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let stack = pool.stack_for(ThreadId::new(id))?;
        let control = Control::below(stack.top());
        let closure = (control as usize - size_of::<F>()) & !(align - 1);
        let sp = closure - arch::FIRST_WORDS * size_of::<usize>();
        // SAFETY: (1) all three lie in the stack, which is this coroutine's alone: their sizes were
        // compared above; (2) each is aligned: the top to a page, the block and the closure as
        // their types want, SP to 16.
        unsafe {
            control.write(Control {
                // No resumer's.
                parent: control,
                entry: first::<Input, Yield, Return, F> as *const () as usize,
                id,
                range: stack.range(),
                pool: Some(pool),
                unwinds: false,
                padding: 0,
                link: 0,
                code: arch::first_called(),
            });
            (closure as *mut F).write(body);
            arch::build_first(sp as *mut usize);
        }
        // SAFETY: (1) it is the address of memory.
        let control = unsafe { NonNull::new_unchecked(control) };
        let stack = ManuallyDrop::new(stack);
        Ok(Self { sp, control, stack, id, holds: PhantomData, place: PhantomData })
    }

    /// Runs it until it yields or ends.
    ///
    /// # Panics
    ///
    /// With the panic of the body, if it panics.
    #[inline(always)]
    pub fn resume(&mut self, input: Input) -> Result<Resumed<Yield, Return>, ResumeError> {
        if self.sp == 0 {
            return Err(ResumeError::Ended);
        }
        if !self.knows_its_resumer() {
            return Err(ResumeError::NoSignalStack);
        }
        let mut input = ManuallyDrop::new(input);
        // SAFETY: (1) not ended; (2) `first` or `suspend` decode the input once; (3) just seen.
        let back = unsafe { self.switch(arch::encode(&mut input)) };
        if self.sp != 0 {
            // SAFETY: (1) `suspend` passed a value of this type, which lies there until it is
            // resumed, and forgets it.
            return Ok(Resumed::Yielded(unsafe { arch::decode(back) }));
        }
        self.last(back)
    }

    /// The end of the last [`Self::resume`]. Out of line, so that the others are short enough for
    /// their callers.
    #[cold]
    #[inline(never)]
    fn last(&mut self, back: Message) -> Result<Resumed<Yield, Return>, ResumeError> {
        match self.ended(back) {
            Some(Ok(value)) => Ok(Resumed::Returned(value)),
            Some(Err(panic)) => resume_unwind(panic),
            None => Err(ResumeError::Overflow(thread::overflow())),
        }
    }

    /// Has the block say what resumes it: the innermost coroutine of this thread, or the thread.
    /// `false`: there is no memory to make this thread one that can run coroutines.
    #[inline(always)]
    fn knows_its_resumer(&mut self) -> bool {
        // SAFETY: (1) the block is there until the coroutine has ended, and its callers have
        // looked.
        let known = unsafe { (*self.control.as_ptr()).parent };
        // A thread that is not set up has no block, and no coroutine's block says null.
        arch::current() == known || self.meets_its_resumer()
    }

    /// The rest of it, where the resumer is another than the last time.
    #[cold]
    #[inline(never)]
    fn meets_its_resumer(&mut self) -> bool {
        let mut parent = arch::current();
        if parent.is_null() {
            overflow::install();
            match thread::set_up() {
                Some(root) => parent = root,
                None => return false,
            }
        }
        // SAFETY: (1) as above; (2) this coroutine waits, so that nothing else uses its block.
        unsafe { (*self.control.as_ptr()).parent = parent };
        true
    }

    /// The switch there and back. Returns the message.
    ///
    /// # Safety
    ///
    /// 1. It has not ended.
    /// 2. `message` is an input that is not used again, or the block says that it is to be unwound.
    /// 3. [`Self::knows_its_resumer`] has said so since the last switch.
    #[inline(always)]
    unsafe fn switch(&mut self, message: Message) -> Message {
        let control = self.control.as_ptr();
        arch::set_current(control);
        // SAFETY: (1) `sp` is what the latest switch returned, or what `make` built; (2) the stack
        // is this coroutine's; (3) the caller's promise. The other side sets the thread's word
        // back: to `parent`, on the same thread, since only a coroutine that is the innermost can
        // wait, and the resumer does not go anywhere meanwhile.
        let (back, sp) = unsafe { arch::resume(message, control, self.sp) };
        // Most wait where they waited before; a store less, and stores are what a switch costs.
        if self.sp != sp {
            self.sp = sp;
        }
        back
    }

    /// Takes what it ended with and gives its stack back. `None`: it was cut off.
    #[inline]
    fn ended(&mut self, back: Message) -> Option<Ended<Return>> {
        // SAFETY: (1) an ended coroutine hands back an address, or 0 by the handler of overflows.
        let back = unsafe { back.assume_init() };
        let ended = (!back.is_null()).then(|| {
            // SAFETY: (1) `first` passed it, and forgets it; (2) its frame is as it was.
            unsafe { back.cast::<Ended<Return>>().read() }
        });
        // SAFETY: (1) once: `sp` is 0 from now on. (2) Nothing runs on the stack any more.
        unsafe { ManuallyDrop::drop(&mut self.stack) };
        ended
    }

    /// Whether it has ended: returned, panicked, or overflowed.
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.sp == 0
    }

    /// Its number, by which reports of overflows name it. No two coroutines of a process have the
    /// same.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The bounds of its stack, until it has ended.
    pub fn stack(&self) -> Option<AddrRange> {
        (self.sp != 0).then(|| self.stack.range())
    }

    /// How much of its stack is in use while it waits.
    pub fn depth(&self) -> ByteSize {
        self.stack().map_or(ByteSize::ZERO, |stack| stack.top.bytes_above(Addr::new(self.sp)))
    }

    /// Whether it waits in its body, which is neither over nor still to begin.
    pub(crate) fn is_under_way(&self) -> bool {
        // SAFETY: (1) it has not ended: the block is there.
        self.sp != 0 && unsafe { (*self.control.as_ptr()).link } != 0
    }

    /// Ends it, wherever it waits. It waits on if it refuses, or if a panic cannot be caught.
    #[cold]
    pub(crate) fn unwind(&mut self) {
        if cfg!(panic = "abort") && self.is_under_way() {
            return;
        }
        if !self.knows_its_resumer() {
            return;
        }
        // SAFETY: (1) it has not ended: the block is there; (2) it is to be unwound; (3) just seen.
        let back = unsafe {
            (*self.control.as_ptr()).unwinds = true;
            self.switch(Message::uninit())
        };
        if self.sp != 0 {
            // It waits again: so be it. What it yielded is of use to nothing.
            // SAFETY: (1) as in `resume`.
            drop(unsafe { arch::decode::<Yield>(back) });
            return;
        }
        match self.ended(back) {
            Some(Err(panic)) if !panic.is::<Unwinding>() && !std::thread::panicking() => {
                resume_unwind(panic)
            }
            Some(_) => {}
            // There is no resumer to be told.
            None => report::tell(&thread::overflow()),
        }
    }
}

impl<Input, Yield, Return, Place> Drop for Coroutine<Input, Yield, Return, Place> {
    #[inline]
    fn drop(&mut self) {
        if self.sp != 0 {
            self.unwind();
        }
    }
}

impl<Input, Yield, Return, Place> fmt::Debug for Coroutine<Input, Yield, Return, Place> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Coroutine({}", self.id)?;
        match self.stack() {
            Some(stack) => write!(f, " on {stack:?})"),
            None => f.write_str(", ended)"),
        }
    }
}

/// What a coroutine waits with. Only its own body has it.
pub struct Yielder<Input, Yield> {
    control: *mut Control,
    passes: PhantomData<*mut (Input, Yield)>,
}

impl<Input, Yield> Yielder<Input, Yield> {
    /// Hands `value` to the resumer and waits for the next [`Coroutine::resume`]. Returns what that
    /// hands in.
    ///
    /// # Panics
    ///
    /// When the coroutine is dropped while it waits: so its destructors run. When it is called
    /// where another coroutine runs, or none.
    #[inline(always)]
    pub fn suspend(&self, value: Yield) -> Input {
        if arch::current() != self.control {
            not_innermost();
        }
        let mut value = ManuallyDrop::new(value);
        // SAFETY: (1) compared above; (2) the resumer decodes a value of this type, once.
        let input = unsafe { arch::suspend(arch::encode(&mut value), self.control) };
        // SAFETY: (1) the block is there as long as the coroutine runs.
        if unsafe { (*self.control).unwinds } {
            unwind();
        }
        // SAFETY: (1) `resume` passed an input of this type and forgets it.
        unsafe { arch::decode(input) }
    }
}

impl<Input, Yield> fmt::Debug for Yielder<Input, Yield> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Yielder")
    }
}

/// The payload with which a dropped coroutine is unwound.
struct Unwinding;

/// What a coroutine ends with.
type Ended<Return> = Result<Return, Box<dyn Any + Send>>;

#[cold]
fn unwind() -> ! {
    resume_unwind(Box::new(Unwinding))
}

#[cold]
fn not_innermost() -> ! {
    panic!("a coroutine can be suspended only by its own body, while nothing that it resumed runs");
}

/// The first function on a coroutine's stack, called by [`arch`].
///
/// # Safety
///
/// 1. `closure` and `control` are what `make` wrote, and this is called once.
/// 2. `input` is a value that is not used again, or the block says that it is to be unwound.
unsafe extern "C" fn first<Input, Yield, Return, F>(
    input: Message,
    control: *mut Control,
    closure: *mut F,
) -> !
where
    F: FnOnce(&Yielder<Input, Yield>, Input) -> Return,
{
    // The closure stays where it is until it is called: each move of a large one takes its size
    // from the stack once more where the compiler does not optimise.
    let ended: Ended<Return> = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: (1) the block is there as long as the coroutine runs.
        if unsafe { (*control).unwinds } {
            // SAFETY: (1) the caller's promise; (2) it is not read in this case.
            unsafe { closure.drop_in_place() };
            return Err(Box::new(Unwinding) as Box<dyn Any + Send>);
        }
        // SAFETY: (1) the caller's promise.
        let input = unsafe { arch::decode(input) };
        let yielder = Yielder { control, passes: PhantomData };
        // SAFETY: (1) the caller's promise; (2) it is not dropped in this case.
        Ok(unsafe { closure.read() }(&yielder, input))
    }))
    .unwrap_or_else(Err);
    let mut ended = ManuallyDrop::new(ended);
    // SAFETY: (1) this is the coroutine's outermost function, and what it resumed has returned.
    unsafe { arch::finish((&raw mut ended).cast(), control) }
}

#[cfg(test)]
mod tests;
