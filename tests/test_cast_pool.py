"""Casts from the pool equal new ones, and each is handed out once."""

import json
from datetime import timedelta

import psycopg
from sqlalchemy import inspect
from sqlmodel import select

from shared.core import db
from shared.core.db import now
from shared.identity.models import UserSession
from tests.conftest import Cast, own_database
from tests.support import cast_pool, casts, factories
from tests.support.database import admin_url

EXPECTED_TASKS = [*["tenancy.provision"] * 2, *["tenancy.send_invitation"] * 2]


async def test_pool_hands_out_each_cast_once_and_only_in_its_database(schema: str) -> None:
    record = await casts.create()
    pool, elsewhere = casts.Pool(schema, [record]), casts.Pool(f"{schema}_other", [record])
    assert [await pool.take(), await pool.take(), await elsewhere.take()] == [record, None, None]


async def test_cast_comes_with_the_jobs_of_its_tenants(schema: str, cast: Cast) -> None:
    query = "select task_name from procrastinate_jobs where args->>'tenant_id' = any(%s) order by id"
    with psycopg.connect(admin_url(schema)) as connection:
        tasks = connection.execute(query, [[cast.acme, cast.globex]]).fetchall()
    assert [task for (task,) in tasks] == EXPECTED_TASKS


async def test_stored_cast_is_the_same_cast() -> None:
    record = await casts.create()
    again = casts.decode(json.loads(casts.encode(record)))
    assert (again.acme, again.globex) == (record.acme, record.globex)
    assert again.accounts.keys() == record.accounts.keys()
    for name, account in record.accounts.items():
        assert again.accounts[name].cookie == account.cookie
        assert again.accounts[name].user.model_dump() == account.user.model_dump()
        assert inspect(again.accounts[name].user).detached


async def test_people_of_a_cast_enter_their_own_tenant(cast: Cast) -> None:
    entered = {}
    for name in ("ann", "adam", "max", "gil"):
        async with getattr(cast, name).ctx() as ctx:
            entered[name] = (ctx.tenant_id, ctx.rights is not None)
    assert entered == {
        "ann": (cast.acme, True),
        "adam": (cast.acme, True),
        "max": (cast.acme, True),
        "gil": (cast.globex, True),
    }


async def test_sessions_of_an_old_pool_start_anew(schema: str) -> None:
    async with own_database(schema, "ages"):
        account = await factories.create_account("Ann")
        with psycopg.connect(admin_url(f"{schema}_ages")) as connection:
            connection.execute(
                "update user_session set created_at = created_at - interval '5 hours',"
                " last_seen_at = last_seen_at - interval '5 hours', expires_at = expires_at - interval '5 hours',"
                " idle_expires_at = idle_expires_at - interval '5 hours'"
            )
            connection.execute(cast_pool.REFRESH)
        async with db.transaction() as session:
            query = select(UserSession).where(UserSession.user_id == account.user.id)
            row = (await session.exec(query)).one()
        assert now() - row.last_seen_at < timedelta(minutes=1)
        assert timedelta(hours=23, minutes=59) < row.idle_expires_at - now() <= timedelta(hours=24)
