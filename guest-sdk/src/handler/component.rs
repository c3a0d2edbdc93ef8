//! The exported interface `handler`, for every component that `export_agent!` makes.

use std::panic;

use crate::agent::{Agent, Event, Health, Leadership};
use crate::bindings::exports::mistersmith::agent::handler as wit;
use crate::bindings::mistersmith::agent::types;
use crate::error::{Error, Result};
use crate::handler::{self, Component, Delivery, Kind, Notice};
use crate::log;
use crate::message::Priority;
use crate::millis::millis;
use crate::reply::Reply;

impl<C: Component> wit::Guest for C {
    fn start() -> Result<(), wit::Failure> {
        // One line that names the agent and the trace, in place of three that do not.
        panic::set_hook(Box::new(|panic| {
            log::error!("{}", panic.to_string().replace('\n', " "));
        }));
        let agent = C::Agent::start()?;
        C::with(|slot| *slot = Some(agent));
        Ok(())
    }

    fn handle(
        kind: wit::Kind,
        subject: String,
        payload: Vec<u8>,
    ) -> Result<Option<wit::Reply>, wit::Failure> {
        let delivery = Delivery {
            kind: kind.into(),
            subject,
            payload,
        };
        C::with(|slot| match slot {
            Some(agent) => answer(handler::dispatch(agent, delivery, 0)),
            None => Err(not_started()),
        })
    }

    fn handle_batch(items: Vec<wit::Item>) -> Vec<Result<Option<wit::Reply>, wit::Failure>> {
        let count = items.len();
        let deliveries = items.into_iter().map(Into::into).collect();
        C::with(|slot| match slot {
            Some(agent) => handler::dispatch_batch(agent, deliveries)
                .into_iter()
                .map(answer)
                .collect(),
            None => (0..count).map(|_| Err(not_started())).collect(),
        })
    }

    fn notify(notice: wit::Notice) {
        C::with(|slot| {
            if let Some(agent) = slot {
                handler::notify(agent, &notice.into());
            }
        });
    }

    fn health() -> wit::HealthReport {
        let health = C::with(|slot| match slot {
            Some(agent) => agent.health(),
            None => Health::failing("the agent is not started"),
        });
        wit::HealthReport {
            ok: health.ok,
            detail: health.detail,
            load: health.load,
        }
    }

    fn stop(reason: String) {
        C::with(|slot| {
            if let Some(agent) = slot {
                handler::stop(agent, &reason);
            }
        });
    }
}

fn not_started() -> wit::Failure {
    wit::Failure::Other("the agent is not started".to_owned())
}

fn answer(result: Result<Reply>) -> Result<Option<wit::Reply>, wit::Failure> {
    let reply = result?;
    Ok(reply.body.map(|body| wit::Reply {
        payload: body.payload,
        content_type: body.content_type,
        headers: body.headers,
    }))
}

impl From<Error> for wit::Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Retry { message, delay } => Self::Retry(wit::Retry {
                message,
                delay_ms: delay.map(millis),
            }),
            Error::Reject(message) => Self::Reject(message),
            Error::Other(message) => Self::Other(message),
        }
    }
}

impl From<wit::Item> for Delivery {
    fn from(item: wit::Item) -> Self {
        Self {
            kind: item.kind.into(),
            subject: item.subject,
            payload: item.payload,
        }
    }
}

impl From<wit::Kind> for Kind {
    fn from(kind: wit::Kind) -> Self {
        match kind {
            wit::Kind::Execute => Self::Execute,
            wit::Kind::Work(work) => Self::Work {
                priority: work.priority.into(),
                retries: work.retries,
            },
            wit::Kind::Stage(stage) => Self::Stage {
                number: stage.number,
                retries: stage.retries,
            },
            wit::Kind::Scatter(request) => Self::Scatter { request },
            wit::Kind::Subscription(subscription) => Self::Subscription {
                id: subscription.id,
                wants_reply: subscription.wants_reply,
            },
            wit::Kind::Other(name) => Self::Other(name),
        }
    }
}

impl From<types::Priority> for Priority {
    fn from(priority: types::Priority) -> Self {
        match priority {
            types::Priority::Critical => Self::Critical,
            types::Priority::High => Self::High,
            types::Priority::Normal => Self::Normal,
            types::Priority::Low => Self::Low,
        }
    }
}

impl From<wit::Notice> for Notice {
    fn from(notice: wit::Notice) -> Self {
        match notice {
            wit::Notice::Leadership(change) => Self::Leadership(Leadership {
                domain: change.domain,
                leading: change.leading,
                term: change.term,
            }),
            wit::Notice::Coordination(event) => Self::Coordination(Event {
                workflow: event.workflow,
                event: event.event,
                payload: event.payload,
            }),
            wit::Notice::Configuration => Self::Configuration,
            wit::Notice::Other((name, json)) => Self::Other(name, json),
        }
    }
}
