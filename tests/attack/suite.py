"""All kinds of attempts against one world."""

from tests.attack import caches, jobs, tables, world
from tests.attack.report import Report


async def run() -> Report:
    report, made = Report(), await world.build()
    tables.attack(made, report)
    caches.attack(made, report)
    await jobs.attack(made, report)
    return report
