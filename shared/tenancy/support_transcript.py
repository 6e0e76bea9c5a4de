"""What an operator who acts for a member has seen and done, recorded aside.

A read-only impersonation can't write in its own transaction. So each visit is recorded before that one begins, in a
transaction whose role may add rows to three tables and do nothing else. Nothing is shown when it can't be recorded.
"""

from contextvars import ContextVar
from dataclasses import dataclass

from shared.access import decision_records
from shared.access.models import DecisionRecord
from shared.core import db, request_ids
from shared.core.context import Surface
from shared.core.errors import Refused
from shared.tenancy import impersonation_repository as repository
from shared.tenancy.admissions import TenantAdmission
from shared.tenancy.models import ImpersonationEvent

MAX_PAGE_LENGTH, MAX_ACTION_LENGTH = 200, 100  # characters


@dataclass(frozen=True, slots=True)
class SeenRequest:
    page: str = ""  # below the tenant's address
    action: str = ""  # name of the handler; "" for a page that is loaded by HTTP
    is_page: bool = True


# For the words of the transcript alone. Every event and every HTTP request has a task of its own.
_request: ContextVar[SeenRequest | None] = ContextVar("seen_request", default=None)


def note_request(path: str, action: str = "", *, is_page: bool = True) -> None:
    """What the event or the request asks for: the browser says it, so it is bounded and decides nothing."""
    page = path.split("/", 3)[3] if path.startswith("/t/") and path.count("/") > 2 else path
    printable = "".join(character for character in page if character.isprintable())
    _request.set(SeenRequest(printable[:MAX_PAGE_LENGTH], action[:MAX_ACTION_LENGTH], is_page))


async def record_visit(admission: TenantAdmission) -> None:
    """Before an operator who acts for a member sees or does anything. It is committed when this returns."""
    seen = _request.get() or SeenRequest()
    kind = "page" if seen.is_page else "action"
    await _record_aside(admission, _build_event(admission, kind, seen.action))


async def record_refusal(admission: TenantAdmission, refusal: Refused, *, surface: Surface) -> None:
    """A refusal of an impersonation, with the record of its decision. It is not counted: counts are the members' own."""
    request_id = request_ids.current()
    decision = None
    if refusal.action:
        decision = decision_records.build_refused(admission, refusal, request_id, surface=surface)
    action = refusal.action or (_request.get() or SeenRequest()).action
    await _record_aside(admission, _build_event(admission, "refused", action, str(refusal.reason)), decision)
    refusal.decision_id = decision.id if decision is not None else ""


def _build_event(admission: TenantAdmission, kind: str, action: str, reason: str = "") -> ImpersonationEvent:
    assert admission.impersonation is not None
    return ImpersonationEvent(
        tenant_id=admission.tenant_id,
        impersonation_id=admission.impersonation.id,
        kind=kind,
        page=(_request.get() or SeenRequest()).page,
        action=action,
        reason=reason,
        request_id=request_ids.current(),
    )


async def _record_aside(
    admission: TenantAdmission, event: ImpersonationEvent, decision: DecisionRecord | None = None
) -> None:
    async with db.transaction(tenant_id=admission.tenant_id) as session:
        await repository.become_aside(session)
        await repository.add_aside(session, event, *([decision] if decision is not None else []))
