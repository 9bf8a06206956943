//! What a thread may belong to: a program's process, of which the threads know no more than
//! [`Owner`].
//!
//! The personality that runs programs has one [`OwnerKind`] for its type of process, and gets its
//! process back from a thread by it. A thread keeps the kind's address: that it is the same one is
//! a comparison with a constant, where a comparison of type ids would cost each system call several
//! instructions more.

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::AtomicU8;

/// What threads ask of what they belong to.
pub trait Owner: Send + Sync + fmt::Debug + 'static {
    /// The physical address of the page tables that its threads run under; 0: any will do.
    fn tables_root(&self) -> u64;

    /// Ends the calling thread, one of its own, after its stack has overflowed: everything on it
    /// has been given up.
    fn end_after_overflow(&self) -> !;
}

/// Stands for a type of owner, by its address.
///
/// It can change, so that no two of them, of different types, are ever merged into one constant.
#[derive(Debug)]
pub struct OwnerKind<T>(
    #[expect(dead_code, reason = "gives it an address of its own")] AtomicU8,
    PhantomData<fn(T) -> T>,
);

impl<T: Owner> OwnerKind<T> {
    /// A kind. One `static` for each type of owner is enough.
    pub const fn new() -> Self {
        Self(AtomicU8::new(0), PhantomData)
    }

    fn address(&'static self) -> *const () {
        core::ptr::from_ref(self).cast()
    }
}

impl<T: Owner> Default for OwnerKind<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What a thread belongs to, with its kind; or nothing.
#[derive(Debug)]
pub struct Owned {
    owner: Option<Arc<dyn Owner>>,
    /// The same, as what it is.
    this: *const (),
    /// Null: it belongs to nothing.
    kind: *const (),
}

// SAFETY: (1) `this` is the address of `owner`, which may be used from any CPU; (2) `kind` is only
// compared.
unsafe impl Send for Owned {}
// SAFETY: (1) (2) as for `Send`.
unsafe impl Sync for Owned {}

impl Owned {
    /// Nothing.
    pub(super) const NOT: Self =
        Self { owner: None, this: core::ptr::null(), kind: core::ptr::null() };

    /// An owner, for a thread.
    pub fn new<T: Owner>(owner: Arc<T>, kind: &'static OwnerKind<T>) -> Self {
        Self { this: Arc::as_ptr(&owner).cast(), owner: Some(owner), kind: kind.address() }
    }

    /// The owner, as far as every thread knows it.
    pub fn as_owner(&self) -> Option<&dyn Owner> {
        self.owner.as_deref()
    }

    /// The owner, if it is of this kind. A comparison with a constant, and a load.
    #[inline(always)]
    pub fn get<T: Owner>(&self, kind: &'static OwnerKind<T>) -> Option<&T> {
        // SAFETY: (1) a kind has a byte that can change and lives as long as the kernel, so no
        // other object, and no kind of another type, has its address: `new` was given this one,
        // with an owner of type T; (2) `owner` keeps it.
        (self.kind == kind.address()).then(|| unsafe { &*self.this.cast::<T>() })
    }

    /// The same, as a reference to keep.
    pub fn share<T: Owner>(&self, kind: &'static OwnerKind<T>) -> Option<Arc<T>> {
        let owner = core::ptr::from_ref(self.get(kind)?);
        // SAFETY: (1) `new` got an `Arc<T>` with this address, and `owner` holds its count.
        unsafe {
            Arc::increment_strong_count(owner);
            Some(Arc::from_raw(owner))
        }
    }
}
