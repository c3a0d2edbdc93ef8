//! The commands, as a person or a script uses them.

mod authoring;
mod demo;
mod fleet;
mod letters;
mod timeline;
