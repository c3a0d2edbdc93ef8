//! What a plugin may not do: deny by default, nothing of the machine, limits on everything.

mod grants;
mod hostile;
mod isolation;
mod limits;
mod wasi;
