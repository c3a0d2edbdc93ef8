//! Whether a workflow is cancelled: `coord.<workflow>.cancel` was published.
//!
//! The stream is asked each time. A copy that is kept up to date by a subscription would be cheaper and
//! would not know of a cancellation that was acknowledged to its publisher a moment before.

use std::time::{Duration, Instant};

use crate::limits;
use crate::names::WorkflowId;
use crate::transport::{Link, TransportError};

/// The stream that remembers.
const STREAM: &str = "COORDINATION";
/// The pause after the stream did not answer.
const PAUSE: Duration = Duration::from_millis(250);

/// Whether a workflow is cancelled; waits until the stream can be asked.
///
/// # Errors
/// When it could not be asked for [`limits::CANCEL_WAIT`].
pub async fn is_cancelled(link: &Link, workflow: &WorkflowId) -> Result<bool, TransportError> {
    let stream = link.stream(STREAM)?;
    let subject = format!("coord.{workflow}.cancel");
    let begun = Instant::now();
    loop {
        match stream.last(&subject).await {
            Ok(found) => return Ok(found.is_some()),
            Err(error) if error.is_transient() && begun.elapsed() < limits::CANCEL_WAIT => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
