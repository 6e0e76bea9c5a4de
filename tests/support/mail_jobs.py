"""Runs the mail jobs of one tenant in the test, without a worker, and gives the mails that were sent."""

from shared.core import registry
from shared.dev.mailbox import Mail
from shared.jobs import lanes
from shared.jobs.lanes import Lane
from shared.jobs.worker import ExternalJob
from tests.conftest import Person
from tests.support import database
from tests.support.stand_in_mail import run_mailbox

TAKE_JOBS = """
    delete from procrastinate_jobs where args ->> 'tenant_id' = %s and queue_name = 'bulkhead_mail' returning task_name, args
"""
ENVELOPE = ("tenant_id", "request_id", "signature")


async def send_mails(person: Person) -> list[Mail]:
    """Of the organisation that this person is in; due or not, in no order."""
    async with person.ctx() as ctx:
        tenant_id = ctx.tenant_id
    jobs = database.connect().execute(TAKE_JOBS, [tenant_id]).fetchall()
    async with run_mailbox() as box:
        for task, arguments in jobs:
            handler = registry.list_tasks()[task]
            assert lanes.lane_of_handler(handler) is Lane.MAIL
            ids = {name: value for name, value in arguments.items() if name not in ENVELOPE}
            await handler(ExternalJob(tenant_id, ""), **ids)
    return box.mails
