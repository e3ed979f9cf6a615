"""Fixtures that start the real parts; each module of `fixtures` says what it starts."""

pytest_plugins: list[str] = [
    "fixtures.figures",
    "fixtures.forked",
    "fixtures.order",
    "fixtures.clusters",
    "fixtures.databases",
    "fixtures.disks",
    "fixtures.engines",
    "fixtures.ledgers",
    "fixtures.marketdatas",
    "fixtures.gateways",
    "fixtures.admins",
    "fixtures.members",
    "fixtures.networks",
    "fixtures.redises",
    "fixtures.tokens",
    "fixtures.two_shards",
    "fixtures.seals",
    "fixtures.replicas",
    "fixtures.traced",
    # After those that it imports: pytest rewrites assertions of what is not imported yet.
    "fixtures.exchanges",
    "fixtures.browsers",
    "fixtures.apiservers",
    "fixtures.api_clients",
    "fixtures.bourses",
]
