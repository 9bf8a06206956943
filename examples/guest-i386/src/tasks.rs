//! Round robin over eight places and the CPU's own thread, which runs when its turn comes, too.

use crate::cell::OneCpu;
use crate::stacks::{self, Task};

const PLACES: usize = 8;

struct Tasks {
    idle: Option<&'static Task>,
    places: [Option<Task>; PLACES],
    ended: [bool; PLACES],
    /// The place of the running task; `PLACES`: the CPU's own thread.
    running: usize,
}

static TASKS: OneCpu<Tasks> = OneCpu::new(Tasks {
    idle: None,
    places: [const { None }; PLACES],
    ended: [false; PLACES],
    running: PLACES,
});

impl Tasks {
    fn at(&self, place: usize) -> Option<*const Task> {
        let task = if place == PLACES { self.idle } else { self.places[place].as_ref() };
        task.map(core::ptr::from_ref)
    }

    /// The task that runs, and the next one that has not ended.
    fn next(&mut self) -> Option<(*const Task, *const Task)> {
        let from = self.at(self.running)?;
        let mut others = (1..=PLACES).map(|step| (self.running + step) % (PLACES + 1));
        let may_run = |&place: &usize| place == PLACES || !self.ended[place];
        let next = others.find(|place| self.at(*place).is_some() && may_run(place))?;
        let to = self.at(next)?;
        self.running = next;
        Some((from, to))
    }
}

/// Takes the CPU's own thread.
pub fn begin(idle: &'static Task) {
    TASKS.with(|tasks| tasks.idle = Some(idle));
}

/// Puts a task into a free place. Interrupts are off.
pub fn add(task: Task) {
    TASKS.with(|tasks| {
        let place = tasks.places.iter().position(Option::is_none).expect("a free place");
        tasks.places[place] = Some(task);
        tasks.ended[place] = false;
    });
}

/// Gives the CPU to the next task. Interrupts are off.
pub fn give_way() {
    if let Some((from, to)) = TASKS.with(Tasks::next) {
        // SAFETY: a place is emptied by the CPU's own thread, when its task has ended and left.
        unsafe { stacks::switch(&*from, &*to) };
    }
}

/// Ends the running task. Interrupts are off.
pub fn end() -> ! {
    TASKS.with(|tasks| tasks.ended[tasks.running] = true);
    give_way();
    unreachable!("an ended task runs")
}

/// Empties the places of ended tasks, by the CPU's own thread. Returns whether any is left.
/// Interrupts are off.
pub fn clear() -> bool {
    TASKS.with(|tasks| {
        for (place, ended) in tasks.places.iter_mut().zip(&tasks.ended) {
            if *ended {
                *place = None;
            }
        }
        tasks.places.iter().any(Option::is_some)
    })
}
