//! How deep calls go from a function: the deepest way through all that it can call.
//!
//! Calls of the code's own places are read from it. Calls through pointers lead where
//! [`super::listed`] says. For text that is [`Text`]: `core::fmt::write` is handed pointers to
//! the functions that make text of each value, and the caller that named them is still there, so
//! that they are those that the innermost caller names which names any. What it was handed
//! itself counts where it names none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};

use super::image::{Image, is_direct};
use super::listed::{self, Through};
use super::step::Next;
use crate::rules::frames::Move;

/// What pointers to functions of `core::fmt` may be in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Text {
    /// Functions that make text of a value.
    formatters: BTreeSet<usize>,
    /// What text goes to, by what it is: how many there may be one in the other, and the methods.
    /// A writer that changes text on its way hands it on to another one.
    writers: BTreeMap<String, (u32, BTreeSet<usize>)>,
}

/// A call, so far down the caller's frame.
#[derive(Clone, Copy, Debug)]
struct Site {
    depth: u64,
    to: Target,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Function(usize),
    /// Through a pointer; or, most likely, to a place of the same function.
    Through {
        surely: bool,
    },
}

/// What is known of one function: its own frame, and its calls.
struct Shape {
    frame: u64,
    sites: Vec<Site>,
    formatters: BTreeSet<usize>,
    writers: BTreeMap<String, BTreeSet<usize>>,
}

/// How deep it goes from a function, its own frame included.
#[derive(Clone, Debug)]
struct Deepest {
    bytes: u64,
    /// The next function on the deepest way, and how far down its frame begins.
    next: Option<(u64, usize, Rc<Text>)>,
}

/// A way: functions, and how far down each one's frame begins.
pub(super) type Way = Vec<(u64, usize)>;

/// A function that formats may be below itself: a stack's name is made of its kind's. More often
/// than so it is taken for one without a bound.
const MAX_NESTED: usize = 8;

/// The analysis of one image.
pub(super) struct Graph<'i> {
    image: &'i Image,
    shapes: HashMap<usize, Rc<Shape>>,
    known: HashMap<(usize, Rc<Text>), Deepest>,
    /// The way to where the search is.
    under_way: Vec<usize>,
    open: BTreeSet<(usize, Rc<Text>)>,
    /// What cannot be known or has no bound, in sentences.
    problems: BTreeSet<String>,
}

impl<'i> Graph<'i> {
    pub(super) fn new(image: &'i Image) -> Self {
        Self {
            image,
            shapes: HashMap::new(),
            known: HashMap::new(),
            under_way: Vec::new(),
            open: BTreeSet::new(),
            problems: BTreeSet::new(),
        }
    }

    fn name(&self, function: usize) -> &str {
        &self.image.functions[function].name
    }

    /// Bytes that a call itself takes of the stack.
    fn of_call(&self) -> u64 {
        use object::Architecture::{I386, X86_64};
        if matches!(self.image.architecture, X86_64 | I386) { self.image.word } else { 0 }
    }

    /// An error if something was met that cannot be known or has no bound.
    pub(super) fn hold(&self) -> Result<()> {
        let problems: Vec<&str> = self.problems.iter().map(String::as_str).collect();
        ensure!(problems.is_empty(), "{}", problems.join("\n"));
        Ok(())
    }

    /// The deepest way from a function.
    pub(super) fn deepest(&mut self, function: usize) -> Result<(u64, Way)> {
        let text = Rc::new(Text::default());
        let bytes = self.search(function, &text)?;
        let (mut way, mut at) = (vec![(0, function)], 0);
        let mut key = (function, text);
        // One that leads back to itself has no end.
        if !self.problems.is_empty() {
            return Ok((bytes, way));
        }
        while let Some((below, next, text)) =
            self.known.get(&key).and_then(|deepest| deepest.next.clone())
        {
            at += below;
            way.push((at, next));
            key = (next, text);
        }
        Ok((bytes, way))
    }

    /// How far down a function calls another one, at most; `None`: it does not.
    pub(super) fn call_of(&mut self, caller: usize, callee: usize) -> Result<Option<u64>> {
        let shape = self.shape(caller)?;
        let mut deepest = None;
        for site in &shape.sites {
            let leads = match site.to {
                Target::Function(to) => to == callee,
                Target::Through { surely } => {
                    self.targets(caller, surely, &Text::default())?.contains(&callee)
                }
            };
            if leads {
                deepest = deepest.max(Some(site.depth + self.of_call()));
            }
        }
        Ok(deepest)
    }

    fn search(&mut self, function: usize, outer: &Rc<Text>) -> Result<u64> {
        if listed::is_panic(self.name(function)) {
            return Ok(0);
        }
        let shape = self.shape(function)?;
        let key = (function, Rc::clone(outer));
        if let Some(known) = self.known.get(&key) {
            return Ok(known.bytes);
        }
        let times = self.under_way.iter().filter(|&&open| open == function).count();
        if times >= MAX_NESTED || !self.open.insert(key.clone()) {
            let start = self.under_way.iter().position(|&open| open == function).unwrap_or(0);
            let names: Vec<&str> = self.under_way[start..].iter().map(|&f| self.name(f)).collect();
            let problem = format!("calls itself without a bound: {}", names.join(" > "));
            self.problems.insert(problem);
            return Ok(0);
        }
        self.under_way.push(function);
        let mut inner = Text::clone(outer);
        if !shape.formatters.is_empty() {
            inner.formatters.clone_from(&shape.formatters);
        }
        for (writer, methods) in &shape.writers {
            let known = inner.writers.entry(writer.clone()).or_default();
            known.0 += 1;
            known.1.extend(methods);
        }
        let mut deepest = Deepest { bytes: shape.frame, next: None };
        for site in &shape.sites {
            let below = site.depth + self.of_call();
            let targets = match site.to {
                Target::Function(to) => BTreeSet::from([to]),
                Target::Through { surely } => match self.targets(function, surely, &inner) {
                    Ok(targets) => targets,
                    Err(problem) => {
                        self.problems.insert(format!("{problem:#}"));
                        BTreeSet::new()
                    }
                },
            };
            let is_through = matches!(site.to, Target::Through { .. });
            for target in targets {
                if listed::never_comes(self.name(function), self.name(target)) {
                    continue;
                }
                let mut text = inner.clone();
                // What was handed on is used up: its value was there before the pointer to it.
                if is_through {
                    text.formatters.remove(&target);
                    let writer = listed::writer(self.name(target));
                    if let Some((count, _)) = writer.and_then(|name| text.writers.get_mut(name)) {
                        *count -= 1;
                    }
                    text.writers.retain(|_, (count, _)| *count > 0);
                }
                let text = Rc::new(text);
                let bytes = below + self.search(target, &text)?;
                if bytes > deepest.bytes {
                    deepest = Deepest { bytes, next: Some((below, target, text)) };
                }
            }
        }
        self.under_way.pop();
        self.open.remove(&key);
        let bytes = deepest.bytes;
        self.known.insert(key, deepest);
        Ok(bytes)
    }

    /// Where a call through a pointer may lead.
    fn targets(&self, caller: usize, surely: bool, text: &Text) -> Result<BTreeSet<usize>> {
        let name = self.name(caller);
        let way = || {
            let names: Vec<&str> = self.under_way.iter().map(|&f| self.name(f)).collect();
            names.join(" > ")
        };
        let through = listed::through(name);
        if through.is_none() && !surely {
            return Ok(BTreeSet::new());
        }
        let through = through.with_context(|| {
            format!("{name} calls through a pointer that is not listed; on the way {}", way())
        })?;
        let all = || text.writers.values().flat_map(|(_, methods)| methods.iter().copied());
        let writers = || all().filter(|&method| !listed::is_write_fmt(self.name(method)));
        Ok(match through {
            Through::Tests => BTreeSet::new(),
            Through::Writers => writers().collect(),
            Through::AnyOfWriters => all().collect(),
            Through::Formatters => text.formatters.iter().copied().chain(writers()).collect(),
            Through::Hooks => {
                let hooks = &self.image.functions[caller].hooks;
                ensure!(
                    !(surely && hooks.is_empty()),
                    "{name} calls through a pointer that is no hook's; on the way {}",
                    way()
                );
                hooks.iter().map(|&offset| self.hook(offset)).collect::<Result<_>>()?
            }
        })
    }

    fn hook(&self, offset: i64) -> Result<usize> {
        let (table, size) = self.image.static_named(listed::HOOKS)?;
        let offset = u64::try_from(offset).ok();
        let offset = offset.filter(|offset| offset + self.image.word <= size);
        let offset = offset.context("a hook outside of the table")?;
        let hook = self.image.word_at(table + offset).context("the table of hooks has no bytes")?;
        self.image.function_at(hook).with_context(|| format!("the hook at {offset} is no function"))
    }

    /// Follows a function's code: how far down it goes itself, and each of its calls.
    fn shape(&mut self, number: usize) -> Result<Rc<Shape>> {
        if let Some(shape) = self.shapes.get(&number) {
            return Ok(Rc::clone(shape));
        }
        let function = &self.image.functions[number];
        let name = &function.name;
        let steps = &function.steps;
        let place = |at: u64| steps.binary_search_by_key(&at, |step| step.at).ok();
        // How far down SP is before each instruction; `None` there: on another stack.
        let mut depths: Vec<Option<Option<i64>>> = vec![None; steps.len()];
        let mut open: Vec<(usize, Option<i64>)> = vec![(0, Some(0))];
        let (mut frame, mut sites) = (0_i64, Vec::new());
        loop {
            while let Some((number, depth)) = open.pop() {
                if number >= steps.len() || depths[number].is_some_and(|known| known >= depth) {
                    continue;
                }
                let was_known = depths[number].is_some();
                depths[number] = Some(depth);
                let step = steps[number];
                let after = match (depth, step.moves) {
                    (depth, Move::None) => depth,
                    (Some(depth), Move::Down(bytes)) => Some((depth + bytes).max(0)),
                    (None, Move::Down(_)) | (_, Move::Away) => None,
                    (_, Move::Unknown) => bail!("{name} moves SP by an unknown size"),
                };
                frame = frame.max(after.unwrap_or(0));
                if let Some(depth) = after.and_then(|depth| u64::try_from(depth).ok()) {
                    let leaves = |to: &u64| !(function.at..function.end).contains(to);
                    let is_call = matches!(step.next, Next::Call(_));
                    if let Some(to) = is_direct(step.next).filter(|to| is_call || leaves(to)) {
                        let target = self.image.function_at(to).with_context(|| {
                            format!("{name} goes to {to:#x}, where no function begins")
                        })?;
                        sites.push(Site { depth, to: Target::Function(target) });
                    }
                    if let Next::CallBy | Next::CallAt(_) | Next::JumpBy | Next::Table = step.next {
                        let surely = step.next != Next::Table;
                        sites.push(Site { depth, to: Target::Through { surely } });
                    }
                }
                // Once is enough for a loop that goes down a page each time: what it comes to is
                // in its bound.
                if was_known {
                    continue;
                }
                match step.next {
                    Next::Falls | Next::Call(_) | Next::CallBy | Next::CallAt(_) => {
                        open.push((number + 1, after))
                    }
                    Next::Jump(to) => open.extend(place(to).map(|to| (to, after))),
                    Next::Branch(to) => {
                        open.push((number + 1, after));
                        open.extend(place(to).map(|to| (to, after)));
                    }
                    Next::JumpBy | Next::Table | Next::Ends => {}
                }
            }
            // What a table leads to: as deep as it gets.
            let Some(left) = depths.iter().position(Option::is_none) else { break };
            open.push((left, Some(frame)));
        }
        let taken = self.image.taken(number);
        let mut writers: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for &method in &taken {
            if let Some(writer) = listed::writer(self.name(method)) {
                writers.entry(writer.to_owned()).or_default().insert(method);
            }
        }
        let shape = Rc::new(Shape {
            frame: u64::try_from(frame).unwrap_or(0),
            sites,
            formatters: taken
                .iter()
                .copied()
                .filter(|&f| listed::is_formatter(self.name(f)))
                .collect(),
            writers,
        });
        ensure!(!steps.is_empty(), "{name} has no code");
        self.shapes.insert(number, Rc::clone(&shape));
        Ok(shape)
    }
}
