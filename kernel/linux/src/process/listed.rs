//! Processes in a list that is sorted by number.

use super::Process;
use alloc::sync::Arc;

/// The process with a number.
pub(super) fn by_number(list: &[Arc<Process>], number: u64) -> Option<&Arc<Process>> {
    list.binary_search_by_key(&number, |process| process.id).ok().map(|place| &list[place])
}

/// Where one with a number belongs.
pub(super) fn place_of(list: &[Arc<Process>], number: u64) -> usize {
    list.partition_point(|other| other.id < number)
}
