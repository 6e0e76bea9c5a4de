"""Anchor the chains of all tenants and of the operators outside of the database, and verify them against the anchors.

The worker runs it beside the queue. A chain that contradicts its anchor gets no new one: the former one is the evidence.
Problems stay in the tables until the chain is right again, and operators see them on the overview.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from shared.audit import sealing, verification
from shared.audit.models import ChainProblem
from shared.core import live_events, log, request_ids
from shared.core.db import now
from shared.evidence import anchor_repository as repository
from shared.evidence import anchors, chain_repository
from shared.evidence.anchors import Anchor, ForgedAnchor
from shared.evidence.models import AnchorProblem, AuditAnchor, PlatformAnchor
from shared.files.storage import OPERATORS
from shared.tenancy import cleaning, entry

TASK = "evidence.check_chain"
ANCHOR_INTERVAL_S = 900.0  # between two rounds: so much of a chain's end may be cut unnoticed
VERIFY_EVERY = timedelta(days=1)  # each chain, from its first event
STEP_SIZE = 10_000  # events in one transaction
TOPIC = "audit_evidence"  # of operators' pages that show problems
PROBLEMS = {  # of a verification that has found the chain broken
    ChainProblem.END: AnchorProblem.CUT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFinding:
    """`number`: of the first event that is wrong, None where that isn't one event. `checked`: events in the chain."""

    problem: AnchorProblem
    number: int | None = None
    checked: int = 0


async def run() -> None:
    """Until cancelled."""
    while True:
        try:
            await run_round()
        except Exception as problem:  # the loop has to survive until database and storage are back
            log.get_logger(__name__).error("chains_not_checked", problem=type(problem).__name__)
        await asyncio.sleep(ANCHOR_INTERVAL_S)


async def run_round() -> None:
    """Anchor what has grown, and verify what was not verified for a day. A failure of one tenant ends nothing."""
    await cleaning.clean_tenants(repository.find_next_to_anchor, _anchor_once)
    await cleaning.clean_tenants(
        lambda session, former: repository.find_next_to_verify(session, former, now() - VERIFY_EVERY),
        _verify_once,
    )
    request_ids.begin()
    await verify_operators()
    await anchor_operators()


async def check_all() -> None:
    """Verify and anchor every chain now."""
    await verify_all()
    await cleaning.clean_tenants(repository.find_next_to_anchor, _anchor_once)
    await anchor_operators()


async def verify_all() -> dict[str, ChainFinding]:
    """By tenant, and that of the operators. What can't be verified is logged, and missing here."""
    findings: dict[str, ChainFinding] = {}
    started_at = now()

    async def verify_once(tenant_id: str) -> bool:
        findings[tenant_id] = await verify_tenant(tenant_id)
        return False

    await cleaning.clean_tenants(
        lambda session, former: repository.find_next_to_verify(session, former, started_at), verify_once
    )
    request_ids.begin()
    findings[OPERATORS] = await verify_operators()
    return findings


async def _anchor_once(tenant_id: str) -> bool:
    await anchor_tenant(tenant_id)
    return False


async def _verify_once(tenant_id: str) -> bool:
    await verify_tenant(tenant_id)
    return False


async def anchor_tenant(tenant_id: str) -> ChainFinding:
    """Write the anchor of a tenant's chain, unless the chain contradicts the former one. Raises StorageUnavailable."""
    former, is_forged = await _read_former(tenant_id)
    async with entry.enter_cleaning(tenant_id, TASK, request_ids.current()) as ctx:
        await sealing.seal_tenant(ctx)
        number, head_hash = await chain_repository.get_head(ctx)
        anchored_hash = await chain_repository.find_hash(ctx, former.number) if former else None
        row = await repository.lock_anchor(ctx)
        finding = _compare(row, former, number, anchored_hash, is_forged=is_forged)
        if finding.problem is not AnchorProblem.NONE:
            _note_problem(row, finding)
            await live_events.refresh_pages(ctx.session, "*", TOPIC)
            return finding
    anchor = anchors.build_anchor(tenant_id, number, head_hash, at=now())
    await anchors.write_anchor(anchor)
    async with entry.enter_cleaning(tenant_id, TASK, request_ids.current()) as ctx:
        _note_anchor(await repository.lock_anchor(ctx), anchor)
    return finding


async def verify_tenant(tenant_id: str) -> ChainFinding:
    """Verify a tenant's chain from its first event and against its anchor. Raises StorageUnavailable."""
    former, is_forged = await _read_former(tenant_id)
    is_running, is_first = True, True
    while is_running:
        async with entry.enter_cleaning(tenant_id, TASK, request_ids.current()) as ctx:
            checkpoint = await verification.lock(ctx)
            if is_first:
                await sealing.seal_tenant(ctx)
                verification.start(checkpoint, from_start=True)
            await verification.run_step(ctx, checkpoint, size=STEP_SIZE)
            is_running, is_first = verification.describe(checkpoint).is_running, False
            if is_running:
                continue
            number, _ = await chain_repository.get_head(ctx)
            anchored_hash = await chain_repository.find_hash(ctx, former.number) if former else None
            row = await repository.lock_anchor(ctx)
            finding = _compare(row, former, number, anchored_hash, is_forged=is_forged)
            if checkpoint.problem:
                problem = ChainProblem(checkpoint.problem)
                finding = ChainFinding(
                    problem=PROBLEMS.get(problem, AnchorProblem.BROKEN), number=checkpoint.broken_at
                )
            finding = ChainFinding(
                problem=finding.problem, number=finding.number, checked=checkpoint.checked_seq
            )
            _note_verified(row, finding)
            await live_events.refresh_pages(ctx.session, "*", TOPIC)
    return finding


async def anchor_operators() -> ChainFinding:
    """As `anchor_tenant`, of the operators' chain."""
    former, is_forged = await _read_former(OPERATORS)
    async with repository.operators_chain() as session:
        row = await repository.lock_platform_anchor(session)
        number, head_hash, anchored_hash = await repository.get_operator_head(
            session, former.number if former else 0
        )
        finding = _compare(row, former, number, anchored_hash, is_forged=is_forged)
        if finding.problem is not AnchorProblem.NONE:
            _note_problem(row, finding)
            await live_events.refresh_pages(session, "*", TOPIC)
            return finding
    if number != row.seq or former is None:
        anchor = anchors.build_anchor(OPERATORS, number, head_hash, at=now())
        await anchors.write_anchor(anchor)
        async with repository.operators_chain() as session:
            _note_anchor(await repository.lock_platform_anchor(session), anchor)
    return finding


async def verify_operators() -> ChainFinding:
    """As `verify_tenant`, of the operators' chain."""
    former, is_forged = await _read_former(OPERATORS)
    after, last_hash, broken_at = 0, b"\x00", None
    while broken_at is None:
        async with repository.operators_chain() as session:
            step = await repository.check_operator_events(session, after, last_hash, limit=STEP_SIZE)
        after, last_hash, broken_at = step.last_number, step.last_hash, step.broken_at
        if step.count < STEP_SIZE:
            break
    async with repository.operators_chain() as session:
        row = await repository.lock_platform_anchor(session)
        number, _, anchored_hash = await repository.get_operator_head(session, former.number if former else 0)
        finding = _compare(row, former, number, anchored_hash, is_forged=is_forged)
        if broken_at is not None:
            finding = ChainFinding(problem=AnchorProblem.BROKEN, number=broken_at)
        finding = ChainFinding(problem=finding.problem, number=finding.number, checked=after)
        _note_verified(row, finding)
        await live_events.refresh_pages(session, "*", TOPIC)
    return finding


async def _read_former(chain: str) -> tuple[Anchor | None, bool]:
    """The newest anchor, and whether its file is forged. Raises StorageUnavailable."""
    try:
        return await anchors.read_anchor(chain), False
    except ForgedAnchor:
        return None, True


def _compare(
    row: AuditAnchor | PlatformAnchor,
    former: Anchor | None,
    number: int,
    anchored_hash: bytes | None,
    *,
    is_forged: bool,
) -> ChainFinding:
    """`number`: of the last event in the chain. `anchored_hash`: its hash at the anchored number."""
    if is_forged:
        return ChainFinding(problem=AnchorProblem.FORGED)
    if former is None:
        is_lost = row.anchored_at is not None
        return ChainFinding(problem=AnchorProblem.MISSING if is_lost else AnchorProblem.NONE)
    if former.number > number:
        return ChainFinding(problem=AnchorProblem.CUT, number=number + 1)
    if former.number and anchored_hash != former.hash:
        return ChainFinding(problem=AnchorProblem.REPLACED, number=former.number)
    return ChainFinding(problem=AnchorProblem.NONE)


def _note_anchor(row: AuditAnchor | PlatformAnchor, anchor: Anchor) -> None:
    row.seq, row.hash, row.anchored_at = anchor.number, anchor.hash, anchor.at


def _note_verified(row: AuditAnchor | PlatformAnchor, finding: ChainFinding) -> None:
    row.verified_at, row.verified_seq = now(), finding.checked
    if finding.problem is AnchorProblem.NONE:
        row.problem, row.problem_seq, row.problem_at = "", None, None
    else:
        _note_problem(row, finding)


def _note_problem(row: AuditAnchor | PlatformAnchor, finding: ChainFinding) -> None:
    """The time is that of the first look that found it."""
    if row.problem != finding.problem:
        row.problem_at = now()
        log.get_logger(__name__).error(
            "audit_chain_wrong",
            problem=finding.problem.value,
            number=finding.number,
            tenant_id=row.tenant_id if isinstance(row, AuditAnchor) else OPERATORS,
        )
    row.problem, row.problem_seq = finding.problem.value, finding.number
