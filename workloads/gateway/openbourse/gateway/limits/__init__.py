"""Limits of addresses, API keys and accounts: what they are, what was used of them, and what is refused."""
