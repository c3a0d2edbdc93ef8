//! What a held message carries along of its attempts.

use std::sync::Arc;

use super::Attempts;
use super::record::{Attempt, Record};
use super::register::Register;

/// What is known of the attempts at a held message.
#[derive(Debug, Default)]
pub struct Tries {
    /// The attempts before this delivery.
    pub(super) record: Record,
    /// The revision of its record; 0 where there is none.
    pub(super) revision: u64,
    /// The attempt of this delivery.
    pub(super) current: Option<Current>,
}

/// The attempt of a delivery, as the register has it.
#[derive(Debug)]
pub(super) struct Current {
    attempts: Attempts,
    register: Arc<Register>,
    number: u64,
    stage: Stage,
}

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has not begun. Dropped now, it never did.
    Due,
    /// It has begun. Dropped now, it was cut off.
    Running,
    /// It has ended.
    Ended,
}

impl Tries {
    /// What was read of the attempts before this delivery.
    pub(super) fn before(record: Record, revision: u64) -> Self {
        Self {
            record,
            revision,
            current: None,
        }
    }

    /// How often the item was begun, a running attempt included.
    pub fn begun(&self) -> u32 {
        let running = u32::from(self.current.is_some());
        self.record.begun.saturating_add(running)
    }

    /// The attempts that have ended, or were left, oldest first: the newest of them.
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

    /// The attempt has ended, and its item is done with or recorded. Returns whether there may be a
    /// record.
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

    /// It begins.
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
            // Outside a runtime the process ends, and the register says what was open.
            Stage::Running => {
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    let (attempts, register) = (attempts.clone(), register.clone());
                    runtime.spawn(async move { attempts.cut_off(&register, number).await });
                }
            }
        }
    }
}
