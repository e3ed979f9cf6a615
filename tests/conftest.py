"""Fixtures that start the real parts; each module of `fixtures` says what it starts."""

pytest_plugins: list[str] = ["fixtures.apiservers"]
