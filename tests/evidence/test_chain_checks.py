"""The chains of tenants and operators are anchored outside of the database, and verified against their anchors."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from admin_app.pages.audit.chains import ChainsState
from admin_app.pages.overview.state import OverviewState
from shared.audit import audit_log
from shared.backoffice import audit_evidence
from shared.cli import audit_chains as command
from shared.core.config import ConfigurationError
from shared.core.db import now
from shared.evidence import anchor_repository, anchors, chain_checks
from shared.evidence.models import AnchorProblem
from shared.files.storage import ANCHORS, OPERATORS, AnchorPath
from tests.conftest import Cast
from tests.support import audit_chains, evidence

Damage = Callable[[str, str, int], None]


@pytest.fixture(autouse=True)
def storage(tmp_path: Path) -> Iterator[Path]:
    with evidence.own_storage(tmp_path):
        yield tmp_path


async def record_events(cast: Cast, *names: str) -> int:
    """Record and seal them. Returns the number of the last."""
    async with cast.ann.ctx() as ctx:
        for name in names:
            audit_log.record(ctx, "checklist.completed", name)
    await audit_chains.seal(cast.ann)
    async with cast.ann.ctx() as ctx:
        return (await audit_chains.check_within(ctx)).checked_count


def change_byte(name: str, tenant_id: str, number: int) -> None:
    change = "update audit_event set reason = 'harmless'" + evidence.OF_NUMBER
    evidence.execute_as_superuser(name, change, tenant=tenant_id, seq=number)


def remove_row(name: str, tenant_id: str, number: int) -> None:
    evidence.execute_as_superuser(
        name, "delete from audit_event" + evidence.OF_NUMBER, tenant=tenant_id, seq=number
    )


@pytest.mark.parametrize(
    ("damage", "problem", "offset"),
    [
        pytest.param(change_byte, "broken", 0, id="byte"),
        pytest.param(remove_row, "broken", 0, id="row"),
        pytest.param(evidence.cut_chain, "cut", 0, id="end"),
        pytest.param(evidence.replace_chain, "replaced", 2, id="chain"),
    ],
)
async def test_damaged_chain_is_found_named_and_shown_until_it_is_right_again(
    cast: Cast, schema: str, damage: Damage, problem: str, offset: int
) -> None:
    last = await record_events(cast, "one", "two", "three", "four")
    assert (await chain_checks.anchor_tenant(cast.acme)).problem is AnchorProblem.NONE
    assert (await chain_checks.verify_tenant(cast.acme)).checked == last
    damage(schema, cast.acme, last - 2)
    finding = await chain_checks.verify_tenant(cast.acme)
    assert (finding.problem, finding.number) == (problem, last - 2 + offset)
    text, is_intact = await command.verify(cast.acme)
    assert (f"{problem.upper()} at event {finding.number}" in text, is_intact) == (True, False)
    async with cast.olga.octx() as octx:
        overview = await audit_evidence.get_overview(octx)
    (alert,) = [alert for alert in overview.alerts if alert.tenant_id == cast.acme]
    assert (alert.problem, alert.number) == (problem, finding.number)


async def test_cut_chain_gets_no_new_anchor(cast: Cast, schema: str) -> None:
    last = await record_events(cast, "one", "two")
    await chain_checks.anchor_tenant(cast.acme)
    evidence.cut_chain(schema, cast.acme, last)
    await record_events(cast, "other", "another")
    assert (await chain_checks.anchor_tenant(cast.acme)).problem == "replaced"
    anchor = await anchors.read_anchor(cast.acme)
    assert anchor is not None
    assert anchor.number == last


async def test_lost_anchor_is_noticed(cast: Cast, storage: Path) -> None:
    await record_events(cast, "one")
    await chain_checks.anchor_tenant(cast.acme)
    (storage / ANCHORS / cast.acme).unlink()
    assert (await chain_checks.verify_tenant(cast.acme)).problem == "missing"


async def test_intact_chains_are_anchored_and_verified_in_one_round(cast: Cast) -> None:
    await record_events(cast, "one")
    await chain_checks.run_round()
    for chain in (cast.acme, OPERATORS):
        assert await anchors.read_anchor(chain) is not None
    async with cast.olga.octx() as octx:
        overview = await audit_evidence.get_overview(octx)
    assert cast.acme not in {alert.tenant_id for alert in overview.alerts}
    assert overview.operator_events > 0


async def test_operators_chain_is_compared_with_its_anchor(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await audit_evidence.get_overview(octx)  # adds an event about reading across tenants
    async with anchor_repository.operators_chain() as session:
        number, head_hash, _ = await anchor_repository.get_operator_head(session, 0)
    for anchored, chain_hash, problem in (
        (number, head_hash, ""),
        (number + 50, head_hash, "cut"),
        (number, b"\x01" * 32, "replaced"),
    ):
        await anchors.write_anchor(anchors.build_anchor(OPERATORS, anchored, chain_hash, at=now()))
        assert (await chain_checks.verify_operators()).problem == problem
    page = cast.olga.opens(OverviewState)
    await OverviewState.event_handlers["load"].fn(page)
    assert page.chain_alerts >= 1
    chains = cast.olga.opens(ChainsState, path="/audit?tab=chains")
    await ChainsState.event_handlers["load"].fn(chains)
    assert "The chain was replaced" in {row.title: row.note for row in chains.alerts}["Operator audit log"]
    await anchors.write_anchor(anchors.build_anchor(OPERATORS, number, head_hash, at=now()))
    assert (await chain_checks.verify_operators()).problem is AnchorProblem.NONE


def test_anchor_has_no_other_path() -> None:
    for chain in ("../secrets", "ten_", "", "fil_01jz"):
        with pytest.raises(ValueError, match="names a tenant"):
            AnchorPath(ANCHORS, chain)


async def test_command_refuses_what_is_no_chain() -> None:
    with pytest.raises(ConfigurationError):
        await command.verify("acme")
