"""The files of a volume, beside the Rust writer that appends to its log: whose it is, what is kept, signed, made of it.

`volume` is who the volume is and what it promised, `renewal` makes it anew. `retention` recycles segments that nobody
needs, `snapshots` makes what replaces them, `roots` signs finished ones, `epochs` and `passed` keep what recycled ones
said, `files` knows what all of them are called, and `wal` looks at a log whether an engine runs on it or not.
"""
