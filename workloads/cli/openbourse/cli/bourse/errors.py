"""Why a command of `kubectl bourse` does not do what was asked. Each ends it with 2 and its sentence.

NotDone
+-- NoCluster    the kubeconfig does not say where the API server is, or who asks
+-- BadHalt      what was asked for is no halt
"""


class NotDone(Exception):
    """The sentence says what is wrong, and what is allowed."""


class NoCluster(NotDone):
    """The kubeconfig does not say where the API server is, or who asks."""


class BadHalt(NotDone):
    """What was asked for is no halt."""
