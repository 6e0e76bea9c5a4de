"""The errors of the API, for its OpenAPI document."""

from pydantic import BaseModel, Field

from shared.access.endpoints import Endpoint, takes_body, takes_version


class Difference(BaseModel):
    label: str = Field(examples=["Name"])
    current: str = Field(examples=["Auditor"])
    submitted: str = Field(examples=["Reader"])


class Problem(BaseModel):
    """application/problem+json (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Refused"])
    status: int = Field(examples=[403])
    reason: str = Field(description="Stable, for programs", examples=["missing_scope"])
    detail: str = Field(examples=["This API key doesn’t have the scope member:read."])
    next_step: str = Field(examples=["Add the scope to the key, or use another key."])
    request_id: str = Field(examples=["req_01jz"])
    decision_id: str | None = Field(
        default=None, description="Of a refusal that was recorded, for GET /decisions/{decision_id}"
    )
    fields: dict[str, str] | None = Field(default=None, description="A sentence for each wrong field")
    version: int | None = Field(default=None, description="Of the stored object, after 412")
    differences: list[Difference] | None = Field(
        default=None, description="Stored and submitted values, after 412"
    )
    versions: list[str] | None = Field(default=None, description="Of the API, after an unknown one")


DESCRIPTIONS = {
    400: "The request can’t be read.",
    401: "The key is missing, unknown, revoked or expired.",
    402: "The plan doesn’t include it, or a payment is overdue.",
    403: "The key or its holder doesn’t have permission for this.",
    404: "It doesn’t exist, or belongs to another organisation.",
    405: "The address doesn’t accept this method. Allow names those that it accepts.",
    408: "The body took too long to arrive.",
    409: "The present state doesn’t allow it.",
    412: "It was changed after you had read it.",
    413: "The body, or the file, is too large.",
    415: "The body isn’t JSON, or the file is of a type that isn’t accepted.",
    422: "A field isn’t accepted.",
    428: "If-Match is missing.",
    429: "Too many requests. Retry-After says when to try again.",
    500: "An error of ours.",
    503: "A part that we need is away for the moment.",
}
REASONS = {  # an example of each status
    400: ("BadBody", "bad_json"),
    401: ("InvalidKey", "key_revoked"),
    402: ("Refused", "not_in_plan"),
    403: ("Refused", "missing_scope"),
    404: ("NotFound", "not_found"),
    405: ("MethodNotAllowed", "wrong_method"),
    408: ("BodyTimedOut", "timed_out"),
    409: ("Conflict", "conflict"),
    412: ("PreconditionFailed", "changed_meanwhile"),
    413: ("BodyTooLarge", "body_too_large"),
    415: ("UnsupportedMediaType", "unsupported_media_type"),
    422: ("Invalid", "invalid"),
    428: ("PreconditionMissing", "precondition_missing"),
    429: ("TooManyCalls", "rate_limited"),
    500: ("InternalError", "bug"),
    503: ("Unavailable", "unavailable"),
}
EVERY_ENDPOINT = (400, 401, 402, 403, 408, 413, 422, 429, 500, 503)


def list_statuses(endpoint: Endpoint) -> list[int]:
    """Every error that the endpoint can answer with."""
    statuses = {*EVERY_ENDPOINT, *endpoint.errors}
    if endpoint.realm == "operator":  # operators pay for nothing
        statuses.remove(402)
    if endpoint.method != "GET":
        statuses.add(409)  # also while an idempotency key is in use
    if "{" in endpoint.path:
        statuses.add(404)
    if takes_body(endpoint):
        statuses.add(415)
    if takes_version(endpoint):
        statuses |= {412, 428}
    return sorted(statuses)


def build_example(status: int) -> dict[str, object]:
    title, reason = REASONS[status]
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "reason": reason,
        "detail": DESCRIPTIONS[status],
        "next_step": "Correct the request, then send it again.",
        "request_id": "req_01jz",
    }
