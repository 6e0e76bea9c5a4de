"""A signed export verifies offline; what was changed, removed, cut or replaced is found and named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.audit import audit_log
from shared.core.errors import Conflict
from shared.evidence import anchors, chain_checks
from tests.conftest import Cast, Person
from tests.support import audit_chains, evidence
from tests.support.evidence import verify, write_export
from tests.support.exports import start

NAMES = ("one", "=two;=2", "three\tü", "four", "five")


async def record_events(person: Person, *names: str) -> None:
    async with person.ctx() as ctx:
        for name in names:
            audit_log.record(
                ctx, "checklist.completed", name, reason=name, after={"name": name, "share": 0.5}
            )


@pytest.fixture
async def exported(cast: Cast, tmp_path: Path) -> Path:
    """An intact export with an anchor in its middle."""
    await record_events(cast.ann, *NAMES)
    await audit_chains.seal(cast.ann)
    await chain_checks.anchor_tenant(cast.acme)
    await record_events(cast.ann, "six")
    return await write_export(cast.ann, tmp_path)


@pytest.mark.parametrize("export_format", ["jsonl", "csv"])
async def test_intact_export_verifies(cast: Cast, tmp_path: Path, export_format: str) -> None:
    await record_events(cast.ann, *NAMES)
    await audit_chains.seal(cast.ann)
    await chain_checks.anchor_tenant(cast.acme)
    path = await write_export(cast.ann, tmp_path, export_format)
    result = evidence.script.verify_export(path, keys=evidence.list_keys(), tenant=cast.acme)
    assert (result.problems, result.notes, result.withheld, result.first) == ([], [], 0, 1)
    assert result.events == result.last > len(NAMES)
    assert evidence.script.main([str(path), "--public-key", evidence.list_keys()[0]]) == 0


def change_byte(lines: list[str]) -> None:
    lines[12] = lines[12].replace("checklist.completed", "checklist.complete_")


def change_record(lines: list[str]) -> None:
    row = json.loads(lines[2])
    row["record"] = row["record"][:-8] + "AAAA" + row["record"][-4:]
    lines[2] = json.dumps(row)


def respace(lines: list[str]) -> None:
    """The same JSON in other bytes."""
    lines[2] = lines[2].replace(": ", ":", 1)


def remove_row(lines: list[str]) -> None:
    del lines[2]


def cut_rows(lines: list[str]) -> None:
    del lines[-3:-1]


def cut_file(lines: list[str]) -> None:
    del lines[-2:]


def swap_rows(lines: list[str]) -> None:
    lines[2:4] = reversed(lines[2:4])


def forge_seal(lines: list[str]) -> None:
    row = json.loads(lines[2])
    row["chain_hash"] = "00" * 32
    lines[2] = json.dumps(row)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(change_byte, "event 13: action differs from its record", id="byte"),
        pytest.param(change_record, "event 3: its record was changed", id="record"),
        pytest.param(respace, "the bytes of the file are not those that were signed", id="space"),
        pytest.param(remove_row, "event 3: missing", id="row"),
        pytest.param(swap_rows, "event 3: missing", id="order"),
        pytest.param(cut_rows, "events up to 16 were signed", id="rows-at-the-end"),
        pytest.param(cut_file, "the end of the file was cut behind event 15", id="end"),
        pytest.param(forge_seal, "event 3: its place in the chain was changed", id="seal"),
    ],
)
async def test_changed_file_is_found_and_named(
    exported: Path, change: Callable[[list[str]], None], named: str
) -> None:
    evidence.rewrite(exported, change)
    problems = verify(exported)
    assert any(named in problem for problem in problems), problems


async def test_export_of_a_replaced_chain_contradicts_its_anchor(
    cast: Cast, tmp_path: Path, schema: str
) -> None:
    await record_events(cast.ann, *NAMES)
    await audit_chains.seal(cast.ann)
    await chain_checks.anchor_tenant(cast.acme)
    evidence.replace_chain(schema, cast.acme, 2)
    (problem,) = verify(await write_export(cast.ann, tmp_path))
    assert "the chain was replaced; another one was anchored at" in problem


async def test_export_of_a_cut_chain_contradicts_its_anchor(cast: Cast, tmp_path: Path, schema: str) -> None:
    await record_events(cast.ann, *NAMES)
    await audit_chains.seal(cast.ann)
    async with cast.ann.ctx() as ctx:
        sealed = (await audit_chains.verify_within(ctx)).checked_count
    for _ in range(3):
        await record_events(cast.ann, *NAMES)
    await audit_chains.seal(cast.ann)
    await chain_checks.anchor_tenant(cast.acme)
    evidence.cut_chain(schema, cast.acme, sealed)
    problems = verify(await write_export(cast.ann, tmp_path))
    assert any("the end of the chain is cut" in problem for problem in problems), problems


async def test_export_with_another_key_is_refused(exported: Path) -> None:
    problems = evidence.script.verify_export(exported, keys=["00" * 32]).problems
    assert any("isn't one of those given" in problem for problem in problems)


async def test_events_outside_of_the_dates_are_represented_by_their_hash(cast: Cast, tmp_path: Path) -> None:
    await record_events(cast.ann, *NAMES)
    path = await write_export(cast.ann, tmp_path, until="2020-01-01")
    assert len(evidence.read_lines(path)) == 1  # the signature of nothing
    path = await write_export(cast.ann, tmp_path, since="2020-01-01")
    assert verify(path) == []


async def test_signed_export_is_no_parquet_file(cast: Cast) -> None:
    with pytest.raises(Conflict, match="can’t be a Parquet file"):
        await start(cast.ann, "audit_signed", "parquet")


async def test_forged_anchor_is_noticed(cast: Cast) -> None:
    await chain_checks.anchor_tenant(cast.acme)
    former = await anchors.read_anchor(cast.acme)
    assert former is not None
    forged = anchors.Anchor(
        chain=cast.acme,
        number=former.number,
        hash=former.hash,
        at=former.at,
        text=former.text.replace('"signature": "', '"signature": "00'),
    )
    await anchors.write_anchor(forged)
    with pytest.raises(anchors.ForgedAnchor):
        await anchors.read_anchor(cast.acme)
    assert (await chain_checks.anchor_tenant(cast.acme)).problem == "forged"
