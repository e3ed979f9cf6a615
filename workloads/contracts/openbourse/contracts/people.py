"""How a person asks the operator for a certificate: a CertificateSigningRequest, and the right that each role is.

The API server writes into the request who asks. Nothing here asks anybody.
"""

from openbourse.contracts.apiserver import Resource
from openbourse.contracts.resources.meta import GROUP
from openbourse.contracts.roles import Role

SIGNER = f"{GROUP}/person"
REQUESTS = Resource("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest")
USAGES = frozenset({"client auth", "digital signature"})
# Annotations of a request: of which exchange, and as what.
NAMESPACE = f"{GROUP}/namespace"
EXCHANGE = f"{GROUP}/exchange"
ROLE = f"{GROUP}/role"
# What a Role of Kubernetes grants on `exchanges`, by name or on all of a namespace.
VERBS = {Role.VIEWER: "inspect", Role.OPERATOR: "operate", Role.ADMIN: "administer"}
