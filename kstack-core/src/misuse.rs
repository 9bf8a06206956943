//! What the types refuse: each item shows one misuse that must not compile, for its own reason and no other.
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
/// ```compile_fail,E0599
/// fn copied(stack: &kstack_core::pool::LiveStack) -> kstack_core::pool::LiveStack {
///     kstack_core::pool::LiveStack::clone(stack)
/// }
/// ```
pub fn l2_the_right_to_a_stack_is_not_copied() {}

/// Nor made.
///
/// ```compile_fail,E0423
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

/// ```compile_fail,E0599
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
