"""What every component may import: messages, resources, units, the engine session."""
