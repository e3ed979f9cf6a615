"""Fixtures that start the real parts; each module of `fixtures` says what it starts."""

pytest_plugins: list[str] = [
    "fixtures.figures",
    "fixtures.clusters",
    "fixtures.databases",
    "fixtures.disks",
    "fixtures.engines",
    "fixtures.ledgers",
    "fixtures.marketdatas",
    "fixtures.gateways",
    "fixtures.members",
    "fixtures.networks",
    "fixtures.tokens",
    "fixtures.seals",
    "fixtures.replicas",
    "fixtures.traced",
    # After those that it imports: pytest rewrites assertions of what is not imported yet.
    "fixtures.exchanges",
    "fixtures.apiservers",
]
