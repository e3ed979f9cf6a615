"""The PostgreSQL of the cluster: restricted, with a password, and with its data on a volume."""

from pathlib import Path

import pytest

from fixtures.clusters import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

MANIFEST = Path(__file__).resolve().parents[2] / "gitops/platform/postgresql.yaml"


def sql(cluster: Cluster, namespace: str, statement: str, *, password: str) -> str:
    address = f"postgresql://postgres:{password}@postgresql/openbourse?connect_timeout=5"
    command = ["exec", "postgresql-0", "--", "psql", address, "--no-psqlrc", "-qtAc", statement]
    return cluster.kubectl("-n", namespace, *command).strip()


def wait_until_served(cluster: Cluster, namespace: str) -> None:
    """The pod is ready, and the nodes have learned where the service leads: that takes them another moment."""
    cluster.kubectl("-n", namespace, "rollout", "status", "statefulset/postgresql", "--timeout=120s", timeout_s=130)
    probe = "for try in $(seq 100); do pg_isready -q -h postgresql -t 1 && exit; sleep 0.1; done; exit 1"
    cluster.kubectl("-n", namespace, "exec", "postgresql-0", "--", "sh", "-c", probe, timeout_s=150)


def test_what_was_committed_is_there_after_the_pod_was_killed(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "create", "secret", "generic", "postgresql", "--from-literal=password=right")
    cluster.kubectl("-n", namespace, "apply", "-f", MANIFEST)
    wait_until_served(cluster, namespace)
    sql(cluster, namespace, "CREATE TABLE words AS SELECT 'kept' AS word", password="right")
    with pytest.raises(AssertionError, match="password authentication failed"):
        sql(cluster, namespace, "SELECT 1", password="wrong")

    cluster.kubectl("-n", namespace, "delete", "pod", "postgresql-0", "--grace-period=0", "--force")
    wait_until_served(cluster, namespace)
    assert sql(cluster, namespace, "SELECT word FROM words", password="right") == "kept"
