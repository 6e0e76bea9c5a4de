"""Secrets that were issued, and every text in which none of them may be: answers, frames, logs, mails, rows.

What an app issues is recorded in its own process (`record_issued`). An answer may repeat what its request contained,
a mail may contain its own link, and nothing else may contain anything.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from shared.api_keys import keys
from shared.backoffice import operator_keys
from shared.core import crypto
from shared.core.config import settings
from shared.files import links
from shared.tenancy import key_texts
from tests.attack.report import Report
from tests.attack.serve import LIBRARY_COOKIE
from tests.attack.world import World
from tests.support import factories

KIND = "canary"
COOKIE, CLIENT_TOKEN, TOKEN, LINK, KEY, API_KEY, PASSWORD = (
    "session cookie",
    "client token",
    "token",
    "link",
    "key",
    "API key",
    "password",
)
MIN_LENGTH = 20  # of a secret
MAX_CLEAN_RUNS = 5_000
RUN = re.compile(rf"[A-Za-z0-9_-]{{{MIN_LENGTH},}}")
RUN_OF_SECRET = re.compile(r"[A-Za-z0-9_-]+")


@dataclass
class Canary:
    kinds: dict[str, str] = field(default_factory=dict)  # of each secret
    leaks: Counter[str] = field(default_factory=Counter)  # by place and kind
    texts: Counter[str] = field(default_factory=Counter)  # that were searched, by place
    _beginnings: dict[str, set[str]] = field(default_factory=dict)  # secrets by their first characters
    _clean_runs: set[str] = field(default_factory=set)  # that hold none of the secrets that are known by now
    _clean_text: str = ""  # all of them: looking through one text is faster than through thousands
    _phrases: set[str] = field(default_factory=set)  # secrets that are more than one run of characters

    def add(self, kind: str, secret: str) -> None:
        if len(secret) < MIN_LENGTH or secret in self.kinds:
            return
        self.kinds[secret] = kind
        if RUN_OF_SECRET.fullmatch(secret):
            self._beginnings.setdefault(secret[:MIN_LENGTH], set()).add(secret)
            if secret in self._clean_text:
                self._clean_runs = {run for run in self._clean_runs if secret not in run}
                self._clean_text = "\n".join(self._clean_runs)
        else:
            self._phrases.add(secret)

    def add_cookies(self, header: str) -> None:
        for part in header.split(";"):
            self.add(COOKIE, part.partition("=")[2].strip())

    def find(self, text: str) -> set[str]:
        found = {phrase for phrase in self._phrases if phrase in text}
        clean_runs = list[str]()
        for run in set(RUN.findall(text)) - self._clean_runs:
            if found_in_run := self._find_in_run(run):
                found |= found_in_run
            else:
                clean_runs.append(run)
        self._keep_clean(clean_runs[: MAX_CLEAN_RUNS - len(self._clean_runs)])
        return found

    def _keep_clean(self, runs: Collection[str]) -> None:
        if runs:
            self._clean_runs.update(runs)
            self._clean_text = "\n".join([self._clean_text, *runs])

    def _find_in_run(self, run: str) -> set[str]:
        return {
            secret
            for start in range(len(run) - MIN_LENGTH + 1)
            for secret in self._beginnings.get(run[start : start + MIN_LENGTH], ())
            if run.startswith(secret, start)
        }

    def search(self, place: str, text: str, *, known: str = "", kinds: Iterable[str] = ()) -> None:
        """Counts what is found in `text`, but for what `known` contains and what is of one of these kinds."""
        self.texts[place] += 1
        for secret in self.find(text):
            if secret not in known and self.kinds[secret] not in kinds:
                self.leaks[f"{place}: {self.kinds[secret]}"] += 1

    def read_issued(self, path: str) -> None:
        for line in Path(path).read_text().splitlines():
            self.add(*json.loads(line))


canary = Canary()


issued_path: Path | None = None  # in the process of an app


def record_issued(path: Path | None) -> None:
    """In the process of an app: every token, link and API key that it makes is written to the file at `issued_path`.

    `path`: None until a fork of the process says which file is its own.
    """
    global issued_path
    issued_path = path
    new_token, sign, new_key_text = crypto.new_token, crypto.sign, key_texts.new_key_text
    new_operator_key_text = key_texts.new_operator_key_text

    def record(kind: str, secret: str) -> str:
        if issued_path is not None:
            with issued_path.open("a") as file:
                file.write(json.dumps([kind, secret]) + "\n")
        return secret

    def record_key(tenant_id: str, *, is_test: bool) -> key_texts.KeyText:
        key = new_key_text(tenant_id, is_test=is_test)
        record(API_KEY, key.text)
        return key

    def record_operator_key() -> key_texts.KeyText:
        key = new_operator_key_text()
        record(API_KEY, key.text)
        return key

    keys.new_key_text, operator_keys.new_operator_key_text = record_key, record_operator_key
    crypto.new_token = lambda: record(TOKEN, new_token())

    def record_link(purpose: str, *parts: str) -> str:
        link = sign(purpose, *parts)
        if (
            purpose != links.SIGNING_PURPOSE
        ):  # links to files are shown to their holder, and open for nobody else
            record(LINK, link)
            record(LINK, link.rpartition(".")[2])
        return link

    crypto.sign = record_link


def add_own_secrets() -> None:
    """Of this installation: what its settings hold, and the password of everybody in the world."""
    for key in settings().load_master_keys().values():
        canary.add(KEY, base64.b64encode(key).decode())
    canary.add(PASSWORD, factories.PASSWORD)
    for secret in (settings().database_url, settings().smtp_url):
        if secret is not None:
            canary.add(KEY, secret.get_secret_value())


async def attack(app: Any, world: World, report: Report) -> None:
    """At the end of what was done to an app: its log and metrics, and every row of the database."""
    canary.read_issued(app.issued_path)
    canary.add(COOKIE, LIBRARY_COOKIE)
    await app.ask("GET", "/metrics")
    log_lines = app.read_log()
    canary.search(f"{app.name} log", log_lines)
    search_rows(world)
    report.control(KIND, f"{app.name}: a library has logged a cookie", works="request headers" in log_lines)
    judge(report)


def search_rows(world: World) -> None:
    with world.superuser() as superuser:
        tables = superuser.execute(
            "select relname as name from pg_class where relkind in ('r', 'p') and not relispartition"
            " and relnamespace = 'public'::regnamespace"
        ).fetchall()
        for table in tables:
            rows = superuser.execute(
                sql.SQL("select row_text::text as text from {} row_text").format(
                    sql.Identifier(table["name"])
                )
            )
            canary.search(f"rows of {table['name']}", "\n".join(row["text"] for row in rows))


def judge(report: Report) -> None:
    by_kind = Counter(canary.kinds.values())
    for kind, count in by_kind.items():
        secret = next(secret for secret, of_kind in canary.kinds.items() if of_kind == kind)
        planted = f'{{"event": "x-{secret}"}}' if RUN_OF_SECRET.fullmatch(secret) else f"({secret})"
        works = secret in canary.find(planted)
        report.control(KIND, f"one {kind} of {count} is found where it is planted", works=works)
    for place in canary.texts:
        leaks = [leak for leak in canary.leaks if leak.startswith(f"{place}: ")]
        report.attempt(KIND, ", ".join(leaks) or place, refused=not leaks)
