"""Logs name tenant, actor and request, and no secret."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core import log, request_ids, trace_ids
from shared.core.context import Ctx
from shared.core.errors import NoTenant
from shared.jobs import queue
from tests.conftest import Cast
from tests.support import workers
from tests.support.http_visitor import browser

SECRET = "s3cr3t-value"
TOKEN = "q7Zt0s3cr3tXw-aP_2bK9vYd4LmN8cRfT1hGjU6eWiQ"  # shaped like a session token
CLIENT_TOKEN = "5ec7e700-5ec7-4e70-8ec7-5ec7e7005ec7"


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
    for name in log.LIBRARY_LEVELS:
        logging.getLogger(name).setLevel(logging.NOTSET)
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


async def test_log_call_without_a_tenant_in_a_tenants_transaction_raises(
    cast: Cast, lines: list[dict[str, Any]]
) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(NoTenant, match="names none"):
            log.get_logger("x").info("renamed")
        with pytest.raises(NoTenant):
            log.get_logger("x").info("renamed", tenant_id="-")
        log.bind_logger(ctx, "x").info("renamed")
        log.get_tenant_logger("x").info("flag_evaluated")
        logging.getLogger("some.library").warning("slow")
    log.get_logger("x").info("outside")
    assert [line["tenant_id"] for line in lines] == [cast.acme, cast.acme, cast.acme, "-"]


async def test_every_line_of_a_request_and_its_job_names_tenant_and_trace(
    schema: str, cast: Cast, lines: list[dict[str, Any]]
) -> None:
    workers.clear_queue(schema)

    async def fail(ctx: Ctx) -> None:
        logging.getLogger("some.library").warning("slow")
        raise ZeroDivisionError

    async with browser(cookie=cast.ann.cookie) as client:
        answer = await client.get(f"/t/{cast.ann.slug}/logo")
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "tests.fail")
    await workers.run_due_jobs({"tests.fail": fail})
    workers.clear_queue(schema)
    request_lines = [line for line in lines if line.get("request_id")]
    (request,) = [line for line in request_lines if line["event"] == "request"]
    assert request["trace_id"] == trace_ids.derive(answer.headers["x-request-id"])
    assert request["actor_type"] == "user"
    assert {line["event"] for line in request_lines} >= {"request", "slow"}
    assert {line["tenant_id"] for line in request_lines} == {cast.acme}
    assert all("tenant_id" in line for line in lines)


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


@pytest.mark.parametrize("around", ["client '{}'", "lock for {}_reflex___state was held", "x.{}.y", "_{}"])
def test_client_token_is_hidden_wherever_it_stands(around: str) -> None:
    token = "3e8eb249-4321-4e2b-98a7-19a2de65f200"
    assert token not in log.hide_secrets(around.format(token))


def test_log_line_names_the_request_in_progress(lines: list[dict[str, Any]]) -> None:
    request_id = request_ids.begin(attempt=2)
    log.get_logger("x").info("started")
    logging.getLogger("some.library").warning("slow")
    request_ids.begin("req_other")
    assert [(line["request_id"], line["attempt"]) for line in lines] == [(request_id, 2)] * 2


def test_bug_report_keeps_the_given_request_id() -> None:
    assert log.report_bug(ZeroDivisionError("x"), request_id="req_given") == "req_given"


class Event:
    """Prints its headers, as Reflex' events do."""

    def __init__(self, cookie: str) -> None:
        self.router_data = {
            "headers": {"host": "x", "cookie": cookie, "accept": "*/*"},
            "token": CLIENT_TOKEN,
        }

    def __repr__(self) -> str:
        return f"Event(name='gone', router_data={self.router_data!r})"


@pytest.mark.parametrize(
    "message",
    [
        f"Error processing event queue entry for {Event(f'theme=dark; __Host-bulkhead-tenant={TOKEN}')}",
        f"Error processing {Event(f'quote{chr(39)}; __Host-bulkhead-admin={TOKEN}; a=b')!r}",
        f"headers: {json.dumps({'Cookie': f'a={TOKEN}'})}",
        f"Cookie: a=1; b={TOKEN}\r\nAccept: */*",
        f"Authorization: Bearer {SECRET}",
        f"{{'authorization': 'Basic {SECRET}'}}",
        f"Attempting to send delta to disconnected client '{CLIENT_TOKEN}'",
        f"reflex_event|load|{CLIENT_TOKEN}|1",
        f"a token alone: {TOKEN}",
        f"smtp://mailer:{SECRET}@mail.example.com:587 refused us",
        f"POST /webhooks/stripe/{SECRET}",
        f"1:{'s3cr3t' * 7}A= is a key",
    ],
    ids=lambda message: message[:24],
)
def test_log_hides_secrets_of_other_libraries_in_one_line(lines: list[dict[str, Any]], message: str) -> None:
    logging.getLogger("reflex.event").error(message)
    log.get_logger("x").info("event", note=message, inside={"deep": [message]})
    try:
        raise ValueError(message)
    except ValueError:
        logging.getLogger("engineio.server").exception("Unknown receive error")
    shown = [json.dumps(line) for line in lines]
    assert len(shown) == 3
    for line in shown:
        assert "s3cr3t" not in line
        assert CLIENT_TOKEN not in line
        assert log.HIDDEN in line


def test_log_keeps_ids_and_handler_names(lines: list[dict[str, Any]]) -> None:
    name = "reflex___state____state.tenant_app___pages___members___state____members_state.load"
    kept = {"request_id": "req_0c1g60r2na8z9xw4m5kj7p3hvt", "handler": name, "path": "/t/acme/members"}
    log.get_logger("x").info("request", **kept)
    (line,) = list(lines)
    assert {key: line[key] for key in kept} == kept


def test_record_is_one_bounded_line_whatever_a_client_sends(lines: list[dict[str, Any]]) -> None:
    forged = '{"event": "forged"}'
    log.get_logger("x").info(f"one\n{forged}\r\n\u2028{forged}\x1b[2J")
    log.get_logger("x").info("x" * 900_000, more="y" * 900_000, many=["z" * 5_000] * 500)
    logging.getLogger("reflex.app").error("[Reflex Frontend Exception]\n %s", "boom\n" * 200_000)
    try:
        raise ValueError("w" * 900_000)
    except ValueError as bug:
        log.report_bug(bug, fact="v" * 900_000)
    shown = list(lines)
    assert len(shown) == 4
    assert all(line["event"] != "forged" for line in shown)
    assert all(len(json.dumps(line)) <= log.MAX_LINE for line in shown)
    assert shown[1]["line_too_long"] > log.MAX_LINE
    assert "ValueError" in shown[3]["exception"]


@pytest.mark.parametrize("name", ["httpx", "stripe"])
def test_requests_to_the_provider_are_not_logged_with_their_addresses(
    lines: list[dict[str, Any]], name: str
) -> None:
    logging.getLogger(name).info("GET /v1/customers?email=ann@acme.test")
    assert list(lines) == []


@pytest.mark.usefixtures("lines")
def test_libraries_print_nothing_beside_our_formatter(capsys: pytest.CaptureFixture[str]) -> None:
    for name in log.LIBRARY_LEVELS:
        logging.getLogger(name).addHandler(logging.StreamHandler())
    log.configure()
    for name in log.LIBRARY_LEVELS:
        logging.getLogger(name).error("a problem")
        assert not logging.getLogger(name).handlers
    printed = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert printed == ["a problem"] * len(log.LIBRARY_LEVELS)


PIECES = [
    *(
        "cookie",
        "Authorization",
        ":",
        "=",
        "'",
        '"',
        "\\",
        " ",
        "{",
        "}",
        "[",
        "]",
        "__Host-a=",
        "token=",
        ";",
        ",",
    ),
    *(TOKEN, CLIENT_TOKEN, "\n", "\r", "\x1b", "\u2028", "n", "-", "."),
]


@example(CLIENT_TOKEN + TOKEN)
@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_hiding_secrets_of_hidden_text_changes_nothing_more(text: str) -> None:
    hidden = log.hide_secrets(f" {text} ")
    assert f" {TOKEN} " not in hidden
    assert log.hide_secrets(hidden) == hidden
