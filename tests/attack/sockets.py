"""Who gets a socket or an upload: origins, realms, tokens of others, sessions that have ended. In both apps."""

import uuid

from shared.core import db
from shared.identity import sessions
from shared.identity.realms import OPERATOR, USER, Realm
from tests.attack.apps import URLS, App
from tests.attack.report import Report
from tests.attack.world import World

KIND = "sockets"
FOREIGN = (None, "null", "http://evil.test", "https://localhost:3201", "http://localhost:3201.evil.test",
           "http://127.0.0.1:3201", "http://localhost", "http://localhost:3203")  # fmt: skip


async def attack(app: App, world: World, report: Report) -> None:
    own, others = (
        (world.ann.cookie, world.gil.cookie)
        if app.which == "tenant"
        else (world.olga, await second_operator())
    )
    wrong_realm = world.olga if app.which == "tenant" else world.ann.cookie
    swapped = f"{(OPERATOR if app.which == 'admin' else USER).cookie}={wrong_realm.partition('=')[2]}"
    token = str(uuid.uuid4())
    report.control(
        KIND, f"{app.which}: its own session gets a socket", works=await app.opens(own, token=token)
    )

    async def tried(name: str, cookie: str, **how: str | None) -> None:
        report.attempt(KIND, f"{app.which}: {name}", refused=not await app.opens(cookie, **how))  # type: ignore[arg-type]

    for origin in (*FOREIGN, *(url for name, url in URLS.items() if name != app.which)):
        await tried(f"origin {origin}", own, origin=origin)
        await tried(f"origin {origin} without session", "", origin=origin)
    for name, cookie in (
        ("no session", ""),
        ("session of the other realm", wrong_realm),
        ("session of the other realm under our name", swapped),
        ("a session cut short", own[:-4]),
        ("an empty session", own.partition("=")[0] + "="),
    ):
        await tried(name, cookie)
        await tried(f"{name}, with a stolen token", cookie, token=token)
    await tried("a stolen token with another live session", others, token=token)
    for bad in ("short", "x" * 200, "a b c d e f g h", "%2e%2e%2f" * 4):
        await tried(f"token {bad[:12]}", own, token=bad)
    for method in ("GET", "POST"):
        answer = app.ask(method, f"/_event/?EIO=4&transport=polling&token={token}", own)
        report.attempt(KIND, f"{app.which}: polling by {method}", refused=answer.status_code in (403, 404))
    uploads(app, own, others, token, report)
    ended = await ended_session(app, world)
    await tried("a session that has ended", ended)
    await tried("a session that has ended, with a stolen token", ended, token=token)


def uploads(app: App, own: str, others: str, token: str, report: Report) -> None:
    picture = {"files": ("x.png", b"\x89PNG", "image/png")}
    for name, cookie, origin in (
        ("no session", "", ""),
        ("another session", others, ""),
        ("our session from elsewhere", own, "http://evil.test"),
        ("our session without origin", own, None),
    ):
        headers = {"reflex-client-token": token, "reflex-event-handler": "state.upload"}
        answer = app.ask("POST", "/_upload", cookie, origin=origin, files=picture, headers=headers)
        report.attempt(
            KIND, f"{app.which}: upload with the token and {name}", refused=answer.status_code == 403
        )
        answer = app.ask("GET", "/_upload/x.png", cookie, origin=origin, headers=headers)
        report.attempt(
            KIND, f"{app.which}: uploaded file with {name}", refused=answer.status_code in (303, 403, 404)
        )


async def second_operator() -> str:
    from tests import factories

    return await factories.operator("Sam", "support")


async def ended_session(app: App, world: World) -> str:
    """A cookie that was good a moment ago."""
    realm: Realm = USER if app.which == "tenant" else OPERATOR
    async with db.transaction(realm.db_role) as session:
        found = await sessions.find(session, realm, world.ann.cookie if app.which == "tenant" else world.olga)
        assert found is not None
        token = await sessions.start(
            session, realm, found.subject_id, "password+totp" if app.which == "admin" else "password"
        )
    cookie = f"{realm.cookie}={token}"
    async with db.transaction(realm.db_role) as session:
        found = await sessions.find(session, realm, cookie)
        assert found is not None
        await sessions.end(session, realm, found.session_hash)
    return cookie
