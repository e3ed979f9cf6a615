"""What makes the books tamper-evident to outsiders: a tree of batches, signed checkpoints, proofs, a witness."""
