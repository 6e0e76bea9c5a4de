"""Endpoints of the two REST APIs, as modules declare them in their manifests. `shared.web.rest` serves them.

Those of tenants are below `/api/v1` on the tenant app, those of operators below `/api/operator/v1` on the admin app.

A handler is a FastAPI operation: its parameters and its return annotation are what the API accepts and answers. It parses,
calls one service and serialises.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from shared.access.actions import Action, OperatorAction
from shared.access.file_kinds import FileType
from shared.core import registry
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import DomainError
from shared.core.paging import MAX_CURSOR_LENGTH, MAX_PAGE_SIZE
from shared.core.registry import Module

Item = TypeVar("Item")
MAX_BODY_BYTES = 100_000
# Runs in a transaction of its own before the handler's, with the body as it was sent, of any type. It authorises what it
# returns, which is awaited outside of any transaction.
Prepare = Callable[[Ctx, Any], Awaitable[Callable[[], Awaitable[None]] | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    method: str
    path: str  # below the prefix of its API
    handler: Callable[..., Any]
    action: Action | OperatorAction | None  # that its service requires; None where any key may ask
    summary: str  # one sentence in the imperative
    status: int = 200
    max_body_bytes: int = MAX_BODY_BYTES
    accepts_any_number: bool = False  # the service refuses NaN and numbers out of range, one by one
    errors: tuple[int, ...] = ()  # statuses beside those that follow from method, path and parameters
    realm: Literal["tenant", "operator"] = "tenant"
    prepare: Prepare | None = None  # what takes time that no transaction may take, as a look-up of a host


class ApiInput(BaseModel):
    """A body: unknown fields and converted types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ApiOutput(BaseModel):
    """An answer. Its field `secret` is never kept: a request that is repeated gets null there."""

    model_config = ConfigDict(from_attributes=True, json_schema_serialization_defaults_required=True)


class ApiPage(ApiOutput, Generic[Item]):
    items: list[Item]
    next: str | None = Field(
        default=None, description="`after` of the next page; null on the last one", examples=[None]
    )

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """As the OpenAPI document names it. `params`: types, as pydantic declares them."""
        return f"{params[0].__name__}Page"


SECRET_FIELD = "secret"


class PreconditionMissing(DomainError):
    """A change of something with a version, without the version that the client has seen."""

    status = 428
    default_reason = "precondition_missing"


# Coroutines: FastAPI runs other dependencies in threads, which takes longer than all of these.
async def get_ctx(request: Request) -> Ctx:
    """The context that the route has entered."""
    ctx: Ctx = request.state.ctx
    return ctx


async def get_operator_ctx(request: Request) -> OperatorCtx:
    """The context of an operator that the route has entered."""
    octx: OperatorCtx = request.state.ctx
    return octx


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFile:
    """A file that has arrived whole and is stored, as `shared.files.uploads` finishes it."""

    file_id: str
    type: FileType
    size: int  # bytes
    sha256: str  # in hex


async def get_received_file(request: Request) -> ReceivedFile:
    """What the route has received before it entered."""
    file: ReceivedFile = request.state.received_file
    return file


async def parse_if_match(request: Request) -> int:
    """The version in `If-Match: "3"`. Raises PreconditionMissing."""
    text = request.headers.get("if-match", "").strip()
    number = text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else ""
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise PreconditionMissing(
            "This change needs the version that you have read.",
            'Send the ETag of your last read as If-Match, such as "3".',
        )
    return int(number)


def set_etag(response: Response, version: int) -> None:
    response.headers["etag"] = f'"{version}"'


ApiCtx = Annotated[Ctx, Depends(get_ctx)]
ApiOperatorCtx = Annotated[OperatorCtx, Depends(get_operator_ctx)]
ApiFile = Annotated[ReceivedFile, Depends(get_received_file)]
IfMatch = Annotated[int, Depends(parse_if_match)]
After = Annotated[str, Query(max_length=MAX_CURSOR_LENGTH, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="Items on one page")]

ENDPOINTS: list[Endpoint] = []  # of all manifests, of tenants
OPERATOR_ENDPOINTS: list[Endpoint] = []


def takes_body(endpoint: Endpoint) -> bool:
    return any(
        isinstance(annotation, type) and issubclass(annotation, ApiInput)
        for annotation in endpoint.handler.__annotations__.values()
    )


def takes_file(endpoint: Endpoint) -> bool:
    """Whether its body is the bytes of a file instead of JSON."""
    return ApiFile in endpoint.handler.__annotations__.values()


def takes_version(endpoint: Endpoint) -> bool:
    """Whether it needs the version that the client has read, in If-Match."""
    return IfMatch in endpoint.handler.__annotations__.values()


@registry.each_module
def _add_endpoints(module: Module) -> None:
    for realm, endpoints in (("tenant", ENDPOINTS), ("operator", OPERATOR_ENDPOINTS)):
        declared = {(endpoint.method, endpoint.path) for endpoint in endpoints}
        endpoints.extend(
            endpoint
            for endpoint in module.endpoints
            if endpoint.realm == realm and (endpoint.method, endpoint.path) not in declared
        )
