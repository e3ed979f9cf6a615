"""The gateway's port for people: what is halted or switched off and why, kill switches, cancelling for others."""
