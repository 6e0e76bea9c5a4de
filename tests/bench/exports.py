"""The memory of an export: how much the process grows while it writes a million invoices as CSV.

Each export is a process of its own. Its growth is the largest resident size after the first batch, less the one at the
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

from shared.core import db, log
from shared.core.ids import new_id
from shared.files import export_runs, export_writers, exports, storage_registry
from shared.files.models import ExportState
from shared.jobs.worker import ExternalJob
from shared.tenancy import entry
from tests.bench import databases
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted
from tests.support import database, factories, forked

FULL_ROWS, TINY_ROWS = 1_000_000, 1_200
TIMEOUT_S = 900.0
ROUND_SHARE, CONTROL_SHARE = 10, 4  # a round and the control write so small a part
FILL = """
insert into billing_invoice (tenant_id, id, account_id, customer_id, number, status, currency, total, due, paid, created_at,
    ticket, subtotal, discount, tax, seen_at)
select %(tenant)s, 'in_' || n, 'platform', %(customer)s, 'BENCH-' || n, 'paid', 'eur', 11900, 0, 11900,
    now() - n * interval '1 second', 1, 10000, 0, 1900, now()
from generate_series(1, %(rows)s) as n
"""


@dataclass
class Growth:
    """Megabytes, by round."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        name = "kept" if goal.control_of else "written"
        return Result(goal, [growth[name] for growth in counted(self.rounds)])


def measure(options: Options) -> Growth:
    growth, rows = Growth(), TINY_ROWS if options.tiny else FULL_ROWS
    with databases.built("exports") as name:
        sizes = [rows, rows // ROUND_SHARE, rows // CONTROL_SHARE]
        whole, part, kept = asyncio.run(_fill(name, sizes))
        largest = 0.0
        for number in options.numbered("exports"):
            written = _run_child(*part, "written", sizes[1])
            largest = largest if number else _run_child(*whole, "written", rows)
            kept_growth = _run_child(*kept, "kept", sizes[2])
            growth.rounds.append({"written": max(written, largest), "kept": kept_growth})
    return growth


async def _fill(name: str, sizes: Sequence[int]) -> list[tuple[str, str]]:
    """Tenants with so many invoices: id and owner of each."""
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
            connection.execute("vacuum analyze billing_invoice")
        tenants.append((tenant.id, owner.cookie))
    await db.dispose()
    return tenants


def _run_child(tenant_id: str, cookie: str, side: str, rows: int) -> float:
    """Raises Broken for an export that is not whole."""
    result = forked.run(_print_growth, tenant_id, cookie, side, environment={}, timeout_s=TIMEOUT_S)
    match = re.search(r"^GROWTH (.+)$", result.output, re.MULTILINE)
    if match is None:
        raise Broken(f"the export ended with {result.returncode}: {result.output[-300:]}")
    growth_mb, row_count = json.loads(match.group(1))
    if row_count != rows:
        raise Broken(f"{row_count} of {rows} invoices were exported")
    return max(float(growth_mb), 0.01)


def _print_growth(tenant_id: str, cookie: str, side: str) -> None:
    log.configure("ERROR")
    db.log_in_as_worker()
    if side == "kept":
        _keep_rows()
    print("GROWTH", json.dumps(asyncio.run(_export(tenant_id, cookie))), flush=True)


async def _export(tenant_id: str, cookie: str) -> tuple[float, int]:
    """Megabytes, and rows in the file."""
    async with entry.enter_tenant(cookie, tenant_id) as ctx:
        started = await exports.begin(ctx, "invoices", "csv", {})
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


def _keep_rows() -> None:
    write_rows, finish = export_writers.CsvWriter.write_rows, export_writers.CsvWriter.finish
    rows = list[Any]()

    def write_at_the_end(writer: export_writers.CsvWriter) -> None:
        write_rows(writer, rows)
        finish(writer)

    export_writers.CsvWriter.write_rows = lambda writer, batch: rows.extend(batch)  # type: ignore[method-assign]
    export_writers.CsvWriter.finish = write_at_the_end  # type: ignore[method-assign]
