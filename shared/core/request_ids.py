"""The request in progress: one id for all that an HTTP request, a socket event or a job does, and whom it is for.

The id is made at these three edges and never taken from the client. It travels on `Ctx`; what has no context, such as a
log record or a refusal before one, finds it here. So do traces and counters, which are made after the contexts have ended.
"""

from contextvars import ContextVar
from dataclasses import dataclass

from shared.core.context import Actor, Impersonation, Rights
from shared.core.ids import new_id

MAX_LENGTH = 40  # characters of an id that a job carries


@dataclass(slots=True)
class RequestScope:
    """One request, shared by all tasks that it starts."""

    id: str
    attempt: int = 0  # of a job, from 1 on
    tenant_id: str = ""
    actor_type: str = ""
    actor_id: str = ""  # of the operator in a support session, "" else
    on_behalf_of: str = ""  # id of the person for whom they act
    action: str = ""  # name of the first one that was decided
    plan: str = ""  # key
    flags: frozenset[str] = frozenset()  # those that are on
    has_failed: bool = False  # an unexpected error was reported


_current: ContextVar[RequestScope | None] = ContextVar("request_scope", default=None)


def begin(request_id: str = "", *, attempt: int = 0) -> str:
    """Begin a request in this task, with the id of an earlier one that it continues. Returns its id.

    `attempt`: of a job, from 1 on, which its log records name.
    """
    request_id = request_id[:MAX_LENGTH] or new_id("req")
    _current.set(RequestScope(request_id, attempt))
    return request_id


def end() -> None:
    """What this task does from now on belongs to no request."""
    _current.set(None)


def current() -> str:
    """The id of the request in progress. Outside of any, as in a command, a new one each time."""
    scope = _current.get()
    return scope.id if scope is not None else new_id("req")


def get_scope() -> RequestScope | None:
    """The request in progress; None outside of any."""
    return _current.get()


def note_tenant(
    tenant_id: str, actor: Actor, rights: Rights, *, impersonation: Impersonation | None = None
) -> None:
    """Of the request in progress, as soon as it is admitted to a tenant."""
    scope = _current.get()
    if scope is not None:
        scope.tenant_id, scope.actor_type = tenant_id, actor.type
        scope.plan, scope.flags = rights.plan, rights.flags
        scope.actor_id = actor.id if impersonation is not None else ""
        scope.on_behalf_of = impersonation.person.id if impersonation is not None else ""


def note_actor(actor: Actor) -> None:
    """Of a request outside of tenants."""
    scope = _current.get()
    if scope is not None:
        scope.actor_type = actor.type


def note_job(tenant_id: str, task: str) -> None:
    """Of a job, before it has entered its tenant. `tenant_id`: "" for none."""
    scope = _current.get()
    if scope is not None:
        scope.tenant_id, scope.actor_type, scope.action = tenant_id, "job", task


def note_action(name: str) -> None:
    """The first one names the request."""
    scope = _current.get()
    if scope is not None and not scope.action:
        scope.action = name


def note_failure() -> None:
    scope = _current.get()
    if scope is not None:
        scope.has_failed = True


def log_fields() -> dict[str, str | int]:
    """What a log record says of the request in progress; nothing outside of any."""
    scope = _current.get()
    if scope is None:
        return {}
    fields: dict[str, str | int] = {
        "request_id": scope.id,
        "attempt": scope.attempt,
        "tenant_id": scope.tenant_id,
        "actor_type": scope.actor_type,
        "actor_id": scope.actor_id,
        "on_behalf_of": scope.on_behalf_of,
        "action": scope.action,
    }
    return {name: value for name, value in fields.items() if value}
