"""Everything that is stored under the reference that a person was shown, for support."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.access import actions, decision_records, policy
from shared.access.models import DecisionCount, DecisionRecord
from shared.audit.models import BugReport, OperatorEvent, SecurityEvent
from shared.backoffice import request_search_repository as repository
from shared.backoffice import tenant_directory_repository
from shared.backoffice.reasons import Reason, use_reason
from shared.billing.models import BillingEvent
from shared.core import trace_ids
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.core.ids import is_id
from shared.jobs import queue_status
from shared.jobs.queue_status import QueuedJob
from shared.tenancy import entry

MAX_ROWS = 50  # of each kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFindings:
    """What is stored under one request, apart from the tenants' audit events. The newest first.

    Refusals and security events are counted by the hour, and keep the id of the last request only.
    """

    request_id: str  # of the decision, where one was searched for; its own id where it is unknown
    decisions: Sequence[DecisionRecord]
    bugs: Sequence[BugReport]
    refusals: Sequence[DecisionCount]
    jobs: Sequence[QueuedJob]  # those that have not succeeded
    syncs: Sequence[BillingEvent]
    operator_events: Sequence[OperatorEvent]
    security_events: Sequence[SecurityEvent]
    tenant_names: Mapping[str, str]  # by id, of the tenants in these rows

    @property
    def trace_id(self) -> str:
        """Of its spans and log lines, whether or not traces were exported."""
        return trace_ids.derive(self.request_id)


def parse_request_id(text: str) -> str:
    """The id of a request or a decision, "" for an empty text. Raises Invalid for another text."""
    request_id = text.strip()
    if request_id and not is_id("req", request_id) and not decision_records.is_record_id(request_id):
        raise Invalid("This isn’t a reference.", "Copy it again. It starts with req_ or dcn_.")
    return request_id


async def find_request(octx: OperatorCtx, reason: Reason, request_id: str) -> RequestFindings:
    """At most `MAX_ROWS` of each kind. The reason is recorded in the operator audit log.

    `request_id`: also the id of a decision, whose request is searched for. Raises Invalid without a reason, and for a text
    that can't be an id of either.
    """
    policy.require_operator(octx, actions.OP_AUDIT_READ_ALL)
    reason_text = use_reason(octx, reason)
    if not (request_id := parse_request_id(request_id)):
        raise Invalid("A reference is missing.", "Enter one that starts with req_ or dcn_.")
    async with entry.read_across_tenants(octx, reason_text) as session:
        if decision_records.is_record_id(request_id):
            request_id = await repository.find_request_of_decision(session, request_id)
        decisions = await repository.list_decisions(session, request_id, MAX_ROWS)
        refusals = await repository.list_refusals(session, request_id, MAX_ROWS)
        jobs = await queue_status.list_jobs_of_request(session, request_id, MAX_ROWS)
        syncs = await repository.list_syncs(session, request_id, MAX_ROWS)
        tenant_ids = {
            *(decision.tenant_id for decision in decisions),
            *(refusal.tenant_id for refusal in refusals),
            *(job.tenant_id for job in jobs if job.tenant_id),
            *(sync.tenant_id for sync in syncs),
        }
        return RequestFindings(
            request_id=request_id,
            decisions=decisions,
            bugs=await repository.list_bugs(session, request_id, MAX_ROWS),
            refusals=refusals,
            jobs=jobs,
            syncs=syncs,
            operator_events=await repository.list_operator_events(session, request_id, MAX_ROWS),
            security_events=await repository.list_security_events(session, request_id, MAX_ROWS),
            tenant_names=await tenant_directory_repository.list_tenant_names(session, sorted(tenant_ids)),
        )
