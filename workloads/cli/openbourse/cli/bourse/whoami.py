"""Who the API server takes us for. It asks, and changes nothing."""

from openbourse.contracts.apiserver import ApiServer, Resource

_REVIEW = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")


async def user_name(api: ApiServer) -> str:
    """As an audit log has it. Raises ApiError."""
    review = await api.create(_REVIEW, {"metadata": {}})
    return str(review["status"]["userInfo"]["username"])
