"""People of one organisation: what each keeps from the others, although all may enter.

Nobody's page holds a stored secret, their own included. Rows that are one person's own, such as notifications and
sessions, do not exist for the others.
"""

import re
from collections.abc import Sequence
from typing import Any

from psycopg import sql

from shared.core import crypto
from shared.core.ids import new_id
from shared.identity.models import User
from shared.tenancy import entry, notifications
from tests.attack.apps import App, Socket
from tests.attack.frames import is_same, short
from tests.attack.handlers import HYDRATE, OTHER_OBJECT, REFUSALS
from tests.attack.payloads import Handler, filled, inputs
from tests.attack.report import Report
from tests.attack.sockets import fresh_own_session, own_cookie
from tests.attack.variety import some
from tests.attack.world import World

KIND = "people"
SECRET_COLUMN = re.compile(r"hash|proof|sealed|wrapped|seed|secret|token")
MIN_LENGTH = 16  # of a secret: shorter texts, such as the number of a key, are in many places
OWNERS = ("owner", "operator owner")  # who may open every page
OWN_ROWS = {
    "notification_id": ("notification", "ntf")
}  # argument: table of rows of one person, prefix of their ids


async def attack(app: App, world: World, report: Report) -> None:
    people = _list_people(app, world)
    secrets = read_stored_secrets(world)
    report.control(KIND, f"{app.name}: secrets are stored", works=len(secrets) > 3)
    others = [person for person in people if person not in OWNERS]
    readers = {route: [*OWNERS, *some(others, 1, of=f"readers of {route}")] for route in app.listing["pages"]}
    for person, cookie in people.items():
        pages = {route: load for route, load in app.listing["pages"].items() if person in readers[route]}
        await _look_for_secrets(
            app, world, report, person=person, cookie=cookie, pages=pages, secrets=secrets
        )
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
    with world.superuser() as superuser:
        column_rows = superuser.execute(
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
            values = {text for row in superuser.execute(query) for text in _to_texts(row["value"])}
            if values := {value for value in values if len(value) >= MIN_LENGTH}:
                columns[f"{column['table_name']}.{column['name']}"] = values
    return columns


def _to_texts(value: Any) -> tuple[str, ...]:
    return (bytes(value).hex(),) if isinstance(value, bytes | memoryview) else (str(value),)


async def _look_for_secrets(
    app: App,
    world: World,
    report: Report,
    *,
    person: str,
    cookie: str,
    pages: dict[str, str],
    secrets: dict[str, set[str]],
) -> None:
    """On these pages (route: its load), and on the page of the person's account."""
    answers: dict[str, str] = {}
    async with app.socket(cookie) as socket:
        for route, load in pages.items():
            path = _path(world, route)
            answers[route] = await socket.send(load, filled(app.listing["handlers"][load], {}), path)
            answers[route] += await socket.send(HYDRATE, {}, path)
            if person in OWNERS:
                shown = not any(word in answers[route] for word in (*REFUSALS, OTHER_OBJECT))
                report.control(KIND, f"{app.name}: {route} is shown to the {person}", works=shown)
    answers["/account"] = (await app.ask("GET", "/account", cookie)).text
    report.control(KIND, f"{app.name}: /account of the {person}", works="Password" in answers["/account"])
    for route, answer in answers.items():
        for column, values in secrets.items():
            refused = not any(value in answer for value in values)
            report.attempt(KIND, f"{app.name}: {column} on {route} for {person}", refused=refused)


def _path(world: World, route: str) -> str:
    if route.startswith("/t/"):
        return route.replace("[tenant]", world.acme_slug)
    return world.object_paths()[route][0] if "[" in route else route


async def _name_rows_of_others(app: App, world: World, report: Report) -> None:
    """Each person has a notification of their own: the others neither see it nor mark it as read."""
    handlers: dict[str, Handler] = app.listing["handlers"]
    accounts = {world.ann.cookie: world.ann, **{account.cookie: account for account in world.roles.values()}}
    notes = await _add_notes(world, [account.user for account in accounts.values()])
    for argument in OWN_ROWS.keys() - {name for handler in handlers.values() for name in inputs(handler)}:
        report.unknown(KIND, f"no handler takes {argument} any more")
    page = next(route for route in app.listing["pages"] if route.endswith("/notifications"))
    load, path = app.listing["pages"][page], _path(world, page)
    for person, cookie in _list_people(app, world).items():
        own_id = accounts[cookie].user.id
        async with app.socket(cookie) as socket:
            answer = await socket.send(load, {}, path)
            report.control(
                KIND, f"the {person} sees a notification of their own", works=notes[own_id] in answer
            )
            for user_id, note in notes.items():
                if user_id != own_id:
                    report.attempt(
                        KIND, f"the {person} sees one of another person", refused=note not in answer
                    )
            for name, handler in handlers.items():
                for argument in OWN_ROWS.keys() & set(inputs(handler)):
                    await _name_rows(socket, world, report, (name, handler, argument), path, person, own_id)


async def _add_notes(world: World, users: Sequence[User]) -> dict[str, str]:
    """A notification for each of them; its text by the id of the person."""
    notes = {user.id: f"Only for {new_id('usr')}" for user in users}
    async with entry.enter_tenant(world.ann.cookie, world.acme_slug) as ctx:
        for user_id, note in notes.items():
            await notifications.add(ctx, user_id, "attack", note, note, dedupe=new_id("ntf"))
    return notes


async def _name_rows(
    socket: Socket,
    world: World,
    report: Report,
    named: tuple[str, Handler, str],
    path: str,
    person: str,
    own_id: str,
) -> None:
    """`named`: a handler, and its argument that names a row of one person."""
    name, handler, argument = named
    table, prefix = OWN_ROWS[argument]
    rows = world.rows(table, "tenant_id", world.acme)
    for row in rows:
        if row["user_id"] == own_id:
            continue
        unknown = new_id(prefix)
        same = await socket.send(name, filled(handler, {argument: unknown}), path)
        answer = await socket.send(name, filled(handler, {argument: row["id"]}), path)
        is_hidden = is_same(answer, row["id"], same, unknown)
        is_unchanged = row in world.rows(table, "tenant_id", world.acme)
        attempt = f"{short(name)} with {argument} of another person, by the {person}"
        report.attempt(KIND, attempt, refused=is_hidden and is_unchanged)
    own_row_id = next((row["id"] for row in rows if row["user_id"] == own_id and row["read_at"] is None), "")
    await socket.send(name, filled(handler, {argument: own_row_id}), path)
    read_ids = [row["id"] for row in world.rows(table, "tenant_id", world.acme) if row["read_at"] is not None]
    attempt = f"{short(name)} with {argument} of one's own, by the {person}"
    report.control(KIND, attempt, works=own_row_id in read_ids)


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
    with world.superuser() as superuser:
        row = superuser.execute(query, [_hash_of(cookie)]).fetchone()
    assert row is not None
    return str(row["id"])
