//! Work items: taken once, in order of urgency, tried again, never lost.

mod attempts;
mod consumers;
mod crashes;
mod fate;
mod forms;
mod poison;
mod pulls;
mod urgency;
