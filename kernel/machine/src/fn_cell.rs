//! A place for a function that is set at run time, and called from any context without a lock.

use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A type of functions, as a word.
pub trait Function: Copy {
    /// The function's address.
    fn address(self) -> *mut ();

    /// The function with this address.
    ///
    /// # Safety
    ///
    /// 1. The address came from [`Function::address`] of the same type.
    unsafe fn at(address: *mut ()) -> Self;
}

impl Function for fn() {
    #[inline(always)]
    fn address(self) -> *mut () {
        self as *mut ()
    }

    #[inline(always)]
    unsafe fn at(address: *mut ()) -> Self {
        // SAFETY: (1) by the caller's promise.
        unsafe { core::mem::transmute::<*mut (), fn()>(address) }
    }
}

impl<A: ?Sized> Function for fn(&mut A) {
    #[inline(always)]
    fn address(self) -> *mut () {
        self as *mut ()
    }

    #[inline(always)]
    unsafe fn at(address: *mut ()) -> Self {
        // SAFETY: (1) by the caller's promise.
        unsafe { core::mem::transmute::<*mut (), fn(&mut A)>(address) }
    }
}

impl Function for fn(fmt::Arguments<'_>) {
    #[inline(always)]
    fn address(self) -> *mut () {
        self as *mut ()
    }

    #[inline(always)]
    unsafe fn at(address: *mut ()) -> Self {
        // SAFETY: (1) by the caller's promise.
        unsafe { core::mem::transmute::<*mut (), fn(fmt::Arguments<'_>)>(address) }
    }
}

/// The place, which may be empty.
#[derive(Debug)]
pub struct FnCell<F>(AtomicPtr<()>, PhantomData<F>);

impl<F: Function> FnCell<F> {
    /// No function.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()), PhantomData)
    }

    /// Sets it, or empties the place.
    pub fn set(&self, function: Option<F>) {
        let address = function.map_or(core::ptr::null_mut(), F::address);
        self.0.store(address, Ordering::Release);
    }

    /// The function that was set last.
    #[inline(always)]
    pub fn get(&self) -> Option<F> {
        let address = self.0.load(Ordering::Acquire);
        // SAFETY: (1) only `set` stores here, and what it stores is null or came from `address` of
        // this type.
        (!address.is_null()).then(|| unsafe { F::at(address) })
    }
}

impl<F: Function> Default for FnCell<F> {
    fn default() -> Self {
        Self::new()
    }
}
