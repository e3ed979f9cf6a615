"""The kinds of objects that the operator makes, and where the API server keeps them."""

from openbourse.contracts.apiserver import Resource

SECRET = Resource("", "v1", "secrets", "Secret")
CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap")
SERVICE = Resource("", "v1", "services", "Service")
SERVICE_ACCOUNT = Resource("", "v1", "serviceaccounts", "ServiceAccount")
VOLUME_CLAIM = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
POD = Resource("", "v1", "pods", "Pod")
STATEFUL_SET = Resource("apps", "v1", "statefulsets", "StatefulSet")
DEPLOYMENT = Resource("apps", "v1", "deployments", "Deployment")
NODE = Resource("", "v1", "nodes", "Node")
EVENT = Resource("", "v1", "events", "Event")
JOB = Resource("batch", "v1", "jobs", "Job")
DISRUPTION_BUDGET = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICY = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
ROLE = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDING = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
# Of cert-manager, where it is installed.
CERTIFICATE = Resource("cert-manager.io", "v1", "certificates", "Certificate")
# Only read: the chart makes them.
ADMISSION_POLICY = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy"
)
ADMISSION_POLICY_BINDING = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"
)

# Found by list and label. Secrets are read by name alone, so that nobody may list them.
LISTED = (
    CONFIG_MAP,
    SERVICE,
    SERVICE_ACCOUNT,
    VOLUME_CLAIM,
    POD,
    STATEFUL_SET,
    DEPLOYMENT,
    JOB,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    ROLE,
    ROLE_BINDING,
)
