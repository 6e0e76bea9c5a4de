"""Logs name tenant, actor and request, and no secret."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared.core import log
from tests.conftest import Cast

SECRET = "s3cr3t-value"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    out: list[dict[str, Any]] = []
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    before, level, configuration = logging.root.handlers[:], logging.root.level, structlog.get_config()
    log.configure()

    class Lines(list[dict[str, Any]]):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return (json.loads(line) for line in stream.getvalue().splitlines())

    yield Lines(out)
    logging.root.handlers[:] = before
    logging.root.setLevel(level)
    structlog.configure(**configuration)


async def test_log_line_names_tenant_actor_and_request(cast: Cast, lines: list[dict[str, Any]]) -> None:
    async with cast.ann.ctx() as ctx, cast.olga.octx() as octx:
        log.bind_logger(ctx, "x").info("renamed", name="Acme")
        log.bind_logger(octx, "x").info("looked")
    first, second = list(lines)
    assert (first["tenant_id"], first["actor_id"], first["request_id"]) == (
        cast.acme,
        cast.ann.user_id,
        ctx.request_id,
    )
    assert (first["event"], first["name"], first["level"]) == ("renamed", "Acme", "info")
    assert (second["tenant_id"], second["actor_id"]) == ("-", octx.actor_id)
    assert first["timestamp"].endswith("Z")


def test_log_line_without_a_tenant_says_so(lines: list[dict[str, Any]]) -> None:
    log.get_logger("x").info("started")
    logging.getLogger("some.library").warning("slow")
    assert [line["tenant_id"] for line in lines] == ["-", "-"]


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "new_password",
        "token",
        "session_token",
        "Cookie",
        "Authorization",
        "code",
        "api_key",
        "apikey",
        "dek",
    ],
)
def test_log_hides_values_named_like_secrets_at_any_depth(lines: list[dict[str, Any]], name: str) -> None:
    log.get_logger("x").info(
        "event", **{name: SECRET}, deep=[{"a": {name: SECRET}}], pair=(SECRET[:0], {name: SECRET})
    )
    assert SECRET not in json.dumps(list(lines))
    assert next(iter(lines))["event"] == "event"


@pytest.mark.parametrize(
    "message",
    [
        f"GET /verify?token={SECRET}&next=/",
        f"/reset?a=1&code={SECRET}",
        "key bk_s3cr3t_value_of_a_tenant",
        "with sk_test_s3cr3t_value",
        f"https://x/?password={SECRET}",
    ],
)
def test_log_hides_secrets_inside_texts(lines: list[dict[str, Any]], message: str) -> None:
    log.get_logger("x").info(message, where=message, many=[message])
    logging.getLogger("another.library").warning("they say: %s", message)
    for line in lines:
        assert "s3cr3t" not in json.dumps(line)
        assert log.HIDDEN in json.dumps(line)


def test_bug_is_logged_with_its_traceback_and_an_id_but_no_secret(
    lines: list[dict[str, Any]],
) -> None:
    try:
        raise ZeroDivisionError(f"at /verify?token={SECRET}")
    except ZeroDivisionError as bug:
        request_id = log.report_bug(bug, tenant_id="ten_acme")
    (line,) = list(lines)
    assert (line["event"], line["request_id"], line["tenant_id"]) == ("bug", request_id, "ten_acme")
    assert "test_log.py" in line["exception"]
    assert SECRET not in json.dumps(line)


def test_bug_report_keeps_the_given_request_id() -> None:
    assert log.report_bug(ZeroDivisionError("x"), request_id="req_given") == "req_given"
