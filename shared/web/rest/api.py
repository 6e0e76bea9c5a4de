"""The routes of an API: every endpoint, the OpenAPI document, and refusals of all else below its prefix."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from shared.access.endpoints import Endpoint
from shared.core.errors import NotFound
from shared.web import problem_responses
from shared.web.http_app import MethodNotAllowed
from shared.web.literal_routes import LiteralFirst
from shared.web.rest import cors, openapi
from shared.web.rest.api_realms import TENANT_API, ApiRealm
from shared.web.rest.api_route import ROUTE_BY_REALM, ApiRoute
from shared.web.rest.api_versions import RequestedVersion

DOCUMENT_PATH = "/openapi.json"
Handler = Callable[[Request], Awaitable[Response]]


class AnyMethod:
    """An ASGI app of a handler: a route of a function has the methods that it names, and of an app all there are."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._handle(Request(scope, receive))
        await response(scope, receive, send)


def build_routes(realm: ApiRealm = TENANT_API) -> list[BaseRoute]:
    """Every endpoint, the document, and a refusal of other methods and other addresses."""

    async def show_document(_: Request) -> Response:
        return JSONResponse(build_document(realm), headers={"cache-control": "public, max-age=300"})

    async def refuse_unknown_address(_: Request) -> Response:
        """The same for all: the address is not repeated."""
        refusal = NotFound("There is no such address.", f"Compare it with {realm.prefix}{DOCUMENT_PATH}.")
        refusal.headers = RequestedVersion().list_headers()
        raise refusal

    methods_by_path = {DOCUMENT_PATH: {"GET"}}
    for endpoint in realm.endpoints:
        methods_by_path.setdefault(endpoint.path, set()).add(endpoint.method)
    return [
        Route(f"{realm.prefix}{DOCUMENT_PATH}", show_document, methods=["GET"]),
        *build_router(realm).routes,
        *(
            LiteralFirst(realm.prefix + path, AnyMethod(_build_refusal_of_others(realm, methods)))
            for path, methods in methods_by_path.items()
        ),
        Route(realm.prefix + "{rest:path}", AnyMethod(refuse_unknown_address)),
    ]


def build_router(realm: ApiRealm) -> APIRouter:
    """Raises RuntimeError before the manifests are loaded. Its routes carry their endpoints."""
    if not realm.endpoints:
        raise RuntimeError("shared.modules.load() has to be called before the API is built")
    router = APIRouter(prefix=realm.prefix, route_class=ROUTE_BY_REALM[realm.name])
    for endpoint in realm.endpoints:
        _add_route(router, endpoint)
    return router


def _add_route(router: APIRouter, endpoint: Endpoint) -> None:
    operation_id = endpoint.handler.__name__
    router.add_api_route(
        endpoint.path,
        endpoint.handler,
        methods=[endpoint.method],
        status_code=endpoint.status,
        operation_id=operation_id,
        summary=endpoint.summary,
        **openapi.describe_operation(endpoint),
    )
    _note_endpoint(router, endpoint)
    if endpoint.method == "GET":
        router.add_api_route(
            endpoint.path,
            endpoint.handler,
            methods=["HEAD"],
            status_code=endpoint.status,
            operation_id=operation_id,
            include_in_schema=False,
        )
        _note_endpoint(router, endpoint)


def _note_endpoint(router: APIRouter, endpoint: Endpoint) -> None:
    """At the route that was added last."""
    route = router.routes[-1]
    assert isinstance(route, ApiRoute)
    route.declared = endpoint


def _build_refusal_of_others(realm: ApiRealm, methods: set[str]) -> Handler:
    allowed = ", ".join(sorted({*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))

    async def refuse(request: Request) -> Response:
        if request.method == "OPTIONS":
            response = await cors.answer_preflight(request, allowed, has_origins=realm.has_origins)
        else:
            refusal = MethodNotAllowed(f"This address accepts {allowed}.")
            response = problem_responses.to_response(request.scope, refusal)
            response.headers["allow"] = allowed
        response.headers.update(RequestedVersion().list_headers())
        return response

    return refuse


@cache
def build_document(realm: ApiRealm = TENANT_API) -> dict[str, Any]:
    """OpenAPI 3.1."""
    return openapi.build_document(realm, build_router(realm))
