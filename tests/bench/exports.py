"""The memory of an export: how much the process grows while it writes a million rows.

`export/memory` writes invoices as CSV, `export/signed-memory` an audit log with the proof of its chain as JSONL. Each export is a process of its own. Its growth is the largest resident size after the first batch, less the one at the
first batch. The million are written once, a tenth of them in each further round, and the larger growth counts. The control
keeps its rows until the end, as a list would.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg

from shared.core import db, log, rate_limits
from shared.core.ids import new_id
from shared.files import export_runs, export_writers, exports, storage_registry
from shared.files.models import ExportState
from shared.jobs.worker import ExternalJob
from shared.tenancy import entry
from tests.bench import audit, databases
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted
from tests.support import audit_chains, database, factories, forked

FULL_ROWS, TINY_ROWS = 1_000_000, 1_200
ROWS_OF_SIGN_UP = 50  # at most, in an audit log before it is filled
TIMEOUT_S = 900.0
ROUND_SHARE, CONTROL_SHARE = 10, 4  # a round and the control write so small a part
FILL = """
insert into billing_invoice (tenant_id, id, account_id, customer_id, number, status, currency, total, due, paid, created_at,
    ticket, subtotal, discount, tax, seen_at)
select %(tenant)s, 'in_' || n, 'platform', %(customer)s, 'BENCH-' || n, 'paid', 'eur', 11900, 0, 11900,
    now() - n * interval '1 second', 1, 10000, 0, 1900, now()
from generate_series(1, %(rows)s) as n
"""


# What is exported, by row: kind and format.
EXPORTS = {"export/memory": ("invoices", "csv"), "export/signed-memory": ("audit_signed", "jsonl")}
WRITTEN, KEPT = "written", "kept"


@dataclass
class Growth:
    """Megabytes, by round: of each row and of its control."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        name = build_name(goal.control_of, KEPT) if goal.control_of else build_name(goal.name, WRITTEN)
        return Result(goal, [growth[name] for growth in counted(self.rounds)])


def build_name(row: str, side: str) -> str:
    return f"{row} {side}"


def measure(options: Options) -> Growth:
    growth, rows = Growth(), TINY_ROWS if options.tiny else FULL_ROWS
    with databases.built("exports") as name:
        database.do_not_wait_for_disk(name)
        sizes = [rows, rows // ROUND_SHARE, rows // CONTROL_SHARE]
        whole, part, kept = asyncio.run(_fill(name, sizes))
        largest = dict[str, float]()
        for _ in options.numbered("exports"):
            figures = dict[str, float]()
            for row in EXPORTS:
                if row not in largest:
                    largest[row] = _run_child(row, whole, WRITTEN, rows)
                written = _run_child(row, part, WRITTEN, sizes[1])
                figures[build_name(row, WRITTEN)] = max(written, largest[row])
                figures[build_name(row, KEPT)] = _run_child(row, kept, KEPT, sizes[2])
            growth.rounds.append(figures)
    return growth


async def _fill(name: str, sizes: Sequence[int]) -> list[tuple[str, str]]:
    """Tenants with so many invoices and audit events: id and owner of each."""
    tenants = []
    for rows in sizes:
        owner = await factories.create_account("Ann")
        tenant = await factories.create_tenant(owner, f"Bench {rows}", plan="business")
        with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
            connection.execute(
                "insert into billing_customer (tenant_id, id, account_id) values (%s, %s, 'platform')",
                [tenant.id, f"cus_{rows}"],
            )
            connection.execute(FILL.encode(), {"tenant": tenant.id, "customer": f"cus_{rows}", "rows": rows})
            connection.execute(audit.FILL, [tenant.id, rows - ROWS_OF_SIGN_UP])
        tenants.append((tenant.id, owner.cookie))
    await audit_chains.run_sealer()
    await db.dispose()
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        connection.execute("vacuum analyze billing_invoice, audit_event, audit_seal")
    return tenants


def _run_child(row: str, tenant: tuple[str, str], side: str, rows: int) -> float:
    """Raises Broken for an export that is not whole. An audit log has a few events more than were filled in."""
    result = forked.run(_print_growth, row, *tenant, side, environment={}, timeout_s=TIMEOUT_S)
    match = re.search(r"^GROWTH (.+)$", result.output, re.MULTILINE)
    if match is None:
        raise Broken(f"the export ended with {result.returncode}: {result.output[-300:]}")
    growth_mb, row_count = json.loads(match.group(1))
    if row_count != rows and not (row == "export/signed-memory" and abs(row_count - rows) < ROWS_OF_SIGN_UP):
        raise Broken(f"{row_count} of {rows} rows were exported")
    return max(float(growth_mb), 0.01)


def _print_growth(row: str, tenant_id: str, cookie: str, side: str) -> None:
    log.configure("ERROR")
    db.log_in_as_worker()
    if side == KEPT:
        _keep_rows(export_writers.CsvWriter if row == "export/memory" else export_writers.JsonlWriter)
    print("GROWTH", json.dumps(asyncio.run(_export(tenant_id, cookie, *EXPORTS[row]))), flush=True)


async def _export(tenant_id: str, cookie: str, kind: str, export_format: str) -> tuple[float, int]:
    """Megabytes, and rows in the file."""
    await rate_limits.clear_counts()
    async with entry.enter_tenant(cookie, tenant_id) as ctx:
        started = await exports.begin(ctx, kind, export_format, {})
    sizes = _sample_memory()
    await export_runs.run(ExternalJob(tenant_id, new_id("req")), started.id)
    async with entry.enter_tenant(cookie, tenant_id) as ctx:
        ready = await exports.get(ctx, started.id)
    await storage_registry.get_storage().delete(export_runs.FilePath(tenant_id, ready.file_id))
    if ready.state is not ExportState.READY:
        raise Broken(f"the export is {ready.state}: {ready.problem}")
    await db.dispose()
    return (max(sizes) - sizes[0]) / 1e6, ready.row_count


def _sample_memory() -> list[int]:
    """Resident bytes after each batch, from now on."""
    process, sizes, read_batch = psutil.Process(), list[int](), export_runs._read_batch

    async def read_and_look(*arguments: Any, **named: Any) -> Any:
        page = await read_batch(*arguments, **named)
        sizes.append(process.memory_info().rss)
        return page

    export_runs._read_batch = read_and_look
    return sizes


def _keep_rows(writer_class: Any) -> None:
    """`writer_class`: the one whose export is the control."""
    write_rows, rows = writer_class.write_rows, list[Any]()
    last_method = "finish" if writer_class is export_writers.CsvWriter else "write_proof"
    write_last = getattr(writer_class, last_method)

    def write_at_the_end(writer: Any, *arguments: Any) -> None:
        write_rows(writer, rows)
        write_last(writer, *arguments)

    writer_class.write_rows = lambda writer, batch: rows.extend(batch)
    setattr(writer_class, last_method, write_at_the_end)
