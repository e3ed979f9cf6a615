"""Questions about the objects of Kubernetes: is it serving, is it done. Answers are sentences where they are no."""

from openbourse.contracts.apiserver import Object

_DO_NOT_START = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)


def missing_pods(workload: Object | None) -> str:
    """Why a StatefulSet or Deployment does not serve yet with its present template; empty when it does."""
    if workload is None:
        return "is not there yet"
    status, generation = workload.get("status", {}), workload["metadata"].get("generation", 0)
    wanted = workload["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < generation:
        return "is being changed"
    if status.get("updatedReplicas", 0) < wanted:
        return f"has {status.get('updatedReplicas', 0)} of {wanted} pods of its present template"
    if status.get("readyReplicas", 0) < wanted:
        return f"has {status.get('readyReplicas', 0)} of {wanted} pods ready"
    return ""


def why_it_does_not_run(pod: Object) -> str:
    """In the words of the kubelet or the scheduler; empty: it runs, or will as far as anybody knows."""
    if why := why_it_is_not_placed(pod):
        return why
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _DO_NOT_START:
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    return ""


def why_it_is_not_placed(pod: Object) -> str:
    """In the scheduler's words; empty: it is on a node, or was not looked at yet."""
    for entry in pod.get("status", {}).get("conditions", []):
        if entry.get("type") == "PodScheduled" and entry.get("reason") == "Unschedulable":
            return f"Unschedulable: {entry.get('message', '')}"
    return ""


def job_condition(job: Object | None) -> str:
    """Complete, Failed, or empty while it runs or is not there."""
    entries = (job or {}).get("status", {}).get("conditions", [])
    true = {entry["type"] for entry in entries if entry.get("status") == "True"}
    return next((name for name in ("Complete", "Failed") if name in true), "")
