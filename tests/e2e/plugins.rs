//! The plugins folder: loaded, replaced and removed while the host runs; and whose an agent id is.

mod folder;
mod ids;
mod lock;
mod policy;
mod reload;
