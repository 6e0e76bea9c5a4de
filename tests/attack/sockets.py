"""Who gets a socket or an upload: origins, realms, tokens of others, sessions that have ended. In both apps."""

import uuid

from shared.core import db
from shared.identity import sessions
from shared.identity.realms import OPERATOR, USER, Realm
from shared.tenancy import entry
from tests.attack.apps import App
from tests.attack.report import Report
from tests.attack.world import World

KIND = "sockets"


def realm_of(app: App) -> Realm:
    return USER if app.name == "tenant" else OPERATOR


def foreign_origins(app: App) -> list[str | None]:
    """Near misses of our own, the other app's, and none at all."""
    port = app.url.rpartition(":")[2]
    return [
        *(None, "null", "http://evil.test", app.others_url, f"https://localhost:{port}", "http://localhost"),
        *(f"{app.url}.evil.test", f"{app.url}0", f"http://127.0.0.1:{port}", f"http://evil@localhost:{port}"),
    ]


def own_cookie(app: App, world: World) -> str:
    return world.ann.cookie if app.name == "tenant" else world.olga


def strangers(app: App, world: World) -> dict[str, str]:
    """Cookies without a live session of this app's realm."""
    realm, owner_cookie = realm_of(app), own_cookie(app, world)
    other = world.olga if app.name == "tenant" else world.ann.cookie
    return {
        "no session": "",
        "a session of the other realm": other,
        "a session of the other realm under our name": f"{realm.session_cookie}={other.partition('=')[2]}",
        "a session cut short": owner_cookie[:-4],
        "an empty session": f"{realm.session_cookie}=",
        "two sessions at once": f"{owner_cookie}; {realm.session_cookie}={other.partition('=')[2]}",
    }


async def attack(app: App, world: World, report: Report) -> None:
    owner_cookie = own_cookie(app, world)
    others = world.gil.cookie if app.name == "tenant" else world.operators["support"]
    token = str(uuid.uuid4())
    works = await app.opens(owner_cookie, token=token)
    report.control(KIND, f"{app.name}: its own session gets a socket", works=works)
    works = await app.opens(owner_cookie, token=token)
    report.control(KIND, f"{app.name}: and another with the same token", works=works)

    async def tried(name: str, cookie: str, **how: str | None) -> None:
        refused = not await app.opens(cookie, **how)  # type: ignore[arg-type]
        report.attempt(KIND, f"{app.name}: {name}", refused=refused)

    for origin in foreign_origins(app):
        await tried(f"origin {origin}", owner_cookie, origin=origin)
        await tried(f"origin {origin} without session", "", origin=origin)
    ended = await ended_session(app, world)
    for name, cookie in {**strangers(app, world), "a session that has ended": ended}.items():
        await tried(name, cookie)
        await tried(f"{name}, with a stolen token", cookie, token=token)
    await tried("a stolen token with another live session", others, token=token)
    for bad in ("short", "x" * 200, "a b c d e f g h", "%2e%2e%2f" * 4):
        await tried(f"token {bad[:12]}", owner_cookie, token=bad)
    for method in ("GET", "POST"):
        answer = await app.ask(method, f"/_event/?EIO=4&transport=polling&token={token}", owner_cookie)
        report.attempt(KIND, f"{app.name}: polling by {method}", refused=answer.status_code in (403, 404))
    await uploads(app, owner_cookie, {"another session": others, **strangers(app, world)}, token, report)


async def uploads(app: App, owner_cookie: str, others: dict[str, str], token: str, report: Report) -> None:
    """Reflex runs an upload on the state of whoever's token it names; there is no upload of Reflex in our pages."""
    picture = {"files": ("x.png", b"\x89PNG", "image/png")}
    headers = {"reflex-client-token": token, "reflex-event-handler": "state.upload"}

    async def sent(cookie: str, origin: str | None = "") -> int:
        answer = await app.ask("POST", "/_upload", cookie, origin=origin, files=picture, headers=headers)
        return answer.status_code

    report.control(
        KIND, f"{app.name}: the holder's upload is let through", works=await sent(owner_cookie) != 403
    )
    for name, cookie in others.items():
        report.attempt(KIND, f"{app.name}: upload by {name}", refused=await sent(cookie) == 403)
    for origin in foreign_origins(app):
        report.attempt(
            KIND, f"{app.name}: upload from {origin}", refused=await sent(owner_cookie, origin) == 403
        )
    for name, cookie in {"the holder": owner_cookie, **others}.items():
        answer = await app.ask("GET", "/_upload/x.png", cookie, headers=headers)
        refused = answer.status_code in (303, 403, 404)
        report.attempt(KIND, f"{app.name}: uploaded file for {name}", refused=refused)


async def ended_session(app: App, world: World) -> str:
    """A cookie that was good a moment ago."""
    realm = realm_of(app)
    async with db.transaction(realm.db_role) as session:
        session_row = await sessions.find(session, realm, own_cookie(app, world))
        assert session_row is not None
        token = await sessions.start(session, realm, session_row.subject_id, session_row.factors)
    cookie = f"{realm.session_cookie}={token}"
    async with db.transaction(realm.db_role) as session:
        session_row = await sessions.find(session, realm, cookie)
        assert session_row is not None
        await sessions.end(session, realm, session_row.session_hash)
    return cookie


async def fresh_session(app: App, subject_id: str) -> str:
    """Another session of this person, for what may end it."""
    realm = realm_of(app)
    async with db.transaction(realm.db_role) as session:
        token = await sessions.start(session, realm, subject_id, "password+totp")
    return f"{realm.session_cookie}={token}"


async def fresh_own_session(app: App, world: World) -> str:
    """Of the one whose `own_cookie` is."""
    if app.name == "tenant":
        return await fresh_session(app, world.ann.user.id)
    async with entry.enter_operator(world.olga) as octx:
        operator_id = octx.actor_id
    return await fresh_session(app, operator_id)
