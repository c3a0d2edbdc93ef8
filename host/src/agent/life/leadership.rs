//! What an instance is told of its leadership: each change once, and never what is over already.

use std::sync::Arc;
use std::time::Instant;

use crate::patterns::cell::AgentCell;
use crate::patterns::election::Office;
use crate::runtime::Notice;

use super::Life;

/// An agent that ends in whatever way leads no longer.
pub(super) struct Vacating(pub(super) Arc<AgentCell>);

impl Drop for Vacating {
    fn drop(&mut self) {
        self.0.set_takes(false);
    }
}

impl Life {
    /// Tells the instance what changed since it was told last.
    pub(super) async fn tell_of_leadership(&mut self) {
        if self.instance.is_none() {
            return;
        }
        let leads = self.port.cell.seat.office(Instant::now());
        if let Some(ended) = self.office.take() {
            self.notify(notice(&ended, false)).await;
        }
        // An instance that this has killed does not lead.
        if let Some(begun) = leads.filter(|_| self.instance.is_some()) {
            self.notify(notice(&begun, true)).await;
            self.office = Some(begun);
        }
    }

    /// Whether there is nothing to tell the instance of its leadership.
    pub(super) fn knows_its_office(&self) -> bool {
        if self.version.spec.election.is_none() && self.office.is_none() {
            return true;
        }
        let leads = self.port.cell.seat.office(Instant::now());
        leads.map(|office| office.term) == self.office.as_ref().map(|office| office.term)
    }

    /// What is over for this instance, before another one begins: neither it nor the next leads.
    pub(super) fn resign(&mut self) {
        self.port.cell.set_takes(false);
        self.office = None;
    }
}

fn notice(office: &Office, leading: bool) -> Notice {
    Notice::Leadership {
        domain: office.domain.to_string(),
        leading,
        term: office.term,
    }
}
