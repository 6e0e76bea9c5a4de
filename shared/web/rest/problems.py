"""The errors of the API, for its OpenAPI document."""

from pydantic import BaseModel, Field

from shared.access.endpoints import Endpoint


class Problem(BaseModel):
    """application/problem+json (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Refused"])
    status: int = Field(examples=[403])
    reason: str = Field(description="Stable, for programs", examples=["missing_scope"])
    detail: str = Field(examples=["This API key doesn't have the scope member:read."])
    next_step: str = Field(examples=["Add the scope to the key, or use another key."])
    request_id: str = Field(examples=["req_01jz"])
    fields: dict[str, str] | None = Field(default=None, description="A sentence for each wrong field")


DESCRIPTIONS = {
    400: "The request can't be read.",
    401: "The key is missing, unknown, revoked or expired.",
    402: "The plan doesn't include it, or a payment is overdue.",
    403: "The key or its holder doesn't have permission for this.",
    404: "It doesn't exist, or belongs to another organisation.",
    405: "The address doesn't accept this method.",
    408: "The body took too long to arrive.",
    409: "The present state doesn't allow it.",
    412: "It was changed after you had read it.",
    413: "The body is too large.",
    415: "The body isn't JSON.",
    422: "A field isn't accepted.",
    428: "If-Match is missing.",
    429: "Too many requests. Retry-After says when to try again.",
    500: "An error of ours.",
    503: "A part that we need is away for the moment.",
}
EVERY_ENDPOINT = (400, 401, 402, 403, 408, 422, 429, 500, 503)
WITH_BODY = (413, 415)


def list_statuses(endpoint: Endpoint) -> list[int]:
    has_body = endpoint.method in ("PATCH", "POST", "PUT")
    return sorted({*EVERY_ENDPOINT, *endpoint.errors, *(WITH_BODY if has_body else ())})


def describe_errors(endpoint: Endpoint) -> dict[int | str, dict[str, object]]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": DESCRIPTIONS[status], "content": content}
        for status in list_statuses(endpoint)
    }
