//! When the writer may try: a simulated disk lets it go one try at a time, so that no race of threads decides anything.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    Done,
    /// The disk said no, and is asked again.
    Again,
    /// The writer ends.
    GaveUp,
}

/// Told of every job of a writer and of every try. Real storage has none.
pub trait Pace: Send + Sync {
    /// The writer is given a job.
    fn given(&self);
    /// The writer wants to try it. Comes back when it may.
    fn begin(&self);
    /// It has tried, and everybody was told.
    fn tried(&self, tried: Tried);
    /// The writer is dropped: it is held up no more.
    fn ending(&self);
    /// Its thread is gone.
    fn ended(&self);
}

/// Longer than any try takes. Nothing waits for it unless the writer is broken.
const STUCK: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct State {
    jobs: usize,
    allowed: usize,
    tries: u64,
    open: bool,
    gave_up: bool,
}

/// Holds every try up until it is let go.
#[derive(Debug, Default)]
pub struct OneByOne {
    state: Mutex<State>,
    changed: Condvar,
}

impl OneByOne {
    /// Jobs that are not done. Only the thread that gives them makes them more.
    pub fn jobs(&self) -> usize {
        self.state.lock().expect("nobody panics with it").jobs
    }

    /// Lets the writer try once, and waits until it has. There must be a job.
    pub fn let_one_go(&self) {
        let mut state = self.state.lock().expect("nobody panics with it");
        assert!(state.jobs > 0, "the writer has a job");
        state.allowed += 1;
        let before = state.tries;
        self.changed.notify_all();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, STUCK, |state| state.tries == before)
            .expect("nobody panics with it");
        assert!(state.tries > before, "the writer tries when it may");
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("nobody panics with it"));
        self.changed.notify_all();
    }
}

impl Pace for OneByOne {
    fn given(&self) {
        self.change(|state| state.jobs += usize::from(!state.gave_up));
    }

    fn begin(&self) {
        let state = self.state.lock().expect("nobody panics with it");
        let mut state = self
            .changed
            .wait_while(state, |state| !state.open && state.allowed == 0)
            .expect("nobody panics with it");
        state.allowed = state.allowed.saturating_sub(1);
    }

    fn tried(&self, tried: Tried) {
        self.change(|state| {
            state.tries += 1;
            match tried {
                Tried::Done => state.jobs -= 1,
                Tried::Again => {}
                Tried::GaveUp => (state.jobs, state.gave_up) = (0, true),
            }
        });
    }

    fn ending(&self) {
        self.change(|state| state.open = true);
    }

    fn ended(&self) {
        self.change(|state| {
            *state = State {
                tries: state.tries,
                ..State::default()
            };
        });
    }
}
