"""The errors of Stripe's API: status, type, code, sentence, parameter."""

from typing import Any


class Refusal(Exception):
    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        known = {"type": kind, "code": code, "message": message, "param": param, **more}
        self.body = {"error": {key: value for key, value in known.items() if value is not None}}


class Unbuilt(Refusal):
    """Stripe knows it, the sandbox does not: 501, never a guess."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The sandbox does not implement {what}.", status=501, kind="api_error")


def missing(kind: str, id_: str, param: str = "id") -> Refusal:
    name = kind.rpartition(".")[2].replace("_", " ")
    return Refusal(f"No such {name}: '{id_}'", status=404, code="resource_missing", param=param)


def declined(message: str, decline_code: str, **more: Any) -> Refusal:
    return Refusal(
        message, status=402, kind="card_error", code="card_declined", decline_code=decline_code, **more
    )
