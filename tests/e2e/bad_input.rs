//! What people and plugins do wrong: one clear error that names the place and the fix, everything
//! else goes on, and nothing is lost.

mod files;
mod hosts;
mod messages;
mod plugins;
mod subjects;
