"""The route of every endpoint: authenticate, count, enter, answer.

A request is one transaction, which is committed before the answer is sent.
"""

import functools
import json
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from shared.access.endpoints import SECRET_FIELD, Endpoint, takes_file
from shared.api_keys import idempotency
from shared.core import transaction_retries
from shared.core.errors import ChangedMeanwhile, DomainError, Invalid
from shared.web.literal_routes import LiteralFirst
from shared.web.rest import api_limits, api_versions, cors, file_bodies, strict_json
from shared.web.rest.api_realms import OPERATOR_API, TENANT_API, AnyCtx, ApiRealm, Caller
from shared.web.rest.api_versions import RequestedVersion
from shared.web.same_origin import SAFE_METHODS

DECISION_HEADER, REPLAYED = "decision-id", "idempotency-replayed"
KEPT_HEADERS = ("content-type", "etag", DECISION_HEADER)
MAX_PROBLEMS = 20  # fields that one answer names
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PreconditionFailed(DomainError):
    """The object was changed after the client had read it."""

    status = 412
    default_reason = "changed_meanwhile"

    def __init__(self, change: ChangedMeanwhile) -> None:
        super().__init__(change.detail, "Read it again, then send your change with the new ETag.")
        self._change = change

    def problem_details(self, request_id: str) -> dict[str, object]:
        details = self._change.problem_details(request_id)
        return {**details, "title": type(self).__name__, "status": self.status, "next_step": self.next_step}


class JsonRequest(Request):
    """A request whose body was read and parsed already."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self.raw_body = self._body = body
        self._json = value

    def convert(self, change: Callable[[Any], Any]) -> None:
        self._json = change(self._json)


class ApiRoute(LiteralFirst, APIRoute):
    """Of a realm: a router makes routes of one class."""

    realm: ClassVar[ApiRealm]
    declared: Endpoint  # set by whoever builds the routes

    def get_route_handler(self) -> Handler:
        handle: Handler = super().get_route_handler()
        has_body, operation = self.body_field is not None, f"{sorted(self.methods or ())} {self.path_format}"
        operation_id = self.operation_id or ""

        async def answer(request: Request) -> Response:
            headers = RequestedVersion().list_headers()
            try:
                # First: a stranger's request waits for its turn here. A file is read from those only who may upload it.
                is_file = takes_file(self.declared)
                body = b"" if is_file else await strict_json.read_body(request, self.declared.max_body_bytes)
                caller = await self.realm.admit(request)
                headers |= cors.list_headers(request, caller.origins)
                if caller.refusal is not None:
                    raise caller.refusal
                quota = await api_limits.count_call(caller.policies)
                headers |= quota.list_headers()
                await self.realm.count_call(caller.admission)
                version = api_versions.parse_version(request)
                headers |= version.list_headers()
                if is_file:
                    response = await self._run_with_file(request, caller, handle, operation)
                else:
                    parsed = _parse_request(
                        request,
                        body,
                        has_body=has_body,
                        accepts_any_number=self.declared.accepts_any_number,
                    )
                    parsed.convert(lambda value: version.upgrade_request(operation_id, value))
                    await self._prepare(parsed, caller)
                    response = await transaction_retries.repeat_on_conflict(
                        lambda: self._run(parsed, caller, handle, operation)
                    )
            except DomainError as refusal:
                refusal.headers = headers | refusal.headers
                raise
            response = version.downgrade_answer(operation_id, response)
            response.headers.setdefault("cache-control", "no-store")
            response.headers.update(headers)
            if request.method == "HEAD":
                response.body = b""
            return response

        return answer

    async def _run(self, parsed: "JsonRequest", caller: Caller, handle: Handler, operation: str) -> Response:
        """In one transaction, which is committed when this returns."""
        try:
            async with self.realm.enter(caller.admission) as ctx:
                parsed.state.ctx = ctx
                return await self._answer_once(ctx, parsed, handle, operation)
        except ChangedMeanwhile as change:
            raise PreconditionFailed(change) from None
        except RequestValidationError as problem:
            raise _to_invalid(problem) from None

    async def _prepare(self, parsed: "JsonRequest", caller: Caller) -> None:
        """Call `Endpoint.prepare`, and wait for what it returns outside of any transaction."""
        if self.declared.prepare is None:
            return
        async with self.realm.enter(caller.admission) as ctx:
            wait = await self.declared.prepare(ctx, await parsed.json())
        if wait is not None:
            await wait()

    async def _run_with_file(
        self, request: Request, caller: Caller, handle: Handler, operation: str
    ) -> Response:
        """An idempotency key stands for the bytes of the file. An answer that was given before keeps no second copy of it."""
        async with file_bodies.receive_file(request, caller.admission) as upload:
            caller = await self.realm.admit(request)  # again: the file may have taken half a minute
            if caller.refusal is not None:
                raise caller.refusal
            parsed = JsonRequest(request, upload.file.sha256.encode(), None)
            parsed.state.received_file = upload.file
            response = await transaction_retries.repeat_on_conflict(
                functools.partial(self._run, parsed, caller, handle, operation)
            )
            if REPLAYED in response.headers:
                upload.drop()
        return response

    async def _answer_once(
        self, ctx: AnyCtx, parsed: "JsonRequest", handle: Handler, operation: str
    ) -> Response:
        """A request with an idempotency key that was answered before gets the same answer again."""
        key = parsed.headers.get("idempotency-key")
        if key is None or parsed.method in SAFE_METHODS:
            return self._name_decision(ctx, await handle(parsed))
        idempotency.check_key(key)
        if self.declared.action is not None:  # the right may be gone since
            self.realm.require(ctx, self.declared.action)
        request = b"\n".join((parsed.url.path.encode(), parsed.url.query.encode(), parsed.raw_body))
        kept = await self.realm.find_kept_answer(ctx, key=key, operation=operation, request=request)
        if kept is not None:
            headers = {**kept.headers, REPLAYED: "true"}
            return Response(kept.body or None, kept.status, headers)
        response = self._name_decision(ctx, await handle(parsed))
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        answer = idempotency.KeptAnswer(response.status_code, headers, _without_secret(bytes(response.body)))
        await self.realm.keep_answer(ctx, key=key, operation=operation, answer=answer)
        return response

    def _name_decision(self, ctx: AnyCtx, response: Response) -> Response:
        """The response to a write names the record of what allowed it."""
        if decision_id := self.realm.find_decision_id(ctx, self.declared.action):
            response.headers[DECISION_HEADER] = decision_id
        return response


class TenantRoute(ApiRoute):
    realm = TENANT_API


class OperatorRoute(ApiRoute):
    realm = OPERATOR_API


ROUTE_BY_REALM: dict[str, type[ApiRoute]] = {
    route.realm.name: route for route in (TenantRoute, OperatorRoute)
}


def _without_secret(body: bytes) -> str:
    value = json.loads(body) if body else None
    if isinstance(value, dict) and SECRET_FIELD in value:
        return json.dumps({**value, SECRET_FIELD: None}, ensure_ascii=False)
    return body.decode()


def _parse_request(request: Request, body: bytes, *, has_body: bool, accepts_any_number: bool) -> JsonRequest:
    """Raises BadBody, BodyTooLarge, UnsupportedMediaType."""
    if not has_body:
        if body:
            raise strict_json.BadBody("This address reads no body.", "Send the request without one.")
        return JsonRequest(request, b"", None)
    if not body:
        raise strict_json.BadBody("The body is missing.", "Send a JSON object.")
    strict_json.require_json_type(request)
    return JsonRequest(request, body, strict_json.parse(body, accepts_any_number=accepts_any_number))


def _to_invalid(problem: RequestValidationError) -> Invalid:
    """A sentence for each field that is wrong. No value of the request is repeated."""
    fields = {}
    for error in problem.errors()[:MAX_PROBLEMS]:
        place, *path = error["loc"]
        name = ".".join(str(part) for part in path)[:100] or str(place)
        fields[name] = _describe(error["type"], str(error["msg"]))
    names = ", ".join(fields)
    return Invalid(f"Not accepted: {names}.", "Correct these and send the request again.", fields=fields)


def _describe(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "This field is unknown."
    if kind == "missing":
        return "This field is missing."
    return message if message.endswith(".") else f"{message}."
