//! What a thread may call: its mode, and its filters. How they are asked is in `seccomp`.

use super::asked_dispatch::Counted;
use super::filter::Program;
use super::listener::Listener;
use alloc::sync::Arc;

/// A filter, and those that were there before it.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(in crate::process) program: Program,
    pub(in crate::process) before: Option<Arc<Self>>,
    /// Who is told of calls that it leaves to another program.
    pub(super) listener: Option<Arc<Listener>>,
    /// What it does not allow was to be logged.
    pub(super) is_logged: bool,
}

impl Drop for Filter {
    fn drop(&mut self) {
        // One after the other: a chain may be thousands long.
        let mut next = self.before.take();
        while let Some(mut filter) = next.and_then(Arc::into_inner) {
            next = filter.before.take();
        }
        if let Some(listener) = &self.listener {
            listener.leave();
        }
    }
}

/// What a thread may call.
#[derive(Debug, Default)]
pub(crate) enum Mode {
    /// All.
    #[default]
    All,
    /// read, write, exit, sigreturn.
    Strict(Counted),
    /// What these let through.
    Filtered(Arc<Filter>, Counted),
}

impl Mode {
    /// By Linux's numbers.
    pub(crate) const fn number(&self) -> u64 {
        match self {
            Self::All => 0,
            Self::Strict(_) => 1,
            Self::Filtered(..) => 2,
        }
    }

    pub(in crate::process) fn filter(&self) -> Option<&Arc<Filter>> {
        match self {
            Self::Filtered(filter, _) => Some(filter),
            _ => None,
        }
    }

    /// How many filters there are.
    pub(crate) fn filters(&self) -> usize {
        filters(self.filter()).count()
    }

    /// The same for a child.
    pub(in crate::process) fn copy(&self) -> Self {
        match self {
            Self::All => Self::All,
            Self::Strict(_) => Self::Strict(Counted::new()),
            Self::Filtered(filter, _) => Self::Filtered(filter.clone(), Counted::new()),
        }
    }
}

/// The newest first.
pub(in crate::process) fn filters(newest: Option<&Arc<Filter>>) -> impl Iterator<Item = &Filter> {
    core::iter::successors(newest.map(|newest| &**newest), |filter| filter.before.as_deref())
}
