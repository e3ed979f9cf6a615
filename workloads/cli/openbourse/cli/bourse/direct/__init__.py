"""Halts asked of the engines themselves, for an API server that is down."""
