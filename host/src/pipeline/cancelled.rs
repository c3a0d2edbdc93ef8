//! The check whether a workflow is cancelled: `coord.<workflow>.cancel` was published.
//!
//! The stream is read each time. A copy kept up to date by a subscription would be cheaper, and
//! would miss a cancellation that was acknowledged to its publisher a moment before.

use std::time::{Duration, Instant};

use mistersmith_core::limits;
use mistersmith_core::names::WorkflowId;
use mistersmith_nats::{Connection, TransportError};

/// The stream that stores cancellations.
const STREAM: &str = "COORDINATION";
/// The pause after the stream did not answer.
const PAUSE: Duration = Duration::from_millis(250);

/// Whether a workflow is cancelled; waits until the stream can be asked.
///
/// # Errors
/// When it could not be asked for [`limits::CANCEL_WAIT`].
pub(super) async fn is_cancelled(
    connection: &Connection,
    workflow: &WorkflowId,
) -> Result<bool, TransportError> {
    let stream = connection.stream(STREAM)?;
    let subject = format!("coord.{workflow}.cancel");
    let begun = Instant::now();
    loop {
        match stream.newest(&subject).await {
            Ok(found) => return Ok(found.is_some()),
            Err(error) if error.is_transient() && begun.elapsed() < limits::CANCEL_WAIT => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
