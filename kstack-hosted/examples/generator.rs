//! A recursive walk as a generator: the body yields from any depth.
//!
//! `cargo run -p kstack-hosted --example generator`

use kstack_hosted::{Coroutine, Yielder};
use std::error::Error;

/// A binary tree of numbers.
struct Tree {
    value: u32,
    branches: [Option<Box<Tree>>; 2],
}

impl Tree {
    /// The balanced tree of the numbers in a range that is not empty.
    fn of(lowest: u32, top: u32) -> Self {
        let value = lowest + (top - lowest) / 2;
        let part = |from, to| (from < to).then(|| Box::new(Self::of(from, to)));
        Self { value, branches: [part(lowest, value), part(value + 1, top)] }
    }

    /// Yields all values in their order.
    fn walk(&self, yielder: &Yielder<(), u32>) {
        let [left, right] = &self.branches;
        left.iter().for_each(|tree| tree.walk(yielder));
        yielder.suspend(self.value);
        right.iter().for_each(|tree| tree.walk(yielder));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let tree = Tree::of(1, 21);
    let mut values = Coroutine::new(move |yielder, ()| tree.walk(yielder))?;
    let mut seen = Vec::new();
    while let Some(value) = values.resume(())?.yielded() {
        seen.push(value);
    }
    println!("{seen:?}");
    assert_eq!(seen, (1..21).collect::<Vec<_>>());
    Ok(())
}
