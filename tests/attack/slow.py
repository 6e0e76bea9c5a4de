"""The time limits of requests, shortened in an app, so that a test need not wait for them."""

from shared.cli import http_protocol
from shared.web import request_middleware

HOLE = "short limits"
HEAD_SECONDS, BODY_SECONDS = 1.5, 3.0


def shorten() -> None:
    http_protocol.HEAD_SECONDS, request_middleware.BODY_SECONDS = HEAD_SECONDS, BODY_SECONDS
