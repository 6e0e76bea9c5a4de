"""The router of `/api/v1` and its OpenAPI document."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from shared.access.endpoints import ENDPOINTS, Endpoint
from shared.core.config import settings
from shared.web import problem_responses
from shared.web.http_app import MethodNotAllowed
from shared.web.rest import cors
from shared.web.rest.api_route import ApiRoute
from shared.web.rest.problems import Problem, describe_errors

PREFIX = "/api/v1"
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
TITLE, VERSION = "Bulkhead API", "1"
DESCRIPTION = (
    "Send your key as `Authorization: Bearer bk_live_…`. Lists are pages: `next` is the `after` of the next one."
    " Errors are problem+json with a stable `reason`, what happened and what to do next."
)


def build_routes() -> list[BaseRoute]:
    """Every endpoint, the document, and a refusal of other methods at the same addresses."""
    routes = build_router().routes
    methods_by_path: dict[str, set[str]] = {}
    for endpoint in ENDPOINTS:
        methods_by_path.setdefault(PREFIX + endpoint.path, set()).add(endpoint.method)
    return [
        DOCUMENT_ROUTE,
        *routes,
        *(
            Route(path, _build_refusal_of_others(methods), methods=sorted(METHODS - methods))
            for path, methods in methods_by_path.items()
        ),
    ]


def _build_refusal_of_others(methods: set[str]) -> Callable[[Request], Awaitable[Response]]:
    allowed = ", ".join(sorted(methods))

    async def refuse(request: Request) -> Response:
        if request.method == "OPTIONS":
            return await cors.answer_preflight(request, allowed)
        refusal = MethodNotAllowed(f"This address accepts {allowed}.")
        response = problem_responses.to_response(request.scope, refusal)
        response.headers["allow"] = allowed
        return response

    return refuse


def build_router() -> APIRouter:
    """Raises RuntimeError before the manifests are loaded."""
    if not ENDPOINTS:
        raise RuntimeError("shared.modules.load() has to be called before the API is built")
    router = APIRouter(prefix=PREFIX, route_class=ApiRoute)
    for endpoint in ENDPOINTS:
        router.add_api_route(
            endpoint.path,
            endpoint.handler,
            methods=[endpoint.method],
            status_code=endpoint.status,
            summary=endpoint.summary,
            description=_describe_action(endpoint),
            operation_id=endpoint.handler.__name__,
            tags=[endpoint.path.split("/")[1]],
            responses=describe_errors(endpoint),
        )
    return router


def _describe_action(endpoint: Endpoint) -> str:
    return f"Needs the scope `{endpoint.action.permission}`." if endpoint.action else "Needs any key."


@cache
def build_document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    app = FastAPI()
    app.include_router(build_router())
    document = get_openapi(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        routes=app.routes,
        servers=[{"url": settings().tenant_url}],
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which we don't answer
        schemas.pop(name, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "bk_live_…"}}
    document["security"] = [{"key": []}]
    return document


async def show_document(_: Request) -> Response:
    return JSONResponse(build_document(), headers={"cache-control": "public, max-age=300"})


DOCUMENT_ROUTE = Route(f"{PREFIX}/openapi.json", show_document, methods=["GET"])
