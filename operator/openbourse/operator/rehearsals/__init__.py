"""Rehearsals: a fault on purpose in a shard that trades, what must hold meanwhile, and a sealed report of it."""
