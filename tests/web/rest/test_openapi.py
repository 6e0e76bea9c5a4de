"""The OpenAPI document says what the API accepts and answers: errors, headers, examples and texts."""

from functools import cache
from typing import Any

import pytest
from fastapi.encoders import jsonable_encoder
from fastapi.openapi.models import OpenAPI
from pydantic import TypeAdapter

from shared.access.endpoints import ENDPOINTS, OPERATOR_ENDPOINTS, ApiInput, Endpoint
from shared.core import errors
from shared.core.errors import DomainError
from shared.web.rest import api, problems
from shared.web.rest.api_realms import OPERATOR_API, TENANT_API, ApiRealm

REALMS = {realm.name: realm for realm in (TENANT_API, OPERATOR_API)}
ALL_ENDPOINTS = [*ENDPOINTS, *OPERATOR_ENDPOINTS]
each_realm = pytest.mark.parametrize("realm", REALMS.values(), ids=REALMS)


@cache
def get_document(realm_name: str) -> dict[str, Any]:
    return api.build_document(REALMS[realm_name])


def get_operation(endpoint: Endpoint) -> dict[str, Any]:
    path = f"{REALMS[endpoint.realm].prefix}{endpoint.path}"
    operation: dict[str, Any] = get_document(endpoint.realm)["paths"][path][endpoint.method.lower()]
    return operation


def name(endpoint: Endpoint) -> str:
    return f"{endpoint.realm} {endpoint.handler.__name__}"


def list_errors(kind: type[DomainError]) -> set[type[DomainError]]:
    return {kind}.union(*map(list_errors, kind.__subclasses__()))


@each_realm
def test_document_is_one_of_version_3_1_with_every_endpoint(realm: ApiRealm) -> None:
    document = get_document(realm.name)
    OpenAPI.model_validate(document)
    assert document["openapi"].startswith("3.1")
    operation_ids = [get_operation(endpoint)["operationId"] for endpoint in realm.endpoints]
    assert sorted(operation_ids) == sorted(set(operation_ids))


def test_every_status_of_an_error_has_a_text_and_an_example() -> None:
    statuses = {kind.status for kind in list_errors(DomainError)} | set(errors.STATUS_BY_REASON.values())
    assert statuses <= problems.DESCRIPTIONS.keys()
    assert problems.REASONS.keys() == problems.DESCRIPTIONS.keys()
    for status in problems.DESCRIPTIONS:
        problems.Problem.model_validate(problems.build_example(status))


@pytest.mark.parametrize("endpoint", ALL_ENDPOINTS, ids=name)
def test_examples_of_an_operation_are_valid(endpoint: Endpoint) -> None:
    operation, annotations = get_operation(endpoint), endpoint.handler.__annotations__
    for kind in annotations.values():
        if isinstance(kind, type) and issubclass(kind, ApiInput):
            TypeAdapter(kind).validate_python(
                operation["requestBody"]["content"]["application/json"]["example"]
            )
    answer = operation["responses"][str(endpoint.status)]
    if annotations["return"] is not None:
        example = answer["content"]["application/json"]["example"]
        parsed = TypeAdapter(annotations["return"]).validate_python(example)
        assert jsonable_encoder(parsed) == example


@pytest.mark.parametrize("endpoint", ALL_ENDPOINTS, ids=name)
def test_operation_documents_its_headers(endpoint: Endpoint) -> None:
    operation = get_operation(endpoint)
    parameters = {reference.get("$ref", "").rpartition("/")[2] for reference in operation["parameters"]}
    assert "Bulkhead-Version" in parameters
    assert ("If-Match" in parameters) == ("428" in operation["responses"])
    assert ("Idempotency-Key" in parameters) == (endpoint.method != "GET")
    for status, response in operation["responses"].items():
        assert {"Bulkhead-Version", "X-Request-Id"} <= response["headers"].keys()
        assert ("Retry-After" in response["headers"]) == (status in ("429", "503"))


@each_realm
def test_every_tag_has_a_sentence(realm: ApiRealm) -> None:
    texts = {tag["name"]: tag["description"] for tag in get_document(realm.name)["tags"]}
    used = {tag for endpoint in realm.endpoints for tag in get_operation(endpoint)["tags"]}
    assert texts.keys() == used
    assert [tag for tag, text in texts.items() if not text.endswith(".")] == []


@each_realm
def test_every_text_of_an_answer_has_an_example(realm: ApiRealm) -> None:
    fields = [
        f"{schema_name}.{field_name}"
        for schema_name, schema in get_document(realm.name)["components"]["schemas"].items()
        for field_name, field in schema.get("properties", {}).items()
        if field.get("type") == "string" and not {"enum", "examples", "format"} & field.keys()
    ]
    assert fields == []
