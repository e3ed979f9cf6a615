"""`kubectl bourse plan`: what the operator would do, of small worlds and of a real API server."""

import asyncio
import json
from dataclasses import replace
from io import StringIO

import aiohttp
import pytest
from rich.console import Console

from fixtures.bourses import Cluster
from fixtures.operator_worlds import NOW, an_empty_world, settled
from openbourse.cli.bourse.planned import planned, screen
from openbourse.contracts.apiserver import ApiServer
from openbourse.operator.manifests import kinds
from openbourse.operator.plan import plan
from openbourse.operator.reconcile import converge


def test_the_steps_are_those_of_the_operators_plan_each_with_its_reason() -> None:
    world = an_empty_world()
    seen = planned(world)
    assert seen.phase == plan(world).phase == "adoption"
    assert [(step.action, step.object, step.reason) for step in seen.steps] == [
        ("apply", "EngineShard main", "the shard goes when its exchange goes")
    ]
    assert ("Exchange demo", "EngineNotReady") in {(wait.object, wait.reason) for wait in seen.waits}


def test_a_settled_exchange_has_nothing_to_do_and_names_engines_that_say_nothing() -> None:
    world, _ = settled(an_empty_world())
    seen = planned(world)
    assert (seen.phase, seen.steps) == ("", ())
    pods = [pod["metadata"]["name"] for pod in world.of_kind(kinds.POD)]
    assert set(seen.silent) <= set(pods)
    assert ("EngineShard main", "NobodyLeads") in {(wait.object, wait.reason) for wait in seen.waits}


def test_an_exchange_that_is_being_deleted_is_said_to_be() -> None:
    world = an_empty_world()
    assert world.exchange is not None
    metadata = world.exchange.metadata.model_copy(update={"deletion_timestamp": NOW})
    seen = planned(replace(world, exchange=world.exchange.model_copy(update={"metadata": metadata})))
    assert seen.steps == ()
    assert [wait.reason for wait in seen.waits] == ["BeingDeleted"]


def test_the_table_says_the_phase_and_why() -> None:
    out = StringIO()
    Console(file=out, width=200).print(screen(planned(an_empty_world())))
    assert "phase adoption: 1 to do" in out.getvalue()
    assert "the shard goes when its exchange goes" in out.getvalue()


@pytest.mark.server
def test_a_plan_of_a_cluster_changes_nothing_and_is_what_the_operator_then_does(bourse_cluster: Cluster) -> None:
    before = _versions(bourse_cluster)
    done = bourse_cluster.bourse("plan", "-o", "json")
    assert done.returncode == 1, done.stderr
    seen = json.loads(done.stdout)
    assert seen["phase"] == "adoption"
    assert [step["object"] for step in seen["steps"]] == ["EngineShard main"]
    assert _versions(bourse_cluster) == before
    asyncio.run(_operate(bourse_cluster))
    assert _versions(bourse_cluster) != before
    then = bourse_cluster.bourse("plan")
    assert (then.returncode, then.stdout.splitlines()[0]) == (0, "nothing to do"), then.stdout
    assert "SecretMissing" in then.stdout


def _versions(cluster: Cluster) -> list[str]:
    """Of everything that a plan could touch."""
    kinds_ = "exchanges,engineshards,symbols,halts,configmaps,secrets,services,statefulsets,deployments,leases"
    found = json.loads(cluster.kubectl("get", kinds_, "-o", "json"))["items"]
    return [f"{item['kind']} {item['metadata']['name']} {item['metadata']['resourceVersion']}" for item in found]


async def _operate(cluster: Cluster) -> None:
    credentials = cluster.server.credentials()
    async with ApiServer.connect(credentials) as api, aiohttp.ClientSession() as session:
        await converge(api, session, cluster.namespace, "demo")
