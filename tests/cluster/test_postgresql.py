"""The two PostgreSQL servers of the cluster: restricted, with passwords, and never without what was committed."""

import pytest

from fixtures.cluster_postgresql import PLATFORM, promote
from fixtures.clusters import Cluster, CommandFailed
from fixtures.trading import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

HOSTS = "postgresql-0.postgresql,postgresql-1.postgresql"
IN_SYNC = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
SERVED_S = 120
RIGHT = "right"


def sql(cluster: Cluster, namespace: str, statement: str, *, password: str = RIGHT) -> str:
    """Of the one that takes writes, asked from wherever psql is."""
    address = f"postgresql://postgres:{password}@{HOSTS}/openbourse?connect_timeout=5&target_session_attrs=read-write"
    command = ["exec", "statefulset/postgresql", "--", "psql", address, "--no-psqlrc", "-qtAc", statement]
    return cluster.kubectl("-n", namespace, *command).strip()


def wait_until_in_sync(cluster: Cluster, namespace: str) -> None:
    """Both are ready, and a commit waits for somebody who is there."""
    rollout = ("rollout", "status", "statefulset/postgresql", f"--timeout={SERVED_S}s")
    cluster.kubectl("-n", namespace, *rollout, timeout_s=SERVED_S + 10)
    eventually(lambda: sql(cluster, namespace, IN_SYNC) == "1", SERVED_S)


def test_what_was_committed_is_there_after_a_killed_pod_a_lost_volume_and_two_promotions(
    cluster: Cluster, namespace: str
) -> None:
    passwords = (f"--from-literal=password={RIGHT}", "--from-literal=replication-password=it's:one\\word")
    cluster.kubectl("-n", namespace, "create", "secret", "generic", "postgresql", *passwords)
    cluster.kubectl("-n", namespace, "apply", "-f", PLATFORM / "postgresql.yaml")
    wait_until_in_sync(cluster, namespace)
    sql(cluster, namespace, "CREATE TABLE words AS SELECT 'kept' AS word")
    with pytest.raises(AssertionError, match="password authentication failed"):
        sql(cluster, namespace, "SELECT 1", password="wrong")

    cluster.kubectl("-n", namespace, "delete", "pod", "postgresql-0", "--grace-period=0", "--force")
    wait_until_in_sync(cluster, namespace)
    assert sql(cluster, namespace, "SELECT word FROM words") == "kept"

    # Its volume is gone: it does not begin a new database beside the one that its standby has.
    cluster.kubectl("-n", namespace, "delete", "pvc", "data-postgresql-0", "--wait=false")
    cluster.kubectl("-n", namespace, "delete", "pod", "postgresql-0", "--grace-period=0", "--force")
    logs = ("logs", "postgresql-0", "--tail=1")
    eventually(lambda: "promote postgresql-1" in cluster.kubectl("-n", namespace, *logs), SERVED_S)
    assert "takes writes" in promote(cluster, namespace, "postgresql-1")
    assert sql(cluster, namespace, "SELECT word FROM words") == "kept"

    # Back again, while both are well; the former primary becomes the standby of its standby.
    sql(cluster, namespace, "INSERT INTO words VALUES ('since')")
    promote(cluster, namespace, "postgresql-0")
    assert sql(cluster, namespace, "SELECT string_agg(word, ' ' ORDER BY word) FROM words") == "kept since"
    assert "takes writes" not in promote(cluster, namespace, "postgresql-0"), "done once is done"

    # Promoted by hand, with nobody made sure of: it acknowledges nothing, and neither loses what it has nor copies it.
    cluster.kubectl("-n", namespace, "exec", "postgresql-1", "--", "sh", "-c", 'pg_ctl promote --wait -D "$PGDATA"')
    local = f"postgresql://postgres:{RIGHT}@/openbourse?host=/run/postgresql"
    write = ("timeout", "3", "psql", local, "-c", "INSERT INTO words VALUES ('never')")
    with pytest.raises(CommandFailed, match="exit code 124"):
        cluster.kubectl("-n", namespace, "exec", "postgresql-1", "--", *write)
    cluster.kubectl("-n", namespace, "delete", "pod", "postgresql-1", "--grace-period=0", "--force")
    logs = ("logs", "postgresql-1", "--tail=1")
    eventually(lambda: "and are kept" in cluster.kubectl("-n", namespace, *logs), SERVED_S)


def test_a_standby_that_is_not_ready_is_not_promoted(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(AssertionError, match="postgresql-1 is not ready"):
        promote(cluster, namespace, "postgresql-1")
    with pytest.raises(CommandFailed, match="NotFound"):
        cluster.kubectl("-n", namespace, "get", "configmap", "postgresql-primary")
