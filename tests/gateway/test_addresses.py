"""Whose address a request has, and which networks have it: nothing that a client writes makes it another one."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbourse.contracts.networks import network
from openbourse.gateway.addresses import client_address, is_within
from openbourse.gateway.http_protocol import Addresses

PROXIES = (network("10.0.0.0/8"), network("2001:db8:ffff::/48"))
addresses = st.ip_addresses()
networks = st.builds(
    lambda address, length: ipaddress.ip_network((address, min(length, address.max_prefixlen)), strict=False),
    addresses,
    st.integers(0, 128),
)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", [b"198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"192.0.2.66, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"192.0.2.66", b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"192.0.2.66,198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [b"192.0.2.66, garbage"], "10.0.0.1"),
        ("10.0.0.1", [b"192.0.2.66, garbage, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"192.0.2.66, "], "10.0.0.1"),
        ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("::ffff:10.0.0.1", [b"::ffff:198.51.100.1"], "198.51.100.1"),
        ("2001:db8:ffff::1", [b"2001:DB8::1"], "2001:db8::1"),
        ("10.0.0.1", [b"192.0.2.66, \xff\xff"], "10.0.0.1"),
    ],
)
def test_the_rightmost_address_that_is_no_proxys_is_the_clients(
    peer: str, forwarded: list[bytes], expected: str
) -> None:
    assert client_address(peer, forwarded, PROXIES) == expected


@given(addresses, st.lists(st.binary(max_size=40), max_size=4))
def test_without_trusted_proxies_nothing_that_is_sent_is_believed(
    peer: ipaddress.IPv4Address | ipaddress.IPv6Address, forwarded: list[bytes]
) -> None:
    assert client_address(str(peer), forwarded, ()) == str(peer)


@given(st.lists(st.one_of(addresses.map(str), st.text(max_size=20)), max_size=5), addresses)
def test_what_stands_left_of_what_the_proxy_wrote_changes_nothing(
    before: list[str], client: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    sent = [", ".join([*before, str(client)]).encode("utf-8")]
    told = client_address("10.0.0.1", sent, PROXIES)
    if not is_within(str(client), PROXIES):
        assert ipaddress.ip_address(told) == (getattr(client, "ipv4_mapped", None) or client)


@given(networks, addresses)
def test_an_address_is_within_a_network_as_the_standard_library_says(
    listed: ipaddress.IPv4Network | ipaddress.IPv6Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    expected = listed.version == address.version and address in listed
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is None:
        assert is_within(str(address), (network(str(listed)),)) == expected or _mapped(listed)


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_an_address_of_ipv4_is_the_same_however_it_is_written(address: ipaddress.IPv4Address, length: int) -> None:
    around = ipaddress.ip_network((address, length), strict=False)
    written = network(str(around)), network(f"::ffff:{around.network_address}/{96 + length}")
    assert written == (around, around)
    assert is_within(str(address), (around,)) and is_within(f"::ffff:{address}", (around,))


@given(st.text(max_size=30))
def test_what_is_no_address_is_in_no_network(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        assert not is_within(text, (network("0.0.0.0/0"), network("::/0")))


def _mapped(listed: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return isinstance(listed, ipaddress.IPv6Network) and listed.network_address.ipv4_mapped is not None


def test_an_address_takes_so_many_connections_and_a_proxy_any_number() -> None:
    addresses = Addresses(2, proxies=[network("10.0.0.0/8")])
    assert [addresses.take("192.0.2.7") for _ in range(3)] == [True, True, False]
    assert addresses.take("192.0.2.8")
    assert all(addresses.take("10.1.2.3") for _ in range(10))
    addresses.release("192.0.2.7")
    assert [addresses.take("192.0.2.7") for _ in range(2)] == [True, False]
