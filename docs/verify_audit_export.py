"""Verify a signed export of the audit log, or a stream of it that a SIEM has received. Needs no network and no Bulkhead.

    python verify_audit_export.py acme-audit_signed-2026-12-01.jsonl --keys audit-keys.json
    python verify_audit_export.py received.jsonl --stream

Install its one package with `pip install cryptography`. `--keys` is what the installation publishes at
/.well-known/audit-keys.json: fetch it once, and keep it where nobody else changes it. `--public-key` names one key by hand.
Without either, a file is compared with the key that it names itself, which shows damage and no forgery.

It prints one line for each problem and exits with 1; it exits with 0 where everything is right. docs/audit.md says what is
verified, and what is not.
"""

import argparse
import base64
import csv
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

EXPORT_FORMAT, ANCHOR_FORMAT = "bulkhead-audit-export/1", "bulkhead-audit-anchor/1"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PROOF_MARK, PROOF_FIELDS = "#proof", ("statement", "signature", "public_key", "anchor")
MAX_PROBLEMS = 20  # printed
# Where the fields of a line are in its record, from the end: both formats of events end with the same fields.
FIELDS = {
    "request": -1,
    "details": -2,
    "after": -3,
    "before": -4,
    "reason": -5,
    "object": -6,
    "action": -7,
    "actor": -9,
    "actor_id": -10,
    "actor_type": -11,
}
TIME = -12  # in seconds since 1970
FORMER_LENGTH = 15  # fields of a record of format 1


@dataclass
class Result:
    """`events`: that were looked at. `withheld`: of them, those that are represented by their hash alone."""

    events: int = 0
    withheld: int = 0
    first: int = 0
    last: int = 0
    last_hash: str = ""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fail(self, text: str) -> None:
        self.problems.append(text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--stream", action="store_true", help="what a SIEM has received: one JSON object a line"
    )
    parser.add_argument("--keys", type=Path, help="the published keys, as JSON")
    parser.add_argument("--public-key", action="append", default=[], help="64 hexadecimal digits; repeatable")
    parser.add_argument("--anchor", type=Path, help="an anchor of the chain, instead of the one in the file")
    parser.add_argument("--tenant", default="", help="the id of the organisation that it has to be of")
    options = parser.parse_args(arguments)
    keys = [*options.public_key, *read_keys(options.keys)] if options.keys else options.public_key
    anchor = options.anchor.read_text() if options.anchor else ""
    if options.stream:
        result = verify_stream(options.file, keys=keys, anchor=anchor, tenant=options.tenant)
    else:
        result = verify_export(options.file, keys=keys, anchor=anchor, tenant=options.tenant)
    for problem in result.problems[:MAX_PROBLEMS]:
        print(f"PROBLEM {problem}")  # noqa: T201  a script

    for note in result.notes:
        print(f"NOTE    {note}")  # noqa: T201

    if not result.problems:
        numbers = f"{result.events} events, {result.first} to {result.last}"
        print(f"OK      {numbers}, {result.withheld} of them withheld")  # noqa: T201
    return 1 if result.problems else 0


def read_keys(path: Path) -> list[str]:
    return [str(key["public_key"]) for key in json.loads(path.read_text())["keys"]]


def verify_export(path: Path, *, keys: list[str], anchor: str = "", tenant: str = "") -> Result:
    """`keys`: public keys of the installation that are trusted; none: the one that the file names."""
    result, digest, proof = Result(), hashlib.sha256(), None
    chain = Chain(result, tenant, is_csv=is_csv(path))
    try:
        for raw, row in read_rows(path):
            if proof is not None:
                result.fail("there are lines after the signature: they were added")
                break
            if "proof" in row:
                proof = row["proof"]
                continue
            digest.update(raw)
            if "header" not in row:
                chain.add(row)
    except (ValueError, KeyError, TypeError, csv.Error) as problem:
        result.fail(f"a line behind event {result.last} can't be read: {type(problem).__name__}")
    if proof is None:
        result.fail(f"the signature is missing: the end of the file was cut behind event {result.last}")
        return result
    statement = check_signature(proof, keys, "the export", result)
    if statement is not None:
        check_statement(statement, result, digest.hexdigest(), tenant=tenant)
        check_anchor(anchor or proof.get("anchor", ""), keys, statement, result=result, chain=chain)
    return result


def verify_stream(path: Path, *, keys: list[str], anchor: str = "", tenant: str = "") -> Result:
    """Each line is an OCSF event, or a Splunk event around one. A line that was sent twice is the same line."""
    result = Result()
    chain = Chain(result, tenant)
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            event = json.loads(line)
            event = event.get("event", event)
            link = event["unmapped"]["bulkhead"]
            if link.get("test"):
                continue
            row = link | read_fields(event)
            if not link["record"]:
                result.fail(f"event {link['number']}: its record is missing")
            elif event["metadata"]["sequence"] != link["number"]:
                result.fail(f"event {link['number']}: number differs from its record")
            if link["number"] <= result.last and chain.has_seen(link["number"], link["chain_hash"]):
                chain.check_row(row)
            else:
                chain.add(row)
    if anchor:
        statement = {"tenant_id": chain.tenant, "head": {"number": result.last}, "last": result.last}
        check_anchor(anchor, keys, statement, result=result, chain=chain)
    return result


def read_fields(event: dict[str, Any]) -> dict[str, Any]:
    """What an OCSF event says readably, under the names of the fields of a record."""
    metadata, user = event["metadata"], event["actor"]["user"]
    fields = {
        "tenant": metadata["tenant_uid"],
        "id": metadata["uid"],
        "milliseconds": event["time"],
        "actor_type": user["type"],
        "actor_id": user["uid"],
        "actor": user["name"],
        "action": metadata["event_code"],
        "request": metadata["correlation_uid"],
    }
    if "resources" in event:
        fields["object"] = event["resources"][0]["uid"]
    return fields


def is_csv(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == BYTE_ORDER_MARK


def read_rows(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Each line with its bytes. CSV lines may hold line breaks, so that they are put together again."""
    with path.open("rb") as file:
        start = file.read(3)
        if start != BYTE_ORDER_MARK:
            file.seek(0)
            for line in file:
                yield line, json.loads(line)
            return
        yield from read_csv(file, start)


def read_csv(file: BinaryIO, start: bytes) -> Iterator[tuple[bytes, dict[str, Any]]]:
    held = [start]  # the bytes of the row that is read

    def read_lines() -> Iterator[str]:
        for line in file:
            held.append(line)
            yield line.decode()

    reader = csv.reader(read_lines(), strict=True)
    names = [title.lower().replace(" ", "_") for title in next(reader)]
    yield b"".join(held), {"header": names}
    held.clear()
    for cells in reader:
        raw = b"".join(held)
        held.clear()
        if cells[0] == PROOF_MARK:
            yield raw, {"proof": dict(zip(PROOF_FIELDS, cells[1:], strict=True))}
        else:
            yield raw, dict(zip(names, cells, strict=True))


class Chain:
    """Adds one link after the other, and says what is wrong at which number."""

    def __init__(self, result: Result, tenant: str, *, is_csv: bool = False) -> None:
        self.tenant = tenant
        self.hashes: dict[int, str] = {}
        self._result, self._is_csv = result, is_csv

    def has_seen(self, number: int, chain_hash: str) -> bool:
        return self.hashes.get(number) == chain_hash

    def add(self, row: dict[str, Any]) -> None:
        result, number = self._result, int(row["number"])
        is_first = result.events == 0
        if not is_first and number != result.last + 1:
            what = "missing" if number > result.last + 1 else "out of order or repeated"
            result.fail(f"event {result.last + 1}: {what}; the next line is event {number}")
        elif not is_first and row["previous_hash"] != result.last_hash:
            result.fail(f"event {number}: it doesn't continue the chain of event {result.last}")
        elif is_first and number == 1 and row["previous_hash"] != "00":
            result.fail("event 1: it doesn't begin the chain")
        self.check_row(row)
        result.withheld += not row["record"]
        result.events, result.last, result.last_hash = result.events + 1, number, row["chain_hash"]
        result.first = result.first or number
        self.hashes[number] = row["chain_hash"]

    def check_row(self, row: dict[str, Any]) -> None:
        """The hashes of a line, and its readable fields against its record. Its neighbours are not looked at."""
        number = int(row["number"])
        record, is_former = (
            base64.b64decode(row["record"], validate=True).decode(),
            row["chain_hash"] == row["event_hash"],
        )
        previous = bytes.fromhex(row["previous_hash"])
        if record:
            event_hash = hashlib.sha256((previous if is_former else b"") + record.encode()).hexdigest()
            if event_hash != row["event_hash"]:
                self._result.fail(f"event {number}: its record was changed")
            elif (wrong := self._find_other_field(row, json.loads(record))) is not None:
                self._result.fail(f"event {number}: {wrong} differs from its record")
        if not is_former:
            chain_hash = hashlib.sha256(previous + bytes.fromhex(row["event_hash"])).hexdigest()
            if chain_hash != row["chain_hash"]:
                self._result.fail(f"event {number}: its place in the chain was changed")

    def _find_other_field(self, row: dict[str, Any], record: list[Any]) -> str | None:
        """The name of a readable field that does not say what the record says."""
        tenant, event_id = record[0:2] if len(record) == FORMER_LENGTH else record[1:3]
        self.tenant = self.tenant or tenant
        if tenant != self.tenant or row.get("tenant", tenant) != tenant:
            return "the organisation"
        if row.get("id", event_id) != event_id:
            return "id"
        if "milliseconds" in row and abs(row["milliseconds"] - record[TIME] * 1000) > 1:
            return "time"
        for name, place in FIELDS.items():
            shown = row.get(name, record[place])
            if not is_same(shown, record[place], is_csv=self._is_csv):
                return name
        return None


def is_same(shown: Any, recorded: Any, *, is_csv: bool) -> bool:
    """CSV has texts: JSON in cells, and a ' before what a spreadsheet would run."""
    if isinstance(recorded, dict):
        value = json.loads(shown) if isinstance(shown, str) and shown else shown
        shown, recorded = json.dumps(value or {}, sort_keys=True), json.dumps(recorded, sort_keys=True)
    return shown == recorded or (is_csv and shown.replace("'", "") == recorded.replace("'", ""))


def check_signature(
    proof: dict[str, str], keys: list[str], what: str, result: Result
) -> dict[str, Any] | None:
    """The statement, where it is signed by a trusted key."""
    if not keys:
        result.notes.append(f"no key was given: {what} is compared with the key that it names itself")
    elif proof["public_key"] not in keys:
        result.fail(f"{what} is signed with a key that isn't one of those given: {proof['public_key']}")
        return None
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(proof["public_key"]))
        key.verify(bytes.fromhex(proof["signature"]), proof["statement"].encode())
        statement: dict[str, Any] = json.loads(proof["statement"])
    except (InvalidSignature, ValueError):
        result.fail(f"the signature of {what} is wrong")
        return None
    return statement


def check_statement(statement: dict[str, Any], result: Result, sha256: str, *, tenant: str) -> None:
    if statement["format"] != EXPORT_FORMAT:
        result.fail(f"this script doesn't know the format {statement['format']}")
    if tenant and statement["tenant_id"] != tenant:
        result.fail(f"the export is of {statement['tenant_id']}")
    if statement["rows"] != result.events or statement["last"] != result.last:
        result.fail(
            f"{statement['rows']} events up to {statement['last']} were signed; there are {result.events}"
        )
    if statement["sha256"] != sha256:
        result.fail("the bytes of the file are not those that were signed")


def check_anchor(
    text: str, keys: list[str], statement: dict[str, Any], *, result: Result, chain: Chain
) -> None:
    """Compare the chain with what was anchored outside of the database."""
    if not text:
        result.notes.append("there is no anchor: a chain that was replaced as a whole isn't noticed")
        return
    anchor = check_signature(json.loads(text), keys, "the anchor", result)
    if anchor is None:
        return
    number = int(anchor["number"])
    if anchor["format"] != ANCHOR_FORMAT or anchor["chain"] != statement["tenant_id"]:
        result.fail(f"the anchor is of {anchor['chain']}")
    elif number > statement["head"]["number"]:
        result.fail(
            f"event {statement['head']['number'] + 1}: the end of the chain is cut; event {number} was anchored at"
            f" {anchor['at']}"
        )
    elif number in chain.hashes and chain.hashes[number] != anchor["hash"]:
        result.fail(f"event {number}: the chain was replaced; another one was anchored at {anchor['at']}")
    elif number not in chain.hashes:
        result.notes.append(f"the anchored event {number} isn't in this file, so that it wasn't compared")


if __name__ == "__main__":
    sys.exit(main())
