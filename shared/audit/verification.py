"""Verify a tenant's audit log in bounded steps, each from the checkpoint of the one before.

A step recomputes the next events and links of the hash chain, and asks for the next events whether they are in it. What
is before the checkpoint is read only by a verification from the first event. `tenancy.audit_reader` authorises.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.audit import verification_repository as repository
from shared.audit.models import AuditVerification, ChainProblem, VerificationState
from shared.core.context import Ctx
from shared.core.db import now

STEP_SIZE = 2_000  # events in one step on a page
ABANDONED_AFTER = timedelta(minutes=5)  # a step takes seconds
EXPLANATIONS = {
    ChainProblem.NONE: "",
    ChainProblem.CHANGED: "This event was changed.",
    ChainProblem.DELETED: "This event was deleted.",
    ChainProblem.CHAIN: "The chain doesn’t continue here: an event or a seal was changed, deleted or inserted.",
    ChainProblem.END: "Events at the end are missing.",
    ChainProblem.INSERTED: "This event was inserted later.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVerification:
    """State of the verification of one tenant's log."""

    state: VerificationState
    checked_count: int  # events in the chain that are checked
    total_count: int  # events in the chain, at the last step
    percent: int  # of the work of this verification
    problem: ChainProblem
    broken_at: int | None  # number of the first event that is wrong; None when it is in no chain
    broken_id: str  # id of an event that was inserted
    verified_count: int  # events in the chain at the last verification that found it intact
    verified_at: datetime | None

    @property
    def is_intact(self) -> bool:
        """Nothing wrong was found, as far as it is checked."""
        return self.problem is ChainProblem.NONE

    @property
    def is_running(self) -> bool:
        return self.state is VerificationState.RUNNING

    @property
    def explanation(self) -> str:
        return EXPLANATIONS[self.problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainStatus:
    sealed_count: int
    sealed_at: datetime | None  # time of the last event in the chain
    verification: LogVerification | None  # None for a log that was never verified


async def get_status(ctx: Ctx) -> ChainStatus:
    head, verification = await repository.get_status(ctx)
    sealed_count, sealed_at = head
    return ChainStatus(
        sealed_count=sealed_count,
        sealed_at=sealed_at,
        verification=describe(verification) if verification else None,
    )


def describe(verification: AuditVerification) -> LogVerification:
    total_work = 2 * verification.target_seq
    completed_work = min(total_work, verification.checked_seq + verification.checked_events)
    return LogVerification(
        state=verification.state,
        checked_count=verification.checked_seq,
        total_count=verification.target_seq,
        percent=100 * completed_work // total_work if total_work else 100,
        problem=ChainProblem(verification.problem),
        broken_at=verification.broken_at,
        broken_id=verification.broken_id,
        verified_count=verification.verified_seq,
        verified_at=verification.verified_at,
    )


async def lock(ctx: Ctx) -> AuditVerification:
    """The tenant's checkpoint, at the beginning of the log where it was never verified. Locked until the commit."""
    return await repository.lock(ctx)


def is_in_progress(verification: AuditVerification) -> bool:
    """A job works on it. False for one whose jobs have failed: whoever starts it again continues."""
    return (
        verification.state is VerificationState.RUNNING and verification.changed_at > now() - ABANDONED_AFTER
    )


def start(verification: AuditVerification, *, from_start: bool) -> None:
    """Begin at the checkpoint, or with the first event."""
    if from_start:
        verification.checked_seq, verification.checked_hash = 0, repository.FIRST_HASH
        verification.checked_id, verification.checked_events = "", 0
    verification.state, verification.started_at = VerificationState.RUNNING, now()
    verification.problem, verification.broken_at, verification.broken_id = ChainProblem.NONE, None, ""


async def run_step(ctx: Ctx, verification: AuditVerification, *, size: int = STEP_SIZE) -> None:
    """Check the next `size` links and events, and move the checkpoint. The state is RUNNING while there is more."""
    chain = await repository.check_chain(
        ctx, after=verification.checked_seq, previous_hash=verification.checked_hash, limit=size
    )
    verification.target_seq, verification.changed_at = chain.head_seq, now()
    if chain.problem:
        _finish(verification, ChainProblem(chain.problem), broken_at=chain.broken_at)
        return
    verification.checked_seq, verification.checked_hash = chain.last_seq, chain.last_hash
    is_at_end = chain.count < size
    if is_at_end and (chain.head_seq, chain.head_hash) != (chain.last_seq, chain.last_hash):
        _finish(verification, ChainProblem.END, broken_at=chain.last_seq + 1)
        return
    events = await repository.check_events(ctx, after=verification.checked_id, limit=size)
    if events.inserted_id:
        _finish(verification, ChainProblem.INSERTED, broken_id=events.inserted_id)
        return
    verification.checked_id = events.last_id or verification.checked_id
    verification.checked_events += events.count
    if is_at_end and events.is_at_end:
        _finish(verification, ChainProblem.NONE)


def _finish(
    verification: AuditVerification,
    problem: ChainProblem,
    *,
    broken_at: int | None = None,
    broken_id: str = "",
) -> None:
    verification.problem, verification.broken_at, verification.broken_id = problem, broken_at, broken_id
    if problem is ChainProblem.NONE:
        verification.state = VerificationState.INTACT
        verification.verified_seq, verification.verified_at = verification.checked_seq, now()
    else:
        verification.state = VerificationState.BROKEN
