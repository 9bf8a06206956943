//! What the types refuse: each item shows one misuse that must not compile, for its own reason and
//! no other.
//!
//! Compiled for documentation tests only.

/// A stack is released once.
///
/// ```compile_fail,E0382
/// use kstack_core::{cache::CpuCache, pool::{Pages, LiveStack, Lock, Pool}};
/// fn twice(pool: &Pool, stack: LiveStack, cache: &mut CpuCache, shared: &impl Lock, backing: &mut impl Pages) {
///     pool.release(stack, cache, shared, backing);
///     pool.release(stack, cache, shared, backing);
/// }
/// ```
pub fn l2_a_stack_is_not_released_twice() {}

/// Its name, which everybody may have, releases nothing.
///
/// ```compile_fail,E0308
/// use kstack_core::{cache::CpuCache, pool::{Pages, Lock, Pool, StackRef}};
/// fn by_name(pool: &Pool, stack: StackRef, cache: &mut CpuCache, shared: &impl Lock, backing: &mut impl Pages) {
///     pool.release(stack, cache, shared, backing);
/// }
/// ```
pub fn l2_a_stack_is_not_released_by_its_name() {}

/// The right cannot be copied.
///
/// ```compile_fail,E0277
/// fn copied(stack: &kstack_core::pool::LiveStack) -> kstack_core::pool::LiveStack {
///     kstack_core::pool::LiveStack::clone(stack)
/// }
/// ```
pub fn l2_the_right_to_a_stack_is_not_copied() {}

/// Nor made.
///
/// ```compile_fail,E0603
/// fn made(stack: kstack_core::pool::StackRef) -> kstack_core::pool::LiveStack {
///     kstack_core::pool::LiveStack(stack)
/// }
/// ```
pub fn l2_the_right_to_a_stack_is_not_made() {}

/// A borrow ends once.
///
/// ```compile_fail,E0382
/// use kstack_core::{cache::CpuCache, pool::{Pages, BorrowedStack, Lock, Pool}};
/// fn twice(pool: &Pool, stack: BorrowedStack, cache: &mut CpuCache, shared: &impl Lock, backing: &mut impl Pages) {
///     pool.give_back(stack, cache, shared, backing);
///     pool.give_back(stack, cache, shared, backing);
/// }
/// ```
pub fn l2_a_borrow_is_not_given_back_twice() {}

/// A record says that pages are mapped only if the pool has mapped them.
///
/// ```compile_fail,E0624
/// fn lie(record: &kstack_core::record::SlotRecord) {
///     record.set_mapped_pages(4);
/// }
/// ```
pub fn l2_a_record_is_not_changed_from_outside() {}

/// A life begins and ends in the pool.
///
/// ```compile_fail,E0624
/// fn end(record: &kstack_core::record::SlotRecord) {
///     let _released = record.life().release_owner();
/// }
/// ```
pub fn l2_a_life_is_not_ended_from_outside() {}

/// ```compile_fail,E0624
/// fn begin(record: &kstack_core::record::SlotRecord) {
///     record.life().make_live();
/// }
/// ```
pub fn l2_a_life_is_not_begun_from_outside() {}

/// A cache has what the pool put there.
///
/// ```compile_fail,E0624
/// fn put(cache: &mut kstack_core::cache::CpuCache) {
///     let _put = cache.put(kstack_core::arena::SlotIndex::new(0));
/// }
/// ```
pub fn l2_a_slot_is_not_put_into_a_cache_from_outside() {}

/// ```compile_fail,E0277
/// fn copied(cache: &kstack_core::cache::CpuCache) -> kstack_core::cache::CpuCache {
///     kstack_core::cache::CpuCache::clone(cache)
/// }
/// ```
pub fn l2_a_cache_is_not_copied() {}

/// All slots are free once.
///
/// ```compile_fail,E0624
/// fn again(arena: &kstack_core::arena::Arena) -> kstack_core::pool::PoolShared {
///     kstack_core::pool::PoolShared::new(arena)
/// }
/// ```
pub fn l2_the_shared_part_is_not_made_twice() {}

/// ```compile_fail,E0499
/// use kstack_core::{arena::Arena, erase::ErasePolicy, pool::Pool, record::SlotRecord};
/// fn two(arena: Arena, records: &mut [SlotRecord]) {
///     let first = Pool::new(arena, records, ErasePolicy::Full);
///     let second = Pool::new(arena, records, ErasePolicy::Full);
///     drop((first, second));
/// }
/// ```
pub fn l2_two_pools_have_not_the_same_records() {}

macro_rules! only_of_the_pool {
    ($($name:ident: $arguments:literal, $call:literal;)*) => {$(
        #[doc = concat!(
            "```compile_fail,E0624\n\
            use kstack_core::{arena::SlotIndex, cache::CpuCache, depot::{Depot, FreeSlots}, lifetime::{Generation, Life}};\n\
            use kstack_core::{addr::CpuId, meter::Watermark, record::SlotRecord, stacks::ThreadId};\n\
            fn from_outside(", $arguments, ") {\n    ", $call, ";\n}\n```"
        )]
        pub fn $name() {}
    )*};
}

// What the pool alone may do to a record, to a life and to the lists of slots.
only_of_the_pool! {
    l2_a_record_has_no_other_owner_from_outside: "record: &SlotRecord", "record.set_owner(ThreadId::NONE)";
    l2_a_record_is_not_filled_in_from_outside: "record: &SlotRecord, kind: kstack_core::kind::StackKind, account: kstack_core::record::AccountId",
        "record.fill_in(kind, ThreadId::NONE, CpuId::new(0), account)";
    l2_a_cpu_is_not_called_coherent_from_outside: "record: &SlotRecord", "record.mark_coherent(CpuId::new(0))";
    l2_the_set_of_coherent_cpus_is_not_reached_from_outside: "record: &SlotRecord", "let _set = record.coherent()";
    l2_a_list_is_not_linked_from_outside: "record: &SlotRecord", "record.set_next(0)";
    l2_a_life_is_not_borrowed_from_outside: "life: &Life, generation: Generation", "let _borrow = life.try_borrow(generation)";
    l2_a_life_is_not_parked_from_outside: "life: &Life", "life.park()";
    l2_a_life_is_not_set_free_from_outside: "life: &Life", "life.set_free()";
    l2_samples_are_not_forgotten_from_outside: "watermark: &Watermark", "watermark.reset()";
    l2_a_slot_is_not_taken_from_a_cache_from_outside: "cache: &mut CpuCache", "let _slot = cache.take()";
    l2_a_slot_is_not_put_into_the_depot_from_outside: "depot: &mut Depot, records: &[SlotRecord]", "depot.put(records, SlotIndex::new(0))";
    l2_a_slot_is_not_taken_from_the_depot_from_outside: "depot: &mut Depot, records: &[SlotRecord]", "let _slot = depot.take(records)";
    l2_a_slot_is_not_set_free_from_outside: "free: &mut FreeSlots, records: &[SlotRecord]", "free.put(records, SlotIndex::new(0))";
    l2_a_free_slot_is_not_taken_from_outside: "free: &mut FreeSlots, records: &[SlotRecord]", "let _slot = free.take(records)";
}

/// The right to end a borrow is the pool's as well: it is not even named outside.
///
/// ```compile_fail,E0624
/// fn ended_twice(life: &kstack_core::lifetime::Life, generation: kstack_core::lifetime::Generation) {
///     let _released = life.release_borrow(life.try_borrow(generation).unwrap());
/// }
/// ```
pub fn l2_a_borrow_of_a_life_is_not_ended_from_outside() {}
