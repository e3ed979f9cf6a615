"""What is a difference between an object as desired and as it is there, and what is not."""

from typing import Any

import pytest

from openbourse.operator.drift import first_difference


@pytest.mark.parametrize(
    ("desired", "live"),
    [
        ({"resources": {"requests": {"cpu": "0.5"}}}, {"resources": {"requests": {"cpu": "500m"}}}),
        ({"resources": {"limits": {"memory": "1024Mi"}}}, {"resources": {"limits": {"memory": "1Gi"}}}),
        ({"emptyDir": {"sizeLimit": "1000k"}}, {"emptyDir": {"sizeLimit": "1M"}}),
        ({"env": [], "selector": {}}, {}),
        ({"flag": True}, {"flag": 1}),
        ({"labels": {"a": "b"}}, {"labels": {"a": "b", "theirs": "c"}}),
        ({"ports": [{"name": "a", "port": 1}]}, {"ports": [{"name": "theirs", "port": 2}, {"name": "a", "port": 1}]}),
    ],
)
def test_what_the_api_server_writes_otherwise_or_others_added_is_no_difference(desired: Any, live: Any) -> None:
    assert first_difference(desired, live) is None


@pytest.mark.parametrize(
    ("desired", "live", "path"),
    [
        (
            {"resources": {"requests": {"cpu": "1"}}},
            {"resources": {"requests": {"cpu": "2"}}},
            "resources.requests.cpu",
        ),
        (
            {"resources": {"requests": {"cpu": "1"}}},
            {"resources": {"requests": {"cpu": "x"}}},
            "resources.requests.cpu",
        ),
        ({"resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": None}}, "resources.requests"),
        ({"labels": {"version": "1.10"}}, {"labels": {"version": "1.1"}}, "labels.version"),
        ({"labels": {"size": "1k"}}, {"labels": {"size": "1000"}}, "labels.size"),
        # A hash that reads as a number whose exponent nothing can hold.
        ({"annotations": {"hash": "3534898e77440019"}}, {"annotations": {"hash": "1e9"}}, "annotations.hash"),
        ({"n": 0}, {}, "n"),
        ({"a": [{"name": "x", "v": 1}]}, {"a": [{"name": "y"}, {"name": "x", "v": 2}]}, "a.x.v"),
        ({"items": [1, 2]}, {"items": [1]}, "items"),
        ({"items": [1]}, {"items": [1, 2]}, "items"),
        ({"items": [1, 2]}, {"items": [1, 3]}, "items[1]"),
    ],
)
def test_the_first_field_that_differs_is_named(desired: Any, live: Any, path: str) -> None:
    assert first_difference(desired, live) == path
