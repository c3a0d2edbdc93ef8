//! Tests of the agent state that others read.
#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn an_agent_is_busy_while_it_handles_a_message() {
    let fence = Fence::new(
        mistersmith_runtime::LeaseTerm::unlimited(),
        "probe-001".parse().unwrap(),
    );
    let state = AgentState::new("h1", "id", &"probe".parse().unwrap(), fence);
    let shown = || state.snapshot(&"probe-001".parse().unwrap()).status;
    state.set_status(AgentStatus::Ready);
    state.pause(true);
    assert_eq!(shown(), AgentStatus::Paused);
    state.begin(Instant::now());
    assert_eq!(
        (state.status(), shown()),
        (AgentStatus::Busy, AgentStatus::Busy)
    );
    state.end(&Kind::Execute, Duration::from_millis(1), None);
    assert_eq!(shown(), AgentStatus::Paused);
    state.begin(Instant::now());
    state.set_status(AgentStatus::Stopped);
    assert_eq!(shown(), AgentStatus::Stopped, "cut off in the middle");
}
