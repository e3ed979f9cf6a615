"""One order engine: a single writer around the Rust kernel and the write-ahead log."""
