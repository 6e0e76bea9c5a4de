"""The OpenAPI 3.1 document of the API, from the endpoints' annotations: headers, errors and examples are added here."""

import inspect
import json
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from shared.access.endpoints import Endpoint, takes_file, takes_version
from shared.web.rest import api_versions, examples, file_bodies, problems
from shared.web.rest.api_realms import ApiRealm

DONE = {200: "Done.", 201: "Created.", 202: "Accepted.", 204: "Done, without a body."}
Json = Any  # any part of the document

HEADERS: dict[str, Json] = {  # of answers
    "Bulkhead-Version": {
        "description": "Version of the API that answered",
        "schema": {"type": "string", "format": "date"},
        "example": api_versions.CURRENT,
    },
    "X-Request-Id": {
        "description": "Name it when you ask for support",
        "schema": {"type": "string"},
        "example": "req_01jz",
    },
    "Decision-Id": {
        "description": "The record of what allowed a write, for GET /decisions/{decision_id}",
        "schema": {"type": "string"},
        "example": "dcn_01jz",
    },
    "RateLimit": {
        "description": "Requests that are left, and the seconds until there are more",
        "schema": {"type": "string"},
        "example": '"key";r=599;t=60, "organisation";r=2999;t=60',
    },
    "RateLimit-Policy": {
        "description": "Requests of a key and of all keys of the organisation, in a window of seconds",
        "schema": {"type": "string"},
        "example": '"key";q=600;w=60, "organisation";q=3000;w=60',
    },
    "Retry-After": {
        "description": "Seconds to wait",
        "schema": {"type": "integer", "minimum": 1},
        "example": 5,
    },
    "ETag": {
        "description": "Version of the object, for If-Match",
        "schema": {"type": "string"},
        "example": '"1"',
    },
    "Idempotency-Replayed": {
        "description": "`true` where the answer was given before, under the same key",
        "schema": {"type": "string", "enum": ["true"]},
        "example": "true",
    },
    "Deprecation": {
        "description": "When this version of the API was deprecated (RFC 9745)",
        "schema": {"type": "string"},
        "example": "@1830254400",
    },
    "Sunset": {
        "description": "When this version of the API ends (RFC 8594)",
        "schema": {"type": "string"},
        "example": "Fri, 31 Dec 2027 00:00:00 GMT",
    },
}
PARAMETERS: dict[str, Json] = {
    "Bulkhead-Version": {
        "name": "Bulkhead-Version",
        "in": "header",
        "description": "Version of the API that you expect; without it, the newest",
        "schema": {"type": "string", "enum": [api_versions.CURRENT]},
        "example": api_versions.CURRENT,
    },
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "description": "The ETag of your last read",
        "schema": {"type": "string", "pattern": '^"[0-9]{1,9}"$'},
        "example": '"1"',
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Of your choice, such as a UUID: sent again within a day, it has one effect and one answer",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
        "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
    },
}
FILE_BODY: dict[str, Json] = {
    "description": "The bytes of the file. What they are is found out, whatever Content-Type says",
    "required": True,
    "content": {
        file_bodies.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}, "example": "Any text"}
    },
}
ALWAYS, COUNTED = ("Bulkhead-Version", "X-Request-Id"), ("RateLimit", "RateLimit-Policy")
FORMER = ("Deprecation", "Sunset")
UNCOUNTED_STATUSES = (401, 402, 403)  # also of a request that was refused before it was counted
WAITING_STATUSES = (429, 503)


def describe_operation(endpoint: Endpoint) -> dict[str, Json]:
    """Arguments of `APIRouter.add_api_route`."""
    permission = endpoint.action.permission if endpoint.action else ""
    return {
        **({"openapi_extra": {"requestBody": FILE_BODY}} if takes_file(endpoint) else {}),
        "description": f"Needs the scope `{permission}`." if permission else "Any key may ask.",
        "response_description": DONE[endpoint.status],
        "tags": [get_tag(endpoint)],
        "responses": {
            status: {
                "description": problems.DESCRIPTIONS[status],
                "content": {
                    "application/problem+json": {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "example": problems.build_example(status),
                    }
                },
            }
            for status in problems.list_statuses(endpoint)
        },
    }


def get_tag(endpoint: Endpoint) -> str:
    return endpoint.path.split("/")[1]


def build_document(realm: ApiRealm, router: APIRouter) -> dict[str, Json]:
    """`router`: with the routes of all endpoints."""
    app = FastAPI()
    app.include_router(router)
    document = get_openapi(
        title=realm.title,
        version=api_versions.CURRENT,
        description=realm.description,
        routes=app.routes,
        servers=[{"url": realm.site.origin}],
        tags=[{"name": tag, "description": text} for tag, text in _describe_tags(realm).items()],
    )
    components = document["components"]
    components["schemas"] |= _build_problem_schemas()
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which we don't answer
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "bearerFormat": realm.key_example}
    }
    components["headers"], components["parameters"] = HEADERS, PARAMETERS
    document["security"] = [{"key": []}]
    for endpoint in realm.endpoints:
        operation = document["paths"][realm.prefix + endpoint.path][endpoint.method.lower()]
        _add_headers(endpoint, operation, components["schemas"])
        examples.add_examples(operation, components["schemas"])
    return _name_pages(document)


def _name_pages(document: dict[str, Json]) -> dict[str, Json]:
    """`MemberPage`, which is the title, instead of the name that a generic class gets."""
    text, schemas = json.dumps(document), document["components"]["schemas"]
    for name, schema in schemas.items():
        text = text.replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{schema["title"]}"')
    renamed: dict[str, Json] = json.loads(text)
    renamed["components"]["schemas"] = {
        schema["title"]: schema for schema in renamed["components"]["schemas"].values()
    }
    return renamed


def _describe_tags(realm: ApiRealm) -> dict[str, str]:
    """The docstring of the module whose endpoints have the tag, the first of several, by tag."""
    modules = {get_tag(endpoint): inspect.getmodule(endpoint.handler) for endpoint in realm.endpoints[::-1]}
    return {tag: inspect.getdoc(module) or "" for tag, module in sorted(modules.items())}


def _build_problem_schemas() -> dict[str, Json]:
    schema = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "Problem": schema}


def _add_headers(endpoint: Endpoint, operation: dict[str, Json], schemas: dict[str, Json]) -> None:
    names = ["Bulkhead-Version"]
    names += ["If-Match"] if takes_version(endpoint) else []
    names += ["Idempotency-Key"] if endpoint.method != "GET" else []
    references = [{"$ref": f"#/components/parameters/{name}"} for name in names]
    operation["parameters"] = [*operation.get("parameters", ()), *references]
    for text, response in operation["responses"].items():
        status, is_done = int(text), int(text) < 400
        header_names = [*ALWAYS, *FORMER, *(COUNTED if status not in UNCOUNTED_STATUSES else ())]
        header_names += ["Retry-After"] if status in WAITING_STATUSES else []
        header_names += ["ETag"] if is_done and _has_version(response, schemas) else []
        header_names += ["Decision-Id"] if is_done and endpoint.method != "GET" else []
        header_names += ["Idempotency-Replayed"] if is_done and endpoint.method != "GET" else []
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in header_names}


def _has_version(response: dict[str, Json], schemas: dict[str, Json]) -> bool:
    """Whether the answer is one object that people and programs edit."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return "version" in schemas.get(schema.get("$ref", "").rpartition("/")[2], {}).get("properties", {})
