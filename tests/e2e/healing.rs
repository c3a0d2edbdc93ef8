//! JetStream loses what hosts work with, while they run.

mod emptied;
mod pieces;
