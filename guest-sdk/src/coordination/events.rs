//! Events of workflows, `coord.<workflow>.<event>`.

use std::time::Duration;

use serde::Serialize;

use super::to_json;
use crate::agent::Event;
use crate::error::{CallError, Result};
use crate::imports;
use crate::millis::millis;

/// Stores an event of a workflow, with JSON. `cancel` ends the workflow on every host.
///
/// # Errors
/// Needs `[permissions] publish` on `coord.<workflow>.<event>`: [`Denied`](CallError::Denied).
/// [`Invalid`](CallError::Invalid), [`Json`](CallError::Json), [`TooLarge`](CallError::TooLarge),
/// [`RateLimited`](CallError::RateLimited), [`NotFound`](CallError::NotFound) (the stream),
/// [`Full`](CallError::Full); after [`Timeout`](CallError::Timeout) and
/// [`Unavailable`](CallError::Unavailable) it may have been stored.
pub fn signal<T: Serialize + ?Sized>(
    workflow: &str,
    event: &str,
    value: &T,
) -> Result<(), CallError> {
    imports::signal(workflow, event, &to_json(value)?)
}

/// Stores an event of a workflow, with text or bytes.
///
/// # Errors
/// As [`signal`].
pub fn signal_bytes(
    workflow: &str,
    event: &str,
    payload: impl AsRef<[u8]>,
) -> Result<(), CallError> {
    imports::signal(workflow, event, payload.as_ref())
}

/// The newest event of this name that the workflow has had, or else the next one, at most as long
/// as the current call may last; none when there is none by then.
///
/// # Errors
/// Needs `[permissions] subscribe` on `coord.<workflow>.<event>`: [`Denied`](CallError::Denied).
/// [`Invalid`](CallError::Invalid), [`RateLimited`](CallError::RateLimited),
/// [`Exhausted`](CallError::Exhausted), [`TooLarge`](CallError::TooLarge),
/// [`Timeout`](CallError::Timeout) when the stream does not answer,
/// [`Unavailable`](CallError::Unavailable).
pub fn await_event(workflow: &str, event: &str) -> Result<Option<Event>, CallError> {
    awaited(workflow, event, None)
}

/// As [`await_event`], and waits no longer than `timeout`, in whole milliseconds; zero reads once.
///
/// # Errors
/// As [`await_event`].
pub fn await_event_within(
    workflow: &str,
    event: &str,
    timeout: Duration,
) -> Result<Option<Event>, CallError> {
    awaited(workflow, event, Some(millis(timeout)))
}

fn awaited(
    workflow: &str,
    event: &str,
    timeout_ms: Option<u32>,
) -> Result<Option<Event>, CallError> {
    let payload = imports::await_event(workflow, event, timeout_ms)?;
    Ok(payload.map(|payload| Event {
        workflow: workflow.to_owned(),
        event: event.to_owned(),
        payload,
    }))
}

/// Delivers every event of a workflow to the agent from now on, at
/// [`Agent::coordination`](crate::Agent::coordination), until [`unwatch`] or the end of the
/// instance. A second watch of a workflow has no effect. An event that arrives while there is no
/// connection, or faster than the agent takes it, is lost: [`await_event`] finds the stored one.
///
/// # Errors
/// Needs `[permissions] subscribe` on `coord.<workflow>.*`: [`Denied`](CallError::Denied).
/// [`Invalid`](CallError::Invalid), [`RateLimited`](CallError::RateLimited),
/// [`Exhausted`](CallError::Exhausted), since it counts as a subscription,
/// [`Unavailable`](CallError::Unavailable).
pub fn watch(workflow: &str) -> Result<(), CallError> {
    imports::watch(workflow)
}

/// Ends the watch of a workflow. Events that are already waiting are dropped.
///
/// # Errors
/// [`NotFound`](CallError::NotFound).
pub fn unwatch(workflow: &str) -> Result<(), CallError> {
    imports::unwatch(workflow)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::Leadership;
    use crate::coordination::{Circuit, circuit, leadership};
    use crate::mock::Bus;

    #[test]
    fn events_are_kept_and_found() {
        let bus = Bus::new();
        bus.event("w1", "given", "1");
        bus.run(|| {
            assert_eq!(await_event("w1", "go").unwrap(), None);
            signal("w1", "go", &1).unwrap();
            signal_bytes("w1", "go", "2").unwrap();
            let found = await_event_within("w1", "go", Duration::ZERO)
                .unwrap()
                .unwrap();
            assert_eq!((found.json::<i64>(), found.event.as_str()), (Ok(2), "go"));
            let given = await_event("w1", "given").unwrap().unwrap();
            assert_eq!(given.json::<i64>(), Ok(1));
            assert_eq!(signal("w.1", "go", &1).unwrap_err().kind(), "invalid");
            assert_eq!(signal("w1", "g>", &1).unwrap_err().kind(), "invalid");
            assert_eq!(await_event("w1", "").unwrap_err().kind(), "invalid");
        });
        assert_eq!(bus.published()[0].subject, "coord.w1.go");
        bus.deny("coord.w1.go");
        let denied = bus.run(|| (signal("w1", "go", &1), await_event("w1", "go")));
        assert_eq!(denied.0.unwrap_err().kind(), "denied");
        assert_eq!(denied.1.unwrap_err().kind(), "denied");
    }

    #[test]
    fn workflows_are_watched_until_they_are_not() {
        let bus = Bus::new();
        bus.run(|| {
            watch("w1").unwrap();
            watch("w1").unwrap();
            assert_eq!(unwatch("w2").unwrap_err().kind(), "not-found");
            assert_eq!(watch("w 1").unwrap_err().kind(), "invalid");
        });
        assert_eq!(bus.watched(), [("mock-001".to_owned(), "w1".to_owned())]);
        bus.deny("coord.w9.*");
        let denied = bus.run(|| watch("w9"));
        assert_eq!(denied.unwrap_err().kind(), "denied");
    }

    #[test]
    fn leadership_and_circuits_are_what_the_test_says() {
        let bus = Bus::new();
        assert_eq!(bus.run(leadership), None);
        let leads = Leadership {
            domain: "nlp".into(),
            leading: true,
            term: 3,
        };
        bus.set_leadership(Some(leads.clone()));
        assert_eq!(bus.run(leadership), Some(leads));
        assert_eq!(bus.run(|| circuit("db")), Ok(Circuit::Closed));
        bus.set_circuit("db", Circuit::HalfOpen);
        assert_eq!(bus.run(|| circuit("db")), Ok(Circuit::HalfOpen));
        assert_eq!(Circuit::HalfOpen.to_string(), "half-open");
    }
}
