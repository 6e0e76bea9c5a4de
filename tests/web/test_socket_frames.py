"""The grammar of frames: what our pages send passes, and nothing else does."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core import socket_frames
from shared.core.socket_frames import CONNECT, EVENT, MalformedFrame, OversizedEvent
from tests.attack import malformed
from tests.support.sizes import size

OF_A_SECOND_FRAME = {"second connect"}  # only the socket knows

LOAD = {
    "name": "reflex___state____state.members_state.load",
    "payload": {},
    "router_data": {"pathname": "/t/acme/members", "asPath": "/t/acme/members?q=ä&n=1", "query": {"q": "ä"}},
}


def packet(*arguments: Any) -> str:
    return EVENT + json.dumps(arguments)


def event(**fields: Any) -> str:
    return packet("event", LOAD | fields)


@pytest.mark.parametrize(
    "frame",
    [
        "1",
        "3",
        "41/_event,",
        CONNECT,
        CONNECT + json.dumps({"event": LOAD, "state_schema": "3f"}),
        CONNECT + json.dumps({"event": LOAD, "state_schema": None}),
        event(),
        event(payload={"form": {"name": "Ä\n", "on": True, "n": 1.5, "x": None, "many": ["a", {"b": 1}]}}),
        event(event_actions={"preventDefault": True}, handler=None, token="t"),
        packet("event", {"name": "a.b"}),
        packet("ping"),
        packet("client_error", {"message": "x", "error_type": "y"}),
    ],
)
def test_frame_of_our_pages_passes(frame: str) -> None:
    socket_frames.check_frame(frame)


def test_frame_names_the_tenant_of_its_page() -> None:
    assert socket_frames.check_frame(event()).slug == "acme"
    assert socket_frames.check_frame(CONNECT + json.dumps({"event": LOAD})).slug == "acme"
    assert socket_frames.check_frame(event(router_data={"asPath": "/account"})).slug == ""


@pytest.mark.parametrize(
    "payload",
    [{"text": "x" * socket_frames.MAX_TEXT}, {"deep": [{"key": {"x" * 100: "y"}}]}],
    ids=["a long text", "a nested text"],
)
def test_event_with_texts_of_allowed_length_passes(payload: dict[str, Any]) -> None:
    socket_frames.check_lengths(LOAD | {"payload": payload})


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": {"text": "x" * (socket_frames.MAX_TEXT + 1)}},
        {"payload": {"deep": [{"x" * (socket_frames.MAX_TEXT + 1): 1}]}},
        {"router_data": {"asPath": "/" + "x" * socket_frames.MAX_PATH}},
        {"router_data": {"pathname": "/" + "x" * socket_frames.MAX_PATH}},
        {"router_data": {"query": {"q": "x" * 5_000}}},
    ],
    ids=["text", "key", "address", "path", "query"],
)
def test_event_with_a_text_that_is_too_long_is_refused(fields: dict[str, Any]) -> None:
    socket_frames.check_event(LOAD | fields)
    with pytest.raises(OversizedEvent):
        socket_frames.check_lengths(LOAD | fields)


@given(st.text() | st.text().map(EVENT.__add__) | st.text().map(CONNECT.__add__) | st.none())
@settings(max_examples=size("fuzz.bodies"))
def test_any_text_is_accepted_or_malformed(text: str | None) -> None:
    with suppress(MalformedFrame):
        frame = socket_frames.check_frame(text)
        assert text in ("1", "3", "41/_event,", CONNECT) or frame.is_event or frame.is_connect


@pytest.mark.parametrize("name", [name for name in malformed.frames("x") if name not in OF_A_SECOND_FRAME])
def test_frame_that_no_page_sends_is_malformed(name: str) -> None:
    frame = malformed.frames("x")[name]
    with pytest.raises(MalformedFrame) as problem:
        socket_frames.check_frame(frame if isinstance(frame, str) else None)
    assert len(str(problem.value)) < 60
