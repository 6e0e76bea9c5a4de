"""How an action that needs a second operator is described and carried out. Manifests declare one kind for each such action.

The payload is what the first operator asks for, as strict JSON. `preview` reads what it would change now; its lines and the
payload make the digest, so that a change in between is noticed. `execute` calls the service of the action, in the
transaction of the approval.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from shared.access.actions import OperatorAction
from shared.backoffice.reasons import Reason
from shared.core import registry
from shared.core.context import OperatorCtx
from shared.core.registry import Module


class ApprovalPayload(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tenant_id: str = ""  # for which the reason is stated; "" for none


Payload = TypeVar("Payload", bound=ApprovalPayload)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewLine:
    """A value that changes, or a fact where `before` is ""."""

    label: str
    before: str = ""
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPreview:
    object_id: str
    subject: str  # name of the object
    lines: tuple[PreviewLine, ...]
    effects: tuple[PreviewLine, ...] = ()  # as of now, such as numbers of tenants; not in the digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalKind(Generic[Payload]):
    """`preview` and `execute` raise what the service raises. `execute` gets the requester's context."""

    action: OperatorAction
    payload: type[Payload]
    preview: Callable[[OperatorCtx, Payload], Awaitable[ApprovalPreview]]
    execute: Callable[[OperatorCtx, Payload, Reason], Awaitable[None]]


# By the name of the action: the ones of all manifests. Each has a payload of its own.
APPROVAL_KINDS: dict[str, ApprovalKind[Any]] = {}


@registry.each_module
def _add_kinds(module: Module) -> None:
    for kind in module.approvals:
        APPROVAL_KINDS[kind.action.name] = kind


def compute_digest(action: str, payload: ApprovalPayload, preview: ApprovalPreview) -> str:
    digested = [action, payload.model_dump(mode="json"), *map(asdict, preview.lines)]
    return hashlib.sha256(json.dumps(digested, sort_keys=True).encode()).hexdigest()
