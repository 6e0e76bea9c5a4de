"""The errors of Stripe's API: status, type, code, sentence, parameter."""

from typing import Any


class ApiError(Exception):
    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        fields = {"type": kind, "code": code, "message": message, "param": param, **details}
        self.body = {"error": {key: value for key, value in fields.items() if value is not None}}


class UnsupportedError(ApiError):
    """501 for a feature of Stripe that the sandbox does not have."""

    def __init__(self, feature: str) -> None:
        super().__init__(f"The sandbox does not implement {feature}.", status=501, kind="api_error")


def not_found_error(kind: str, id_: str, param: str = "id") -> ApiError:
    name = kind.rpartition(".")[2].replace("_", " ")
    return ApiError(f"No such {name}: '{id_}'", status=404, code="resource_missing", param=param)


def rate_limit_error() -> ApiError:
    return ApiError("Request rate limit exceeded.", status=429, code="rate_limit")


def card_declined_error(message: str, decline_code: str, **details: Any) -> ApiError:
    return ApiError(
        message, status=402, kind="card_error", code="card_declined", decline_code=decline_code, **details
    )
