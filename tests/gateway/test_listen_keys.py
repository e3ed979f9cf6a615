"""A listen key is an account's own, lasts an hour, and ends with the API key that asked for it."""

import pytest

from openbourse.gateway.errors import Invalid, Unavailable
from openbourse.gateway.user_data import listen_keys
from openbourse.gateway.user_data.listen_keys import ListenKeys


def test_a_key_lasts_an_hour_and_again_so_long_when_it_is_asked_for_or_extended() -> None:
    keys = ListenKeys()
    key = keys.create(1001, "api", "192.0.2.1", 0)
    assert keys.create(1001, "api", "192.0.2.1", 1_000) == key
    assert keys.take_expired(4_599) == []
    keys.extend(key, 1001, 4_000)
    assert keys.take_expired(7_599) == []
    assert keys.take_expired(7_600) == [key]
    assert (list(keys.of(1001)), keys.all()) == ([], [])
    with pytest.raises(Invalid):
        keys.extend(key, 1001, 7_601)
    assert keys.create(1001, "api", "192.0.2.1", 7_602) != key


def test_a_key_is_ended_by_its_account_alone() -> None:
    keys = ListenKeys()
    key = keys.create(1001, "api", "192.0.2.1", 0)
    for name, account in ((key, 1002), ("other", 1001)):
        with pytest.raises(Invalid) as refused:
            keys.end(name, account)
        assert refused.value.code == -1125
    with pytest.raises(Invalid):
        keys.extend(key, 1002, 0)
    keys.end(key, 1001)
    assert not keys.of(1001)


def test_a_key_ends_with_the_api_key_that_asked_for_it() -> None:
    keys = ListenKeys()
    first, second = keys.create(1001, "revoked", "192.0.2.1", 0), keys.create(1002, "kept", "192.0.2.2", 0)
    assert keys.take_revoked(lambda api_key, address: (api_key, address) == ("kept", "192.0.2.2")) == [first]
    assert keys.all() == [second]


def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_keys, "KEYS_MOST", 1)
    keys = ListenKeys()
    keys.create(1001, "api", "192.0.2.1", 0)
    keys.create(1001, "api", "192.0.2.1", 1)
    with pytest.raises(Unavailable):
        keys.create(1002, "api", "192.0.2.1", 2)
