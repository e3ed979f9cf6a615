"""The authority of an exchange is rotated in every small world: nobody ever shows what somebody else does not trust."""

import datetime
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import pytest

from fixtures.figures import Show
from fixtures.operator_worlds import DAY, NOW, an_empty_world
from openbourse.contracts.rotations import ANNOTATION, BadRotation, rotation_of
from openbourse.operator import authorities
from openbourse.operator.authorities import (
    Change,
    ChangeAuthority,
    IssueCertificate,
    MakeAuthority,
    TrustAuthorities,
)
from openbourse.operator.manifests import names
from openbourse.operator.manifests.certificates import CertificateNeed, needs
from openbourse.operator.observed import CertificateFacts, Observed, SecretFacts, TlsFacts

# Of which two have a pod.
SHOWN = ("demo-engine-main-tls", "demo-gateway-tls")
PODS = {"demo-engine-main-0": ("engine", SHOWN[0]), "demo-gateway-0": ("gateway", SHOWN[1])}


@dataclass(frozen=True, slots=True)
class Leaf:
    """Of authority number `of`, beside these authorities. `old`: it is time to renew it."""

    of: int
    trusted: frozenset[int]
    old: bool = False


@dataclass(frozen=True, slots=True)
class Authority:
    signing: int
    next: int | None = None
    previous: frozenset[int] = frozenset()
    rotation: int = 0

    @property
    def trusted(self) -> frozenset[int]:
        return frozenset({self.signing, *self.previous, *(() if self.next is None else (self.next,))})


@dataclass(frozen=True, slots=True)
class World:
    """`pods`: what each uses, and whether it answers. `asked`: the rotation that the Exchange names."""

    authority: Authority | None
    secrets: tuple[Leaf | None, ...]
    pods: tuple[tuple[Leaf, bool], ...]
    asked: int = 0
    made: int = 1
    harm: int = 0


@cache
def empty(asked: int) -> Observed:
    world, annotations = an_empty_world(1, 0), {ANNOTATION: f"r{asked}"} if asked else {}
    assert world.exchange is not None
    metadata = world.exchange.metadata.model_copy(update={"annotations": annotations})
    return replace(world, exchange=world.exchange.model_copy(update={"metadata": metadata}))


@cache
def the_needs() -> tuple[CertificateNeed, ...]:
    world = empty(0)
    assert world.exchange is not None
    return needs(world.exchange, world.shards)


@cache
def index(secret: str) -> int:
    return next(place for place, need in enumerate(the_needs()) if need.secret == secret)


def observed(world: World) -> Observed:
    secrets = {
        need.secret: SecretFacts(frozenset(), facts(need, leaf))
        for need, leaf in zip(the_needs(), world.secrets, strict=True)
        if leaf
    }
    if (held := world.authority) is not None:
        secrets[names.authority("demo")] = SecretFacts(
            frozenset(),
            authority(held.signing),
            next=None if held.next is None else authority(held.next),
            previous=tuple(map(authority, sorted(held.previous))),
            rotation=f"r{held.rotation}" if held.rotation else "",
        )
    children, tls = {}, {}
    for (pod, (component, secret)), (leaf, answers) in zip(PODS.items(), world.pods, strict=True):
        children["Pod", pod] = {"metadata": {"name": pod, "labels": {names.COMPONENT_LABEL: component}}}
        if answers:
            held_by = facts(the_needs()[index(secret)], leaf)
            tls[pod] = TlsFacts(certificate=held_by.fingerprint, authorities=tuple(sorted(held_by.trusted)))
    return replace(empty(world.asked), secrets=secrets, children=children, tls=tls)


@cache
def authority(number: int) -> CertificateFacts:
    name = f"authority-{number}"
    return CertificateFacts(name, name, "", frozenset(), NOW - DAY, NOW + 3650 * DAY, frozenset({name}))


def facts(need: CertificateNeed, leaf: Leaf) -> CertificateFacts:
    return CertificateFacts(
        f"{need.secret}-{leaf.of}-{leaf.old}",
        f"authority-{leaf.of}",
        need.component,
        frozenset(need.hosts),
        NOW - (80 if leaf.old else 1) * DAY,
        NOW + (10 if leaf.old else 89) * DAY,
        frozenset(f"authority-{number}" for number in leaf.trusted),
    )


def acted(world: World) -> World | None:
    """After the first action of the plan, as if the operator crashed then. None: there is none."""
    seen = observed(world)
    assert seen.exchange is not None
    step = next(authorities.authority(seen, seen.exchange), None) or next(authorities.leaves(seen, seen.exchange), None)
    held = world.authority
    match step:
        case None:
            return None
        case MakeAuthority(leaf=leaf):
            trusting = None if leaf is None else world.secrets[index(leaf)]
            previous = trusting.trusted if trusting is not None else frozenset[int]()
            return replace(world, authority=Authority(world.made, previous=previous), made=world.made + 1)
        case ChangeAuthority(change=change, rotation=rotation):
            assert held is not None
            match change:
                case Change.BEGIN:
                    asked = int(rotation.removeprefix("r") or held.rotation)
                    changed = replace(held, next=world.made, rotation=asked)
                    return replace(world, authority=changed, made=world.made + 1)
                case Change.SWITCH:
                    assert held.next is not None
                    switched = Authority(held.next, None, frozenset({held.signing}), held.rotation)
                    return replace(world, authority=switched)
                case Change.DROP:
                    return replace(world, authority=replace(held, previous=frozenset()))
        case IssueCertificate(need=need):
            assert held is not None
            return with_secret(world, need.secret, Leaf(held.signing, held.trusted))
        case TrustAuthorities(need=need):
            assert held is not None
            leaf_now = world.secrets[index(need.secret)]
            assert leaf_now is not None
            return with_secret(world, need.secret, replace(leaf_now, trusted=held.trusted))
    raise AssertionError(step)


def with_secret(world: World, secret: str, leaf: Leaf | None) -> World:
    secrets = list(world.secrets)
    secrets[index(secret)] = leaf
    return replace(world, secrets=tuple(secrets))


def events(world: World) -> Iterator[World]:
    """What the world does by itself."""
    for place, (secret, (leaf, answers)) in enumerate(zip(SHOWN, world.pods, strict=True)):
        stored = world.secrets[index(secret)]
        if stored is not None and stored != leaf:
            yield with_pod(world, place, stored, answers=answers)
        yield with_pod(world, place, leaf, answers=not answers)
    if world.asked < 2:
        yield replace(world, asked=world.asked + 1)
    if not world.harm:
        yield replace(world, authority=None, harm=1)
        yield with_secret(replace(world, harm=1), SHOWN[0], None)
        if (leaf_now := world.secrets[index(SHOWN[0])]) is not None:
            yield with_secret(replace(world, harm=1), SHOWN[0], replace(leaf_now, old=True))


def with_pod(world: World, place: int, leaf: Leaf, *, answers: bool) -> World:
    pods = list(world.pods)
    pods[place] = (leaf, answers)
    return replace(world, pods=tuple(pods))


def start() -> World:
    leaf = Leaf(0, frozenset({0}))
    return World(Authority(0), (leaf,) * len(the_needs()), ((leaf, True),) * len(PODS))


def untrusted(world: World) -> str:
    for (shown, _), pod in zip(world.pods, PODS, strict=True):
        for (other, _), by in zip(world.pods, PODS, strict=True):
            if shown.of not in other.trusted:
                return f"{by} trusts {sorted(other.trusted)}, and {pod} shows a certificate of {shown.of}"
    return ""


def explored(limit: int = 200_000) -> dict[World, World | None]:
    """Every world that can be, and whence. Raises AssertionError with the way to one where somebody is refused."""
    came: dict[World, World | None] = {start(): None}
    left = deque(came)
    while left:
        world = left.popleft()
        if problem := untrusted(world):
            way = [world]
            while (before := came[way[-1]]) is not None:
                way.append(before)
            raise AssertionError(problem + "\n" + "\n".join(map(str, reversed(way))))
        after = acted(world)
        for following in (*([] if after is None else [after]), *events(world)):
            if following not in came:
                came[following] = world
                left.append(following)
        assert len(came) < limit
    return came


def healed(world: World) -> World:
    """Everybody answers and takes what is in their Secrets, and the operator does what it plans, to the end."""
    for _ in range(100):
        world = taken(world)
        after = acted_of_healed(world)
        if after is None:
            return world
        world = after
    raise AssertionError(f"it goes on for ever: {world}")


def taken(world: World) -> World:
    for place, secret in enumerate(SHOWN):
        world = with_pod(world, place, world.secrets[index(secret)] or world.pods[place][0], answers=True)
    return world


# Many worlds are healed to the same one.
acted_of_healed = cache(acted)


def test_nobody_ever_shows_what_somebody_else_does_not_trust_and_every_rotation_ends(show: Show) -> None:
    worlds = explored()
    for world in set(map(taken, worlds)):
        end = healed(world)
        assert end.authority is not None
        assert (end.authority.next, end.authority.previous) == (None, frozenset())
        only = Leaf(end.authority.signing, frozenset({end.authority.signing}))
        assert set(end.secrets) == {only}
        assert {leaf for leaf, _ in end.pods} == {only}
        if end.asked:
            assert end.authority.rotation == end.asked
    show(f"rotations of an authority, {len(worlds)} small worlds: nobody is refused, and each ends")


def no_reason(*_: object) -> str:
    return ""


@pytest.mark.parametrize("planted", ["why_not_trusted", "why_not_left"])
def test_who_does_not_wait_for_everybody_is_found_out(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorities, planted, no_reason)
    with pytest.raises(AssertionError, match="shows a certificate of"):
        explored()


def test_an_authority_is_rotated_by_itself_before_it_runs_out() -> None:
    seen = observed(start())
    assert seen.exchange is not None
    assert not list(authorities.authority(seen, seen.exchange))
    later = replace(seen, now=NOW + datetime.timedelta(days=2500))
    (step,) = authorities.authority(later, seen.exchange)
    assert isinstance(step, ChangeAuthority)
    assert (step.change, step.rotation) == (Change.BEGIN, "")


def test_an_annotation_that_is_no_id_is_refused() -> None:
    assert rotation_of({}) == ""
    assert rotation_of({ANNOTATION: "2026-11.a"}) == "2026-11.a"
    for bad in ("-", "a b", "a" * 64, "a/b"):
        with pytest.raises(BadRotation, match=ANNOTATION):
            rotation_of({ANNOTATION: bad})
