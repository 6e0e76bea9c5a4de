"""The Python client of the API, as one typed module, rendered from the OpenAPI document. It needs only httpx."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shared.web.rest import file_bodies

Json = Any  # any part of the document
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
REFERENCE, LINE_LENGTH = "#/components/schemas/", 110
HEADER = '''"""Typed client of the Bulkhead API. Written by `bulkhead docs client` from the OpenAPI document; a test compares.

Copy this file. It needs Python 3.11 and httpx. Every method raises ApiError for a refusal, and httpx.HTTPError without
an answer. Requests are sent again after 429 and 503, each under one idempotency key, so that they have one effect.
"""

from __future__ import annotations

import time
import uuid
from types import TracebackType
from typing import Any, Literal, NotRequired, Self, TypedDict
from urllib.parse import quote

import httpx

API_VERSION = "{version}"
RETRIED_STATUSES = (429, 503)
MAX_WAIT_SECONDS = 60.0  # that one answer may ask for


class ApiError(Exception):
    """A refusal. `problem`: with the stable `reason`, what happened and what to do next."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(f"{{problem['reason']}}: {{problem['detail']}} {{problem['next_step']}}")
'''
CLIENT = '''
class Bulkhead:
    """`key`: as in bk_live_…. `base_url`: of your organisation's app. `max_attempts`: of one request."""

    def __init__(self, key: str, *, base_url: str, timeout: float = 30.0, max_attempts: int = 3) -> None:
        headers = {"authorization": f"Bearer {key}", "bulkhead-version": API_VERSION}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout)
        self._max_attempts = max_attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: object = None,
        content: bytes | None = None,
        version: int | None = None,
    ) -> Any:
        headers = {} if method == "GET" else {"idempotency-key": str(uuid.uuid4())}
        if version is not None:
            headers["if-match"] = f'"{version}"'
        parameters = {name: value for name, value in (query or {}).items() if value is not None}
        for attempt in range(self._max_attempts):
            answer = self._http.request(
                method, path, params=parameters, json=body, content=content, headers=headers
            )
            is_last = attempt == self._max_attempts - 1
            if answer.status_code not in RETRIED_STATUSES or is_last:
                break
            time.sleep(min(float(answer.headers.get("retry-after", 1)), MAX_WAIT_SECONDS))
        if answer.is_error:
            raise ApiError(answer.json())
        return answer.json() if answer.content else None
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    type: str
    is_optional: bool = False

    @property
    def declaration(self) -> str:
        return f"{self.name}: {self.type} | None = None" if self.is_optional else f"{self.name}: {self.type}"


def render_client(document: dict[str, Json]) -> str:
    """The module. `document`: OpenAPI 3.1."""
    schemas = document["components"]["schemas"]
    parts = [HEADER.format(version=document["info"]["version"])]
    choices = {name: schema for name, schema in schemas.items() if "enum" in schema}
    parts += [_render_choices(name, schema) for name, schema in sorted(choices.items())]
    parts += [_render_class(name, schema) for name, schema in sorted(schemas.items()) if name not in choices]
    methods = [
        _render_method(path, method, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return "\n".join([*parts, CLIENT + "\n" + "\n".join(methods)])


def _render_choices(name: str, schema: dict[str, Json]) -> str:
    """On one line, on three where one would be too long, or with a line for each choice."""
    line = f"{name} = {_render_type(schema)}"
    if len(line) > LINE_LENGTH:
        line = line.replace("Literal[", "Literal[\n    ").replace("]", "\n]")
    if max(map(len, line.splitlines())) > LINE_LENGTH:
        line = line.replace(", ", ",\n    ").replace("\n]", ",\n]")
    return f"\n{line}\n"


def _render_class(name: str, schema: dict[str, Json]) -> str:
    required = schema.get("required", ())
    fields = [
        f"    {field}: {_render_type(kind) if field in required else f'NotRequired[{_render_type(kind)}]'}"
        for field, kind in schema["properties"].items()
    ]
    return "\n".join(["", f"class {name}(TypedDict):", *fields, ""])


def _render_type(schema: dict[str, Json]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REFERENCE)
    if "anyOf" in schema:
        return " | ".join(_render_type(kind) for kind in schema["anyOf"])
    if "enum" in schema:
        return f"Literal[{', '.join(map(_quote, schema['enum']))}]"
    kind = schema.get("type")
    if kind == "array":
        return f"list[{_render_type(schema['items'])}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {_render_type(values) if isinstance(values, dict) and values else 'Any'}]"
    return SCALARS[str(kind)] if kind else "Any"


def _quote(value: str) -> str:
    return f'"{value}"'


def _render_method(path: str, method: str, operation: dict[str, Json]) -> str:
    declared, named = list(_list_positional(operation)), list(_list_named(operation))
    lines = ["        self,", *(f"        {parameter.declaration}," for parameter in declared)]
    lines += ["        *,"] * bool(named) + [f"        {parameter.declaration}," for parameter in named]
    answer = _render_answer(operation)
    sent = list(_list_arguments(path, method, operation))
    call = ["self._send(", *(f"            {argument}," for argument in sent), "        )"]
    result = (
        [f"        answer: {answer} = {call[0]}", *call[1:], "        return answer"]
        if answer != "None"
        else [f"        {call[0]}", *call[1:]]
    )
    doc = f'        """{operation["summary"]}. {operation["description"]}"""'
    return "\n".join(
        [f"    def {operation['operationId']}(", *lines, f"    ) -> {answer}:", doc, *result, ""]
    )


def _list_positional(operation: dict[str, Json]) -> Iterator[Parameter]:
    for parameter in operation.get("parameters", ()):
        if parameter.get("in") == "path":
            yield Parameter(name=parameter["name"], type="str")
    if _takes_file(operation):
        yield Parameter(name="content", type="bytes")
    elif "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        yield Parameter(name="body", type=_render_type(schema))


def _list_named(operation: dict[str, Json]) -> Iterator[Parameter]:
    if _takes_version(operation):
        yield Parameter(name="version", type="int")
    for parameter in operation.get("parameters", ()):
        if parameter.get("in") == "query":
            kinds = parameter["schema"].get("anyOf", [parameter["schema"]])
            types = [_render_type(kind) for kind in kinds if kind.get("type") != "null"]
            is_optional = not parameter.get("required", False)
            yield Parameter(name=parameter["name"], type=" | ".join(types), is_optional=is_optional)


def _list_arguments(path: str, method: str, operation: dict[str, Json]) -> Iterator[str]:
    yield _quote(method.upper())
    address = re.sub(r"{(\w+)}", r"{quote(\1, safe='')}", path)
    yield f'f"{address}"' if address != path else f'"{path}"'
    names = [item["name"] for item in operation.get("parameters", ()) if item.get("in") == "query"]
    if names:
        pairs = "".join(f"                {_quote(name)}: {name},\n" for name in names)
        yield f"query={{\n{pairs}            }}"
    if "requestBody" in operation:
        yield "content=content" if _takes_file(operation) else "body=body"
    if _takes_version(operation):
        yield "version=version"


def _takes_version(operation: dict[str, Json]) -> bool:
    return any(item.get("$ref", "").endswith("/If-Match") for item in operation.get("parameters", ()))


def _takes_file(operation: dict[str, Json]) -> bool:
    return file_bodies.MEDIA_TYPE in operation.get("requestBody", {}).get("content", {})


def _render_answer(operation: dict[str, Json]) -> str:
    responses = operation["responses"]
    status = min(responses, key=int)
    content = responses[status].get("content", {}).get("application/json")
    return _render_type(content["schema"]) if content else "None"
