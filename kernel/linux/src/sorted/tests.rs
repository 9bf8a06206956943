//! The list beside a plain one. Run on the host, by xtask's tests.

use super::*;
use std::collections::BTreeMap;

/// From its key to where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: u64,
    to: u64,
}

impl Item for Span {
    fn key(&self) -> u64 {
        self.from
    }

    fn gap(&self, next: &Self) -> u64 {
        next.from - self.to
    }
}

fn list(keys: impl IntoIterator<Item = u64>) -> Sorted<Span> {
    let mut list = Sorted::new();
    for from in keys {
        list.insert(Span { from, to: from + 1 }).unwrap();
    }
    list
}

fn lengths(list: &Sorted<Span>) -> Vec<usize> {
    list.chunks.iter().map(|chunk| chunk.items.len()).collect()
}

fn spares(list: &Sorted<Span>) -> usize {
    assert!(list.spare.iter().flatten().all(|chunk| chunk.items.is_empty()));
    list.spare.iter().flatten().count()
}

/// The list keeps its own rules, and has what the model has.
fn check(list: &Sorted<Span>, model: &BTreeMap<u64, Span>) {
    assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
    assert!(list.iter().eq(model.values()));
    for chunk in &list.chunks {
        assert!((1..=CHUNK).contains(&chunk.items.len()) && chunk.items.capacity() >= CHUNK);
        let widest = chunk.items.windows(2).map(|pair| pair[1].from - pair[0].to).max();
        assert_eq!(chunk.widest, widest.unwrap_or(0));
    }
    for (at, chunk) in list.chunks.iter().enumerate() {
        let next = list.chunks.get(at + 1);
        let after = next.map(|next| next.items[0].from - chunk.items.last().unwrap().to);
        assert_eq!(chunk.after, after.unwrap_or(0), "the gap behind chunk {at}");
    }
    let of_groups = list
        .chunks
        .chunks(GROUP)
        .map(|group| group.iter().map(|chunk| chunk.widest.max(chunk.after)).max().unwrap());
    assert!(list.groups.iter().copied().eq(of_groups), "{:?}", list.groups);
    for pair in list.chunks.windows(2) {
        assert!(pair[0].items.len() + pair[1].items.len() > CHUNK / 2, "{:?}", lengths(list));
    }
    spares(list);
}

fn check_around(list: &Sorted<Span>, model: &BTreeMap<u64, Span>, key: u64) {
    let item = |place: Option<Place>| place.map(|place| *list.get(place).unwrap());
    let (below, above) = (list.at_or_below(key), list.at_or_above(key));
    assert_eq!(item(below), model.range(..=key).next_back().map(|(_, &span)| span));
    assert_eq!(item(above), model.range(key..).next().map(|(_, &span)| span));
    if let Some(place) = below {
        let from = item(below).unwrap().from;
        assert_eq!(item(list.prev(place)), model.range(..from).next_back().map(|(_, &span)| span));
        assert_eq!(item(list.next(place)), model.range(from + 1..).next().map(|(_, &span)| span));
    }
    assert!(list.from(key).eq(model.range(key..).map(|(_, span)| span)));
}

/// The highest place for `least`: between which two.
fn gap_down(list: &Sorted<Span>, least: u64) -> (Option<(u64, u64)>, usize) {
    let mut looks = 0;
    let found = list.pairs_down(u64::MAX, least, |lower, upper| {
        looks += 1;
        let (lower, upper) = (lower?, upper?);
        (upper.from - lower.to >= least).then_some((lower.from, upper.from))
    });
    (found, looks)
}

#[test]
fn u1_t11_whatever_is_done_a_sorted_list_says_what_a_plain_one_says() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let (mut list, mut model) = (Sorted::new(), BTreeMap::new());
    for step in 0..12_000 {
        let key = draw(2000) * 4;
        // Filled, emptied, and so on.
        let fills = step / 3000 % 2 == 0;
        if draw(4) == 0 || model.contains_key(&key) != fills {
            let span = Span { from: key, to: key + 1 + draw(3) };
            match (list.at_or_below(key), model.contains_key(&key)) {
                (Some(place), true) => list.replace(place, span),
                _ => list.insert(span).unwrap(),
            }
            model.insert(key, span);
        } else if let Some(span) = model.remove(&key) {
            assert_eq!(list.remove(list.at_or_below(key).unwrap()), span);
        }
        if step % 16 == 0 {
            check(&list, &model);
            check_around(&list, &model, draw(8100));
            let least = draw(60);
            let all: Vec<_> = model.values().collect();
            let mut pairs = all.windows(2).rev();
            let wide = pairs.find(|pair| pair[1].from - pair[0].to >= least);
            assert_eq!(gap_down(&list, least).0, wide.map(|pair| (pair[0].from, pair[1].from)));
        }
    }
    let copy = list.try_clone().unwrap();
    check(&copy, &model);
    let taken = list.take();
    check(&taken, &model);
    check(&list, &BTreeMap::new());
    assert!(list.at_or_above(0).is_none() && list.at_or_below(9).is_none());
}

#[test]
fn u1_a_full_chunk_is_left_behind_at_the_end_and_halved_elsewhere() {
    const FULL: u64 = CHUNK as u64;
    let mut at_the_end = list((0..3 * FULL).map(|n| 2 * n));
    assert_eq!(lengths(&at_the_end), [CHUNK; 3]);
    at_the_end.insert(Span { from: 1, to: 2 }).unwrap();
    assert_eq!(lengths(&at_the_end), [CHUNK / 2 + 1, CHUNK / 2, CHUNK, CHUNK]);
    let mut upper = list((0..FULL).map(|n| 2 * n));
    upper.insert(Span { from: 2 * FULL - 3, to: 2 * FULL - 2 }).unwrap();
    assert_eq!(lengths(&upper), [CHUNK / 2, CHUNK / 2 + 1]);
    // Right below the upper half: the lower one's.
    let mut between = list((0..FULL).map(|n| 2 * n));
    between.insert(Span { from: FULL - 1, to: FULL }).unwrap();
    assert_eq!(lengths(&between), [CHUNK / 2 + 1, CHUNK / 2]);
}

#[test]
fn u1_chunks_that_fill_half_of_one_together_become_one() {
    let mut list = list((0..4 * CHUNK as u64).map(|n| 2 * n));
    let mut remove = |key| {
        let place = list.at_or_below(key).unwrap();
        list.remove(place);
        lengths(&list)
    };
    let mut left = Vec::new();
    // The first two: 16 each are joined, 17 and 16 are not.
    for n in 0..48 {
        remove(2 * n);
        left = remove(2 * (64 + n));
    }
    assert_eq!(left, [32, 64, 64], "joined with the one behind it");
    for n in 0..48 {
        remove(2 * (128 + n));
    }
    for n in 0..16 {
        left = remove(2 * (48 + n));
    }
    assert_eq!(left, [32, 64], "joined with what is behind the one that was small before");
    for n in 0..32 {
        left = remove(2 * (192 + n));
    }
    assert_eq!(left, [32, 32]);
    for n in 32..63 {
        remove(2 * (192 + n));
    }
    left = remove(2 * 112);
    assert_eq!(left, [32], "joined with the one before it");
    for n in (113..128).chain(176..192) {
        left = remove(2 * n);
    }
    assert_eq!(left, [1]);
    assert!(remove(2 * 255).is_empty());
    assert_eq!(spares(&list), SPARES, "what became free is kept for promised insertions");
}

#[test]
fn u1_what_is_reserved_is_there_and_no_more() {
    let mut list = Sorted::<Span>::new();
    let span = |from| Span { from, to: from + 1 };
    list.reserve(&[1, 2]).unwrap();
    assert_eq!(spares(&list), 2, "each may be the first of a chunk");
    assert!(list.chunks.capacity() >= 2);
    list.reserve(&[1, 2]).unwrap();
    assert_eq!(spares(&list), 2, "promised already");
    list.insert(span(0)).unwrap();
    assert_eq!((spares(&list), list.len()), (1, 1), "a promised chunk is used");
    for from in 1..CHUNK as u64 - 2 {
        list.insert(span(2 * from)).unwrap();
    }
    list.spare = [const { None }; SPARES];
    assert_eq!(lengths(&list), [CHUNK - 2]);
    list.reserve(&[1, 3]).unwrap();
    assert_eq!(spares(&list), 0, "there is room for two");
    list.reserve(&[1, 3, 5]).unwrap();
    assert_eq!(spares(&list), 3, "and not for three");
    let capacity = list.chunks.capacity();
    assert!(capacity >= list.chunks.len() + 3);
}

#[test]
fn u1_items_without_gaps_have_none() {
    #[derive(Debug, Clone, Copy)]
    struct Number(u64);
    impl Item for Number {
        fn key(&self) -> u64 {
            self.0
        }
    }
    let mut list = Sorted::new();
    for number in [1, 5] {
        list.insert(Number(number)).unwrap();
    }
    let mut seen = Vec::new();
    list.pairs_down(u64::MAX, 1, |lower, upper| -> Option<()> {
        seen.push((lower.map(|n| n.0), upper.map(|n| n.0)));
        None
    });
    assert_eq!(seen, [(Some(5), None), (None, Some(1))]);
}

#[test]
fn u1_a_gap_is_looked_for_only_where_it_can_be() {
    // Four chunks: the gaps in the second one are 9 wide, all others 1, the ones between chunks
    // too.
    let chunk = CHUNK as u64;
    let keys = (0..4 * chunk).map(|n| match n / chunk {
        0 => 2 * n,
        1 => 2 * chunk + 10 * (n - chunk),
        _ => 2 * chunk + 10 * (chunk - 1) + 2 * (n - 2 * chunk + 1),
    });
    let list = list(keys);
    assert_eq!(lengths(&list), [CHUNK; 4]);
    let last_of_second = 2 * chunk + 10 * (chunk - 1);
    assert_eq!(gap_down(&list, 9), (Some((last_of_second - 10, last_of_second)), 2));
    assert_eq!(gap_down(&list, 10), (None, 2), "above all, and below all");
    assert_eq!(
        gap_down(&list, 1).0,
        Some((last_of_second + 4 * chunk - 2, last_of_second + 4 * chunk))
    );
    let nothing = Sorted::<Span>::new();
    assert_eq!(
        nothing.pairs_down(u64::MAX, 1, |lower, upper| Some((lower.copied(), upper.copied()))),
        Some((None, None))
    );
}
/// A search from a key down does not look above it, and what it looks at does not become more with
/// the items.
#[test]
fn u1_a_gap_is_found_without_a_look_at_all_items() {
    let steps_of = |items: u64| {
        // Neighbours a step apart, but for one gap behind the first item.
        let list = list((0..items).map(|n| if n == 0 { 0 } else { 2 * n + 100 }));
        STEPS.set(0);
        assert_eq!(gap_down(&list, 50).0, Some((0, 102)));
        STEPS.get()
    };
    let few = steps_of(2 * CHUNK as u64);
    let many = steps_of(1000 * CHUNK as u64);
    assert!(few <= 2 * CHUNK + 4, "{few}");
    assert!(many <= few + 1000 / GROUP + 2 * GROUP, "{many}, with few items {few}");

    let list = list([0, 100, 200, 300, 400]);
    let below = |key| {
        let mut seen = Vec::new();
        list.pairs_down(key, 1, |lower, upper| -> Option<()> {
            seen.push((lower.map(|span| span.from), upper.map(|span| span.from)));
            None
        });
        seen
    };
    let all = [(Some(100), Some(200)), (Some(0), Some(100)), (None, Some(0))];
    assert_eq!(below(200), all, "at an item");
    assert_eq!(below(150), all, "between two");
    assert_eq!(below(0), [(None, Some(0))], "below the first");
    assert_eq!(below(1000)[0], (Some(400), None), "above the last");
}
