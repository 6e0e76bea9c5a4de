"""Examples of bodies and answers in the OpenAPI document, from the examples of their fields."""

from typing import Any

Json = Any  # any part of the document
BY_TYPE: dict[str, Json] = {
    "boolean": True,
    "integer": 1,
    "number": 1.5,
    "null": None,
    "object": {},
    "string": "text",
}
BY_FORMAT = {"date-time": "2026-11-30T09:00:00Z", "date": "2026-11-30"}


def add_examples(operation: dict[str, Json], schemas: dict[str, Json]) -> None:
    """Into every content of the operation that has none."""
    contents = [operation.get("requestBody", {}).get("content", {})]
    contents += [response.get("content", {}) for response in operation["responses"].values()]
    for content in contents:
        for media_type in content.values():
            if "example" not in media_type:
                media_type["example"] = build_example(media_type["schema"], schemas)


def build_example(schema: dict[str, Json], schemas: dict[str, Json]) -> Json:
    """A value that the schema accepts."""
    if "$ref" in schema:
        return build_example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if "examples" in schema:
        return schema["examples"][0]
    if "anyOf" in schema:
        return build_example(schema["anyOf"][0], schemas)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("format") in BY_FORMAT:
        return BY_FORMAT[schema["format"]]
    if schema.get("type") == "array":
        return [build_example(schema["items"], schemas)]
    if "properties" in schema:
        return {name: build_example(field, schemas) for name, field in schema["properties"].items()}
    return BY_TYPE[schema["type"]]
