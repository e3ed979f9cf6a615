"""Addresses and networks as people write them. Texts in, values out; nothing is looked up."""

import ipaddress
from typing import TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(text: str) -> Network:
    """An address, or a network in CIDR notation. An IPv4 network that is written as IPv6 is the IPv4 one.

    Raises ValueError, which says what is allowed.
    """
    try:
        parsed = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"{text[:64]!r} is no address or network such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32: {error}"
        ) from None
    if isinstance(parsed, ipaddress.IPv6Network):
        mapped = parsed.network_address.ipv4_mapped
        if mapped is not None and parsed.prefixlen >= 96:
            return ipaddress.IPv4Network((mapped, parsed.prefixlen - 96))
    return parsed
