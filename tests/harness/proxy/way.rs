//! The two directions of a connection.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Way {
    pub const BOTH: &[Self] = &[Self::Up, Self::Down];
}
