//! How much of everything there may be at most.

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A frame from a client. Commands and queries are small; a longer one is refused.
    pub frame_bytes: usize,
    /// One from a ledger, which may have a part of a symbol's record.
    pub ledger_frame_bytes: usize,
    /// Commands and queries that one batch takes from what waits. 1: one sync per command.
    pub batch_requests: usize,
    pub batch_bytes: usize,
    /// Requests of one connection that wait before it is paused. It goes on at half of it.
    pub waiting_requests: usize,
    pub waiting_bytes: usize,
    /// Committed events kept for subscribers; who is further behind is served from the log.
    pub ring_bytes: usize,
    pub ring_commands: usize,
    /// Records kept for standbys; one that is further behind is sent what the segments have.
    pub recent_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes: 64 << 10,
            ledger_frame_bytes: 4 << 20,
            batch_requests: 8192,
            batch_bytes: 4 << 20,
            waiting_requests: 4096,
            waiting_bytes: 1 << 20,
            ring_bytes: 64 << 20,
            ring_commands: 200_000,
            recent_bytes: 32 << 20,
        }
    }
}
