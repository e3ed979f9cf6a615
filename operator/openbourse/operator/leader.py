"""Which replica of the operator works: one Lease, changed only by compare-and-set. Who loses it, ends.

This keeps two replicas from doing the same work twice; it is no fence, and need not be: whatever the operator does is
server-side apply of the same desired objects.
"""

import asyncio
import datetime
import logging
import time

from openbourse.contracts.apiserver import ApiError, ApiServer, Object, Refused, Resource
from openbourse.operator.errors import LeadershipLost

log = logging.getLogger(__name__)

LEASE = Resource("coordination.k8s.io", "v1", "leases", "Lease")
LEASE_NAME = "openbourse-operator"
DURATION_S = 15
# Older than this, the leader ends itself: well before anybody else may take over.
RENEW_WITHIN_S = 10.0
RENEW_EVERY_S = 2.0


class Leadership:
    """One replica's part in the election. `identity` is another one for each process, not for each pod."""

    def __init__(self, api: ApiServer, namespace: str, identity: str) -> None:
        self._api = api
        self._namespace = namespace
        self._identity = identity
        self._seen: tuple[str, float] | None = None
        self._lease: Object | None = None

    async def acquire(self) -> None:
        """Waits until this replica leads. A lease counts as abandoned when it stood still for its whole duration."""
        while True:
            try:
                if await self._try():
                    log.info("%s leads", self._identity)
                    return
            except ApiError as error:
                log.warning("lease: %s", error)
            await asyncio.sleep(RENEW_EVERY_S)

    async def hold(self) -> None:
        """Renews until it cannot: raises LeadershipLost."""
        renewed_at = time.monotonic()
        while time.monotonic() - renewed_at <= RENEW_WITHIN_S:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                if await self._renew():
                    renewed_at = time.monotonic()
            except ApiError as error:
                log.warning("lease: not renewed: %s %s", type(error).__name__, error)
        raise LeadershipLost(f"the lease could not be renewed for {RENEW_WITHIN_S:.0f} s")

    async def release(self) -> None:
        """Lets another replica lead at once. Best effort: without it the lease runs out."""
        try:
            if self._lease is not None and not await self._let_go(self._lease):
                # A renewal that was cut off by the end landed, or somebody set a label.
                lease = await self._api.get(LEASE, self._namespace, LEASE_NAME)
                if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
                    await self._let_go(lease)
        except ApiError as error:
            log.info("lease: not released: %s", error)

    async def _let_go(self, lease: Object) -> bool:
        lease["spec"] |= {"holderIdentity": "", "renewTime": _now()}
        return await self._claim(lease, new=False)

    async def _try(self) -> bool:
        lease = await self._api.get(LEASE, self._namespace, LEASE_NAME)
        if lease is None:
            metadata = {"name": LEASE_NAME, "namespace": self._namespace}
            return await self._claim({"metadata": metadata, "spec": self._spec(1)}, new=True)
        spec = lease.setdefault("spec", {})
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, time.monotonic())
        stood_still_s = time.monotonic() - self._seen[1]
        if spec.get("holderIdentity") and stood_still_s < spec.get("leaseDurationSeconds", DURATION_S):
            return False
        lease["spec"] = self._spec(int(spec.get("leaseTransitions") or 0) + 1)
        return await self._claim(lease, new=False)

    async def _claim(self, lease: Object, *, new: bool) -> bool:
        try:
            self._lease = await (self._api.create(LEASE, lease) if new else self._api.replace(LEASE, lease))
        except Refused as error:
            if error.is_conflict:
                return False
            raise
        return True

    async def _renew(self) -> bool:
        """A label that somebody set is no loss of leadership, it is read and tried again; another holder is."""
        assert self._lease is not None
        self._lease["spec"]["renewTime"] = _now()
        try:
            self._lease = await self._api.replace(LEASE, self._lease)
            return True
        except Refused as error:
            if not (error.is_conflict or error.is_missing):
                raise
        lease = await self._api.get(LEASE, self._namespace, LEASE_NAME)
        holder = lease["spec"].get("holderIdentity") if lease else None
        if lease is None or holder != self._identity:
            raise LeadershipLost(f"the lease is held by {holder or 'nobody'}")
        self._lease = lease
        return False

    def _spec(self, transitions: int) -> Object:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_S,
            "acquireTime": _now(),
            "renewTime": _now(),
            "leaseTransitions": transitions,
        }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
