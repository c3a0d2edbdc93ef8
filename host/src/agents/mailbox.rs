//! The mailbox of an agent: its commands, and messages of subscriptions that deliver to every agent
//! of the plugin.
//!
//! A message for many agents is stored once and shared. The limit is in bytes, not in messages: a
//! run charges a byte budget and releases it when the last agent has taken it. Without the limit an
//! agent that stops taking messages would fill the host's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use mistersmith_core::byte_budget::ByteCharge;

use super::posted::Posted;
use crate::delivery::Delivery;

/// The bytes that a message is charged for each mailbox it is in.
pub const PLACE: usize = 16;

/// The sending end of a mailbox. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailbox {
    sender: mpsc::UnboundedSender<Mail>,
    /// Bytes of the runs that wait in this mailbox.
    waiting: Arc<AtomicUsize>,
}

/// The receiving end, owned by the agent.
#[derive(Debug)]
pub(super) struct Inbox {
    receiver: mpsc::UnboundedReceiver<Mail>,
    waiting: Arc<AtomicUsize>,
    /// The rest of a run whose first messages were taken.
    begun: Begun,
}

/// Boxed: a queue reserves room for its elements, and every agent has a queue.
#[derive(Debug)]
enum Mail {
    One(Box<Delivery>),
    Run(Arc<Run>),
}

/// A run: messages that arrived together. It charges the budget until the last agent has taken its
/// last message.
#[derive(Debug)]
pub struct Run {
    first: Posted,
    rest: Vec<Posted>,
    /// Whether the messages form one batch.
    together: bool,
    bytes: usize,
    charge: ByteCharge,
}

#[derive(Debug, Default)]
enum Begun {
    #[default]
    Nothing,
    /// No other agent shares the run.
    Own {
        rest: std::vec::IntoIter<Posted>,
        _charge: ByteCharge,
    },
    /// Other agents share the run.
    Shared { run: Arc<Run>, next: usize },
}

/// Creates both ends of a mailbox.
pub(super) fn mailbox() -> (Mailbox, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::<AtomicUsize>::default();
    let mailbox = Mailbox {
        sender,
        waiting: waiting.clone(),
    };
    let inbox = Inbox {
        receiver,
        waiting,
        begun: Begun::Nothing,
    };
    (mailbox, inbox)
}

impl Run {
    /// A run of messages in the order of handling, with its charge on the budget; none without
    /// messages. `together`: all in one call.
    pub fn new(
        messages: impl IntoIterator<Item = Posted>,
        together: bool,
        charge: ByteCharge,
    ) -> Option<Self> {
        let mut messages = messages.into_iter();
        let first = messages.next()?;
        let rest: Vec<Posted> = messages.collect();
        let each = rest.iter().map(Posted::waiting_bytes);
        Some(Self {
            bytes: each.fold(first.waiting_bytes(), usize::saturating_add),
            first,
            rest,
            together,
            charge,
        })
    }

    /// All messages of the run.
    pub fn messages(&self) -> impl Iterator<Item = &Posted> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The whole run as one batch.
    fn batch(self: Arc<Self>) -> Option<Delivery> {
        match Arc::try_unwrap(self) {
            Ok(Self { first, rest, .. }) => Posted::batch(std::iter::once(first).chain(rest)),
            Err(run) => Posted::batch(run.messages().cloned()),
        }
    }
}

impl Mailbox {
    /// Adds a delivery for this agent alone; false when the agent has ended. The caller has checked
    /// that there is room.
    pub fn send(&self, delivery: Delivery) -> bool {
        self.sender.send(Mail::One(Box::new(delivery))).is_ok()
    }

    /// Adds a run that other agents may share.
    pub fn post(&self, run: Arc<Run>) -> bool {
        self.waiting.fetch_add(run.bytes, Ordering::AcqRel);
        self.sender.send(Mail::Run(run)).is_ok()
    }

    /// Whether the agent is alive and at most `most` bytes wait in its mailbox.
    pub fn has_room(&self, most: usize) -> bool {
        self.waiting.load(Ordering::Acquire) <= most && !self.sender.is_closed()
    }
}

impl Inbox {
    /// Waits for the next message; none when all senders are gone. Cancel safe.
    pub(super) async fn recv(&mut self) -> Option<Delivery> {
        loop {
            if let Some(delivery) = self.go_on() {
                return Some(delivery);
            }
            let mail = self.receiver.recv().await?;
            if let Some(delivery) = self.open(mail) {
                return Some(delivery);
            }
        }
    }

    /// Takes a ready message, if there is one.
    pub(super) fn try_recv(&mut self) -> Option<Delivery> {
        loop {
            if let Some(delivery) = self.go_on() {
                return Some(delivery);
            }
            let mail = self.receiver.try_recv().ok()?;
            if let Some(delivery) = self.open(mail) {
                return Some(delivery);
            }
        }
    }

    /// The next message of the run that was begun.
    fn go_on(&mut self) -> Option<Delivery> {
        let (posted, left) = match &mut self.begun {
            Begun::Nothing => return None,
            Begun::Own { rest, .. } => (rest.next(), rest.len()),
            Begun::Shared { run, next } => {
                let posted = run.rest.get(*next).cloned();
                *next += 1;
                (posted, run.rest.len().saturating_sub(*next))
            }
        };
        if left == 0 {
            self.begun = Begun::Nothing;
        }
        posted.map(Posted::delivery)
    }

    fn open(&mut self, mail: Mail) -> Option<Delivery> {
        let run = match mail {
            Mail::One(delivery) => return Some(*delivery),
            Mail::Run(run) => run,
        };
        self.waiting.fetch_sub(run.bytes, Ordering::AcqRel);
        if run.together {
            return run.batch();
        }
        let first = match Arc::try_unwrap(run) {
            Ok(run) => {
                if !run.rest.is_empty() {
                    self.begun = Begun::Own {
                        rest: run.rest.into_iter(),
                        _charge: run.charge,
                    };
                }
                run.first
            }
            Err(run) => {
                let first = run.first.clone();
                if !run.rest.is_empty() {
                    self.begun = Begun::Shared { run, next: 0 };
                }
                first
            }
        };
        Some(first.delivery())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mistersmith_core::byte_budget::ByteBudget;

    fn run(budget: &ByteBudget, sizes: &[usize], together: bool) -> Arc<Run> {
        let charge = budget.take(sizes.iter().sum()).unwrap();
        let posted = sizes.iter().map(|size| Posted::of(*size));
        Arc::new(Run::new(posted, together, charge).unwrap())
    }

    fn size(delivery: Option<Delivery>) -> Option<usize> {
        delivery.map(|delivery| delivery.call.bytes())
    }

    #[test]
    fn a_run_is_taken_one_by_one_and_gives_its_room_back_with_the_last() {
        let budget = ByteBudget::new(100);
        let (mailbox, mut inbox) = mailbox();
        assert!(mailbox.post(run(&budget, &[1, 2, 3], false)));
        assert!(mailbox.post(run(&budget, &[4], false)));
        assert!(mailbox.send(Posted::of(5).delivery()));
        for expected in 1..=3 {
            assert_eq!(budget.used(), 10);
            assert_eq!(size(inbox.try_recv()), Some(expected));
        }
        assert_eq!(budget.used(), 4);
        assert_eq!(size(inbox.try_recv()), Some(4));
        assert_eq!(budget.used(), 0);
        assert_eq!(size(inbox.try_recv()), Some(5));
        assert_eq!(size(inbox.try_recv()), None);
    }

    #[test]
    fn what_several_agents_get_is_held_until_the_last_of_them_has_it() {
        let budget = ByteBudget::new(100);
        let (first, mut first_inbox) = mailbox();
        let (second, mut second_inbox) = mailbox();
        let shared = run(&budget, &[1, 2], false);
        first.post(shared.clone());
        second.post(shared);
        assert_eq!(size(first_inbox.try_recv()), Some(1));
        assert_eq!(size(second_inbox.try_recv()), Some(1));
        assert_eq!(size(first_inbox.try_recv()), Some(2));
        assert_eq!(size(first_inbox.try_recv()), None);
        assert_eq!(budget.used(), 3);
        assert_eq!(size(second_inbox.try_recv()), Some(2));
        assert_eq!(budget.used(), 0);
        // A dropped inbox releases its share of the charge.
        first.post(run(&budget, &[7], false));
        drop(first_inbox);
        assert_eq!(budget.used(), 0);
        assert!(!first.has_room(usize::MAX));
        assert!(!first.post(run(&budget, &[7], false)));
    }

    #[tokio::test]
    async fn a_batch_is_one_call_for_each_agent() {
        let budget = ByteBudget::new(100);
        let (first, mut first_inbox) = mailbox();
        let (second, mut second_inbox) = mailbox();
        let shared = run(&budget, &[1, 2, 3], true);
        first.post(shared.clone());
        second.post(shared);
        for inbox in [&mut first_inbox, &mut second_inbox] {
            let batch = inbox.recv().await.unwrap();
            let sizes: Vec<usize> = batch.each().map(|one| one.call.bytes()).collect();
            assert_eq!(sizes, [1, 2, 3]);
        }
        assert_eq!(budget.used(), 0);
        drop((first, second));
        assert!(first_inbox.recv().await.is_none());
    }

    #[test]
    fn a_mailbox_knows_how_much_waits_in_it() {
        let budget = ByteBudget::new(10_000);
        let (mailbox, mut inbox) = mailbox();
        let bytes = Posted::of(8).waiting_bytes();
        mailbox.post(run(&budget, &[8, 8], false));
        assert!(mailbox.has_room(2 * bytes) && !mailbox.has_room(2 * bytes - 1));
        inbox.try_recv().unwrap();
        assert!(
            mailbox.has_room(0),
            "what was begun is in the agent's hands"
        );
    }

    #[test]
    fn an_agent_that_has_nothing_holds_little() {
        assert!(size_of::<Mail>() <= PLACE);
        assert!(size_of::<Inbox>() <= 80);
    }
}
