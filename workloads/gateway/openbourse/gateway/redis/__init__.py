"""What gateways share with each other: one connection to a Redis, and what to do without it."""
