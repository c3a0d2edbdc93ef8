//! The attempt state of a held message: earlier attempts from its record, and the running one.
//!
//! Dropping it in the middle of an attempt records the attempt as cut off. Otherwise an item whose
//! agent is aborted each time would never use up its attempts.

use std::sync::Arc;

use super::Attempts;
use super::record::{Attempt, Record};
use super::register::Register;

/// The known attempts of a held message.
#[derive(Debug, Default)]
pub struct Tries {
    /// The attempts before this delivery.
    pub(super) record: Record,
    /// The revision of its record; 0 without a record.
    pub(super) revision: u64,
    /// The attempt of this delivery.
    pub(super) current: Option<Current>,
}

/// The attempt of this delivery, with its place in the register.
#[derive(Debug)]
pub(super) struct Current {
    attempts: Attempts,
    register: Arc<Register>,
    number: u64,
    stage: Stage,
}

/// The stage of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not begun. Dropping it withdraws it.
    Due,
    /// Begun. Dropping it records it as cut off.
    Running,
    /// Ended.
    Ended,
}

impl Tries {
    /// The attempts read before this delivery.
    pub(super) fn before(record: Record, revision: u64) -> Self {
        Self {
            record,
            revision,
            current: None,
        }
    }

    /// How often the item began, including a running attempt.
    pub fn begun(&self) -> u32 {
        let running = u32::from(self.current.is_some());
        self.record.begun.saturating_add(running)
    }

    /// The newest attempts that have ended or were abandoned, oldest first.
    pub fn listed(&self) -> &[Attempt] {
        &self.record.attempts
    }

    /// The running attempt.
    pub fn running(&self) -> Option<Attempt> {
        let current = self.current.as_ref()?;
        current
            .register
            .of(current.number)
            .map(|(_, attempt)| attempt)
    }

    /// Ends the running attempt, whose item is done or recorded. Returns whether a record may
    /// exist.
    pub(super) fn end(&mut self) -> bool {
        let recorded = self.current.take().is_some_and(Current::end);
        recorded || self.revision > 0
    }
}

impl Current {
    /// An attempt that is about to begin.
    pub(super) fn due(attempts: &Attempts, register: &Arc<Register>, number: u64) -> Self {
        Self {
            attempts: attempts.clone(),
            register: register.clone(),
            number,
            stage: Stage::Due,
        }
    }

    /// Marks the attempt as begun.
    pub(super) fn begin(&mut self) {
        self.stage = Stage::Running;
    }

    fn end(mut self) -> bool {
        self.stage = Stage::Ended;
        self.register.end(self.number)
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let (attempts, register, number) = (&self.attempts, &self.register, self.number);
        match self.stage {
            Stage::Ended => {}
            Stage::Due => {
                register.withdraw(number);
                attempts.0.queue.push(register.clone());
            }
            // Without a runtime the process is ending, and the register still has the open attempt.
            Stage::Running => {
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    let (attempts, register) = (attempts.clone(), register.clone());
                    runtime.spawn(async move { attempts.cut_off(&register, number).await });
                }
            }
        }
    }
}
