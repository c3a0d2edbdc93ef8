//! What JetStream must hold: made, compared, widened, and never destroyed unasked.

mod assets;
mod cluster;
mod plan;
