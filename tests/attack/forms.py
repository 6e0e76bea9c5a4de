"""What a handler takes, read from its code: names of arguments, and of the fields of the form it reads."""

import inspect
import re
from typing import Any

from shared.ui.forms import Form


def arguments(handler: Any) -> dict[str, Any]:
    """`{"membership_id": "str"}`, or `{"payload": ["email", "role"]}` for a form."""
    plain = inspect.unwrap(handler)
    shapes: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(plain).parameters.items())[1:]:
        kind = str(parameter.annotation)
        shapes[name] = sorted(_form(plain).model_fields) if "dict" in kind else _word(parameter.annotation)
    return shapes


def _word(annotation: Any) -> str:
    return getattr(annotation, "__name__", str(annotation))


def _form(handler: Any) -> type[Form]:
    """Raises AssertionError for a handler that takes a form and reads none: nothing would check what it gets."""
    names = re.findall(r"(\w+)(\(\))?\.read\(", inspect.getsource(handler))
    assert names, f"{handler.__qualname__} takes a form and does not read it strictly"
    name, is_built = names[0]  # a form whose fields the manifests decide is built by a function
    kind = handler.__globals__[name]() if is_built else handler.__globals__[name]
    assert issubclass(kind, Form)
    return kind
