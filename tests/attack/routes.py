"""Every HTTP route and page of both apps: who may not, from where, and what an answer may not tell.

The routes come from the routers, what they are for from the two tables here. A route that is not in a table, or a
line without a route, turns the report red: nobody has said who may use it.
"""

import asyncio
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
from PIL import Image

from shared.access.permissions import Permission
from shared.access.roles import ROLES
from shared.billing.accounts import WEBHOOK_PATH
from shared.core.ids import new_id
from shared.tenancy import entry
from shared.web import mail_webhooks
from tests.attack.apps import MAIL_WEBHOOK_KEY, App
from tests.attack.report import Report
from tests.attack.sockets import ended_session, foreign_origins, fresh_session, own_cookie, strangers
from tests.attack.variety import some
from tests.attack.world import World
from tests.jobs import test_mailgun_events as mailgun
from tests.support import factories
from tests.support.billing import webhooks

KIND = "routes"
AT_ONCE = 8
FOREIGN = "This request came from another site."
FOREIGN_SITES = ("cross-site", "same-site", "none")
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
JSON = {"accept": "application/json"}


@dataclass(frozen=True)
class Use:
    """What a route is for. `{slug}` and `{name}` in fields are of the tenant that is asked for."""

    audience: Literal["anybody", "person", "member", "signed"]
    permission: Permission | None = None  # in the tenant
    query: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    file: str = ""  # name of its field
    from_other_app: bool = False  # its pages post here, and those of this app don't
    from_anywhere: bool = False  # mail programs post here too: what it may do is in the signed address


ANYBODY, PERSON, MEMBER = Use("anybody"), Use("person"), Use("member")
ANYBODY_BY_LINK = Use("anybody", from_anywhere=True)
SIGNED = Use("signed")  # carries its own proof, from wherever it comes; no cookie helps
BOTH = {
    **dict.fromkeys(("GET /healthz", "GET /readyz", "GET /sign-in", "GET /mfa"), ANYBODY),
    **dict.fromkeys(("POST /auth/sign-in", "POST /auth/mfa", "POST /auth/sign-out"), ANYBODY),
    **dict.fromkeys((f"GET /{tree}/{{rest:path}}" for tree in ("account", "api", "auth", "files")), ANYBODY),
    "GET /onboarding/{rest:path}": ANYBODY,
    **dict.fromkeys(
        (
            "GET /.well-known/audit-keys.json",
            "GET /.well-known/security.txt",
            "GET /.well-known/change-password",
        ),
        ANYBODY,
    ),
    **dict.fromkeys(("GET /account", "GET /account/factor", "POST /account/factor"), PERSON),
    **dict.fromkeys(("POST /account/name", "POST /account/password", "POST /account/codes"), PERSON),
    **dict.fromkeys(("POST /account/factor/enrol", "POST /account/factor/off"), PERSON),
    **dict.fromkeys(("POST /account/sessions/end", "POST /account/sessions/end-others"), PERSON),
}
SETUP = Permission.SETTINGS_WRITE
DOCUMENTS = ("GET /api/v1/openapi.json", "GET /api/operator/v1/openapi.json")
USES = {
    "tenant": {
        **BOTH,
        "GET /api/v1/openapi.json": ANYBODY,
        **dict.fromkeys(("GET /forgot", "GET /forgot/sent", "GET /reset", "GET /sign-up"), ANYBODY),
        **dict.fromkeys(("GET /verify", "GET /metrics", "GET /invitations/accept"), ANYBODY),
        **dict.fromkeys(("POST /auth/forgot", "POST /auth/reset", "POST /auth/sign-up"), ANYBODY),
        **dict.fromkeys(("POST /auth/resend", "POST /auth/verify", "POST /invitations/accept"), ANYBODY),
        **dict.fromkeys(("GET /", "GET /organisations", "POST /organisations"), PERSON),
        "GET /webhooks/{rest:path}": ANYBODY,
        **dict.fromkeys(("POST /webhooks/stripe", "POST /webhooks/stripe/{token}"), SIGNED),
        "POST /webhooks/{rest:path}": SIGNED,
        **dict.fromkeys(("GET /factor-reset", "GET /mfa/lost", "POST /auth/factor-reset"), ANYBODY),
        **dict.fromkeys(("POST /auth/mfa/lost",), ANYBODY),
        f"POST {mail_webhooks.PATH}": SIGNED,
        **dict.fromkeys(("GET /unsubscribe/{token}", "POST /unsubscribe/{token}"), ANYBODY_BY_LINK),
        "GET /unsubscribe/{rest:path}": ANYBODY,
        "POST /account/mail/prove": PERSON,
        "POST /account/factor/keep": PERSON,
        "POST /auth/support": Use("anybody", from_other_app=True),
        "POST /auth/support/end": ANYBODY,
        "GET /organisations/leave": Use("member", query={"t": "{slug}"}),
        "POST /organisations/leave": Use("member", fields={"t": "{slug}", "membership": "mem_x"}),
        "GET /t/{slug}/logo": MEMBER,
        "POST /t/{slug}/logo": Use("member", Permission.SETTINGS_WRITE, file="logo"),
        "GET /files/{token}": ANYBODY,  # `files` attacks it
        "GET /onboarding": Use("member", SETUP, query={"t": "{slug}"}),
        "POST /onboarding/finish": Use("member", SETUP, fields={"t": "{slug}"}),
        "POST /onboarding/organisation": Use(
            "member", SETUP, fields={"t": "{slug}", "slug": "{slug}", "name": "{name}"}
        ),
        "POST /onboarding/people": Use(
            "member", SETUP, fields={"t": "{slug}", "email1": "eve@evil.test", "role1": "admin"}
        ),
        "POST /onboarding/{slug}/look": Use("member", SETUP, fields={"colour": "#ff0000"}, file="logo"),
    },
    "admin": {
        **BOTH,
        "GET /files/{token}": ANYBODY,  # bound to the operator who asked
        "GET /api/operator/v1/openapi.json": ANYBODY,
    },
}
Signed = tuple[bytes, dict[str, str]]  # a body, and the headers that prove it
CLOSED = ("/_all_routes", "/_event", "/_health", "/_upload", "/auth-codespace", "/ping")  # of Reflex


async def attack(app: App, listings: dict[str, Any], world: World, report: Report) -> None:
    """`listings`: of both apps, as `apps.listing` found them."""
    uses, listed = USES[app.name], listings[app.name]
    pages = {f"GET {page}": page_use(app) for page in listed["pages"]}
    run = _Run(app, world, report)
    await run.prepare()
    listed_uses = {
        name: use for name, use in {**uses, **pages}.items() if name in listed["routes"] or name in pages
    }
    for name, use in listed_uses.items():
        await run.control(name, use)
    before = world.prints()
    work = [attempt for name, use in listed_uses.items() for attempt in run.attempts(name, use)]
    work += [run.closed(path) for path in CLOSED]
    for other in listings.keys() - {app.name}:
        other_names = {*USES[other], *(f"GET {page}" for page in listings[other]["pages"])}
        work += [run.of_the_other(name) for name in sorted(other_names - uses.keys() - pages.keys())]
    limit = asyncio.Semaphore(AT_ONCE)

    async def calm(attempt: Any) -> None:
        async with limit:
            await attempt

    try:
        async with (
            asyncio.TaskGroup() as group
        ):  # which waits for those that have begun, also after a failure
            for attempt in work:
                group.create_task(calm(attempt))
    finally:
        for attempt in work:  # those that have not begun, where the run was cancelled
            attempt.close()
    report.attempt(KIND, f"{app.name}: all of these changed nothing", refused=world.prints() == before)


def inventory(app_name: str, listed: dict[str, Any], report: Report) -> None:
    """Raises nothing; a route of which nobody said who may use it turns the report red."""
    routes = {name for name in listed["routes"] if not is_endpoint(name)}
    for name in sorted(routes ^ USES[app_name].keys()):
        report.unknown(KIND, f"{app_name} {name}")
    for path in sorted(set(listed["framework"]) - set(CLOSED)):
        report.unknown(KIND, f"{app_name} {path} of Reflex")
    for name in [*sorted(routes), *(f"GET {page}" for page in listed["pages"])]:
        report.covers(KIND, f"{app_name} {name}")


def is_endpoint(name: str) -> bool:
    """Of the REST API: `endpoints` attacks them. What refuses all other methods and addresses is among them."""
    return name.partition(" ")[2].startswith(("/api/v1", "/api/operator/v1")) and name not in DOCUMENTS


def page_use(app: App) -> Use:
    return MEMBER if app.name == "tenant" else PERSON


def refused(answer: httpx.Response) -> bool:
    to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
    return to_sign_in or answer.status_code in (401, 403, 404, 405)


class _Run:
    def __init__(self, app: App, world: World, report: Report) -> None:
        self.app, self.world, self.report = app, world, report

    async def prepare(self) -> None:
        """`owner_id`: somebody with every right, whom nobody else needs: some routes end sessions."""
        if self.app.name == "tenant":
            rae = await factories.create_account("Rae")
            await factories.join_tenant(self.world.ann, self.world.acme_slug, rae, "admin")
            with self.world.superuser() as superuser:  # no one is invited as an owner
                superuser.execute("update membership set role = 'owner' where user_id = %s", [rae.user.id])
            self.owner_id = rae.user.id
        else:
            self.owner_id = await _operator_id(await factories.create_operator("Rae"))
        self.strangers = strangers(self.app, self.world)
        self.strangers["a session that has ended"] = await ended_session(self.app, self.world)

    async def control(self, name: str, use: Use) -> None:
        """Whoever it is for gets something else than a refusal."""
        world = self.world
        cookie = await fresh_session(self.app, self.owner_id)
        answer = await self._ask(name, use, cookie, world.acme, own_name=True)
        works = not refused(answer)
        # A wrong password or link is refused too, but not for where it comes from.
        if use.audience == "anybody":
            origin = self.app.others_url if use.from_other_app else ""
            answer = await self._ask(name, use, "", world.acme, origin=origin)
            works = FOREIGN not in answer.text and answer.status_code < 500
        if use.audience == "signed":  # by the platform's secret, which no other address believes
            body, signed = _build_genuine(name)
            answer = await self._ask(name, use, "", world.acme, origin=None, content=body, headers=signed)
            is_ours = name.endswith((WEBHOOK_PATH, mail_webhooks.PATH))
            works = answer.status_code == (200 if is_ours else 404)
        self.report.control(KIND, f"{self.app.name} {name}: {answer.status_code}", works=works)

    def attempts(self, name: str, use: Use) -> Iterator[Any]:
        world, method = self.world, name.partition(" ")[0]
        if use.audience == "signed":
            yield from self._attempts_unsigned(name, use)
            return
        for person, cookie in self.strangers.items():
            yield self._refused(
                f"{name}: {person}", name, use, cookie, world.acme, open=use.audience == "anybody"
            )
        if method in CHANGING and not use.from_anywhere:
            foreign: list[dict[str, Any]] = [
                *({"origin": origin} for origin in self._foreign_origins(use)),
                *({"origin": None, "headers": {"sec-fetch-site": site}} for site in FOREIGN_SITES),
            ]
            for how in some(foreign, 6, of=f"origins for {name}", always=3):
                yield self._foreign(name, use, how)
        else:
            yield self._no_cors(name, use)
        for other in set(CHANGING) - {method}:
            yield self._refused(f"{other} instead of {name}", name, use, "", world.acme, method=other)
        if use.audience != "member":
            return
        for person, cookie, tenant in (
            ("the owner of Globex", world.gil.cookie, world.acme),
            ("the owner of Acme", world.ann.cookie, world.globex),
            ("a person without a tenant", world.carl.cookie, world.acme),
        ):
            yield self._refused(f"{name}: {person}", name, use, cookie, tenant)
            compared: list[tuple[str, dict[str, str], str]] = [
                ("", {}, ""),
                (", another address", {}, world.former_slugs[tenant]),
                (", another address", {}, tenant),
                ("", JSON, ""),
            ]
            for words, accept, alias in some(compared, 3, of=f"{person} for {name}", always=2):
                yield self._same_as_unknown(
                    f"{name}: {person}{words}", name, use, cookie, tenant, accept, alias
                )
        for role, account in world.roles.items():
            if use.permission is not None and use.permission not in ROLES[role].permissions:
                yield self._refused(f"{name}: a {role}", name, use, account.cookie, world.acme)

    def _foreign_origins(self, use: Use) -> list[str | None]:
        origins = foreign_origins(self.app)
        if not use.from_other_app:
            return origins
        return [self.app.url if origin == self.app.others_url else origin for origin in origins]

    def _attempts_unsigned(self, name: str, use: Use) -> Iterator[Any]:
        people = {"the owner": own_cookie(self.app, self.world), **self.strangers}
        for person, cookie in people.items():
            yield self._unsigned(f"{name}: unsigned by {person}", name, use, cookie, (b"{}", {}))
        for description, forged in _build_forged(name).items():
            yield self._unsigned(f"{name}: signed {description}", name, use, "", forged)
        for other in set(CHANGING) - {"POST"}:
            yield self._refused(f"{other} instead of {name}", name, use, "", self.world.acme, method=other)

    async def _unsigned(self, description: str, name: str, use: Use, cookie: str, sent: Signed) -> None:
        body, headers = sent
        answer = await self._ask(name, use, cookie, self.world.acme, content=body, headers=headers)
        ok = answer.status_code in (400, 404) and not self._tells(answer)
        self.report.attempt(KIND, f"{self.app.name} {description}: {answer.status_code}", refused=ok)

    async def _refused(
        self,
        description: str,
        name: str,
        use: Use,
        cookie: str,
        tenant: str,
        *,
        open: bool = False,
        method: str = "",
    ) -> None:
        """`open`: everybody is answered, and learns nothing."""
        answer = await self._ask(name, use, cookie, tenant, method=method)
        ok = (open or refused(answer)) and not self._tells(answer)
        self.report.attempt(KIND, f"{self.app.name} {description}: {answer.status_code}", refused=ok)

    async def _foreign(self, name: str, use: Use, how: dict[str, Any]) -> None:
        cookie = await fresh_session(self.app, self.owner_id)
        answer = await self._ask(name, use, cookie, self.world.acme, **how)
        ok = answer.status_code == 403 and FOREIGN in answer.text and not self._tells(answer)
        self.report.attempt(KIND, f"{self.app.name} {name}: {how}: {answer.status_code}", refused=ok)

    async def _no_cors(self, name: str, use: Use) -> None:
        """Another site may send people here; its scripts may not read what we answer."""
        cookie = await fresh_session(self.app, self.owner_id)
        answer = await self._ask(name, use, cookie, self.world.acme, origin="http://evil.test", own_name=True)
        allowed = answer.headers.get("access-control-allow-origin", "")
        ok = allowed in ("", self.app.url)
        self.report.attempt(KIND, f"{self.app.name} {name}: read by another site", refused=ok)

    async def _same_as_unknown(
        self,
        description: str,
        name: str,
        use: Use,
        cookie: str,
        tenant: str,
        accept: dict[str, str],
        alias: str = "",
    ) -> None:
        """Byte for byte what a tenant that does not exist answers. `alias`: a former slug, or the id."""
        slug = alias or self._slug(tenant)
        unknown = f"{slug[:-2]}zz"
        known_answer = await self._ask(name, use, cookie, tenant, headers=accept, slug=slug)
        unknown_answer = await self._ask(name, use, cookie, tenant, headers=accept, slug=unknown)
        ok = _bare(known_answer, slug) == _bare(unknown_answer, unknown)
        self.report.attempt(KIND, f"{self.app.name} {description}: the same as nothing {accept}", refused=ok)

    async def closed(self, path: str) -> None:
        for person, cookie in {"the owner": own_cookie(self.app, self.world), **self.strangers}.items():
            answer = await self.app.ask("GET", path, cookie)
            ok = answer.status_code in (303, 403, 404) and not self._tells(answer)
            self.report.attempt(KIND, f"{self.app.name} {path}: {person}: {answer.status_code}", refused=ok)

    async def of_the_other(self, name: str) -> None:
        """What belongs to the other app is not answered here, to nobody."""
        cookie = await fresh_session(self.app, self.owner_id)
        answer = await self._ask(name, ANYBODY, cookie, self.world.acme)
        ok = refused(answer) and not self._tells(answer)
        self.report.attempt(KIND, f"{self.app.name}, of the other: {name}: {answer.status_code}", refused=ok)

    async def _ask(
        self,
        name: str,
        use: Use,
        cookie: str,
        tenant: str,
        *,
        own_name: bool = False,
        method: str = "",
        slug: str = "",
        **how: Any,
    ) -> httpx.Response:
        verb, _, path = name.partition(" ")
        slug = slug or self._slug(tenant)
        values = {"slug": slug, "name": self.world.names[tenant] if own_name else "Taken over"}
        path = path.replace("{slug}", slug).replace("[tenant]", slug if self.app.name == "tenant" else tenant)
        path = path.replace("{rest:path}", "nothing/is/here")
        sent: dict[str, Any] = {}
        if use.query:
            sent["params"] = {key: value.format(**values) for key, value in use.query.items()}
        if (method or verb) in CHANGING:
            sent["data"] = {key: value.format(**values) for key, value in use.fields.items()}
            if use.file:
                sent["files"] = {use.file: ("logo.png", _picture(), "image/png")}
        return await self.app.ask(method or verb, path, cookie, **sent, **how)

    def _slug(self, tenant: str) -> str:
        return self.world.acme_slug if tenant == self.world.acme else self.world.globex_slug

    def _tells(self, answer: httpx.Response) -> bool:
        words = self.world.words(self.world.acme, self.world.globex)
        return any(word in answer.text for word in words)


def _build_genuine(name: str) -> Signed:
    """What the provider sends to this address, about nobody of ours."""
    if name.endswith(mail_webhooks.PATH):
        return _build_mail_event(), {}
    body = webhooks.build_body()
    return body, {"stripe-signature": webhooks.build_signature(body)}


def _build_forged(name: str) -> dict[str, Signed]:
    """By how it is wrong."""
    if name.endswith(mail_webhooks.PATH):
        return {
            "by another secret": (_build_mail_event(key="of-somebody-else"), {}),
            "a day ago": (_build_mail_event(ago=86_400), {}),
        }
    body = webhooks.build_body()
    return {
        "by another secret": (
            body,
            {"stripe-signature": webhooks.build_signature(body, "whsec_of_somebody_else")},
        ),
        "a day ago": (body, {"stripe-signature": webhooks.build_signature(body, ago=86_400)}),
        "for another body": (body, {"stripe-signature": webhooks.build_signature(b"{}")}),
    }


def _build_mail_event(*, key: str = MAIL_WEBHOOK_KEY, ago: int = 0) -> bytes:
    """A mail that arrived, which changes nothing. `ago`: seconds."""
    token = new_id("tok").replace("_", "").ljust(40, "0")
    signature = mailgun.sign(str(int(time.time()) - ago), token, key=key)
    return mailgun.build_body(signature, event="delivered", recipient="")


async def _operator_id(cookie: str) -> str:
    async with entry.enter_operator(cookie) as octx:
        return octx.actor_id


def _bare(answer: httpx.Response, slug: str) -> tuple[int, list[tuple[str, str]], str]:
    request_id = answer.headers.get("x-request-id", "-")
    headers = sorted(
        (name, value) for name, value in answer.headers.items() if name not in ("date", "x-request-id")
    )
    text = answer.text.replace(request_id, "REQUEST").replace(slug, "SLUG")
    return answer.status_code, [(name, value.replace(slug, "SLUG")) for name, value in headers], text


def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, "PNG")
    return out.getvalue()
