"""People of one organisation: what each keeps from the others, although all may enter.

Nobody's page holds a stored secret, their own included. Rows that are one person's own, such as notifications and
sessions, do not exist for the others.
"""

import re
from typing import Any

from psycopg import sql

from shared.core import crypto
from shared.core.ids import new_id
from tests.attack.apps import App
from tests.attack.frames import bare, heard, short
from tests.attack.handlers import HYDRATE
from tests.attack.payloads import Handler, filled, inputs
from tests.attack.report import Report
from tests.attack.sockets import fresh_own_session, own_cookie
from tests.attack.world import World

KIND = "people"
SECRET_COLUMN = re.compile(r"hash|sealed|wrapped|seed|secret|token")
MIN_LENGTH = 16  # of a secret: shorter texts, such as the number of a key, are in many places
OWN_ROWS = {
    "notification_id": ("notification", "ntf")
}  # argument: table of rows of one person, prefix of their ids


async def attack(app: App, world: World, report: Report) -> None:
    people = _list_people(app, world)
    secrets = read_stored_secrets(world)
    report.control(KIND, f"{app.name}: secrets are stored", works=len(secrets) > 3)
    for person, cookie in people.items():
        await _look_for_secrets(app, world, report, person=person, cookie=cookie, secrets=secrets)
    if app.name == "tenant":
        await _name_rows_of_others(app, world, report)
    await _end_sessions_of_others(app, world, report)


def _list_people(app: App, world: World) -> dict[str, str]:
    """Cookies by who they are."""
    if app.name == "admin":
        return {f"operator {role}": cookie for role, cookie in world.operators.items()}
    return {"owner": world.ann.cookie} | {role: account.cookie for role, account in world.roles.items()}


def read_stored_secrets(world: World) -> dict[str, set[str]]:
    """Of each column of every table that holds secrets: its values, as text and in hexadecimal."""
    columns: dict[str, set[str]] = {}
    with world.eye() as eye:
        column_rows = eye.execute(
            "select c.relname as table_name, a.attname as name from pg_attribute a join pg_class c on c.oid = a.attrelid"
            " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition"
            " and a.attnum > 0 and not a.attisdropped order by 1, 2"
        ).fetchall()
        for column in column_rows:
            if not SECRET_COLUMN.search(column["name"]) or column["table_name"].startswith("audit"):
                continue  # the hashes of the audit log are shown, so that others can verify it
            query = sql.SQL(
                "select distinct {column} as value from {table} where {column} is not null"
            ).format(column=sql.Identifier(column["name"]), table=sql.Identifier(column["table_name"]))
            values = {text for row in eye.execute(query) for text in _to_texts(row["value"])}
            if values := {value for value in values if len(value) >= MIN_LENGTH}:
                columns[f"{column['table_name']}.{column['name']}"] = values
    return columns


def _to_texts(value: Any) -> tuple[str, ...]:
    return (bytes(value).hex(),) if isinstance(value, bytes | memoryview) else (str(value),)


async def _look_for_secrets(
    app: App, world: World, report: Report, *, person: str, cookie: str, secrets: dict[str, set[str]]
) -> None:
    """On every page that the person may open."""
    async with app.socket(cookie) as socket:
        for route, load in app.listing["pages"].items():
            path = _path(world, route)
            answer = await socket.send(load, filled(app.listing["handlers"][load], {}), path)
            answer += await socket.send(HYDRATE, {}, path)
            for column, values in secrets.items():
                refused = not any(value in answer for value in values)
                report.attempt(KIND, f"{app.name}: {column} on {route} for {person}", refused=refused)


def _path(world: World, route: str) -> str:
    return (
        route.replace("[tenant]", world.acme_slug)
        if route.startswith("/t/")
        else route.replace("[tenant]", world.acme)
    )


async def _name_rows_of_others(app: App, world: World, report: Report) -> None:
    handlers: dict[str, Handler] = app.listing["handlers"]
    owner_id_by_cookie = {account.cookie: account.user.id for account in (world.ann, *world.roles.values())}
    for person, cookie in _list_people(app, world).items():
        async with app.socket(cookie) as socket:
            for name, handler in handlers.items():
                for argument in OWN_ROWS.keys() & set(inputs(handler)):
                    table, prefix = OWN_ROWS[argument]
                    path = _path(world, next(iter(app.listing["pages"])))
                    for row in world.rows(table, "tenant_id", world.acme):
                        if row["user_id"] == owner_id_by_cookie[cookie]:
                            continue
                        unknown = new_id(prefix)
                        same = await socket.send(name, filled(handler, {argument: unknown}), path)
                        answer = await socket.send(name, filled(handler, {argument: row["id"]}), path)
                        is_same = bare(answer, row["id"]) == bare(same, unknown)
                        is_unchanged = row in world.rows(table, "tenant_id", world.acme)
                        attempt = f"{short(name)} with {argument} of another person, by the {person}"
                        report.attempt(
                            KIND, attempt, refused=is_same and is_unchanged and "error" in heard(answer)
                        )


async def _end_sessions_of_others(app: App, world: World, report: Report) -> None:
    """By the ids that the account page of the other person names."""
    people = list(_list_people(app, world).items())
    for (person, cookie), (_, other) in zip(people, [*people[1:], people[0]], strict=True):
        for name in (_find_session_id(app, world, other), _hash_of(other)):
            await _end_session(app, cookie, name)
            refused = await app.opens(other)
            report.attempt(KIND, f"{app.name}: the {person} ends another's session", refused=refused)
    fresh = await fresh_own_session(app, world)
    await _end_session(app, own_cookie(app, world), _find_session_id(app, world, fresh))
    report.control(KIND, f"{app.name}: one's own session ends", works=not await app.opens(fresh))


async def _end_session(app: App, cookie: str, name: str) -> None:
    await app.ask("POST", "/account/sessions/end", cookie, data={"session": name})


def _hash_of(cookie: str) -> str:
    return crypto.hash_token(cookie.partition("=")[2])


def _find_session_id(app: App, world: World, cookie: str) -> str:
    table = sql.Identifier("user_session" if app.name == "tenant" else "operator_session")
    query = sql.SQL("select id from {} where token_hash = %s").format(table)
    with world.eye() as eye:
        row = eye.execute(query, [_hash_of(cookie)]).fetchone()
    assert row is not None
    return str(row["id"])
