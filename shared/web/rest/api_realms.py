"""The two APIs: of tenants below `/api/v1`, of operators below `/api/operator/v1`. What differs between them is here.

A key of one realm is unknown in the other: its text has another form, and its row is in another table.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from shared.access import decision_counts, decision_records, policy
from shared.access.actions import Action, OperatorAction
from shared.access.endpoints import ENDPOINTS, OPERATOR_ENDPOINTS, Endpoint
from shared.access.refusal_messages import build_refusal
from shared.api_keys import idempotency
from shared.api_keys.actions import API_USE
from shared.api_keys.idempotency import KeptAnswer
from shared.backoffice import operator_idempotency, operator_key_entry
from shared.backoffice.operator_key_entry import OperatorKeyAdmission
from shared.core import connection_shares, request_ids, tenant_limits, tenant_load
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import NotSignedIn, Refused
from shared.core.tenant_limits import Use
from shared.metering import call_counts
from shared.tenancy import key_entry, resolution, token_entry, token_texts
from shared.tenancy.key_entry import KeyAdmission
from shared.tenancy.key_texts import LIVE_PREFIX, OPERATOR_PREFIX
from shared.tenancy.resolution import Sources
from shared.web import app_sites, request_identity
from shared.web.app_sites import Site
from shared.web.rest import api_limits
from shared.web.rest.api_limits import Policy

AnyAction = Action | OperatorAction
Admission = Any  # KeyAdmission or OperatorKeyAdmission: each realm hands its own methods what it has made
AnyCtx = Any  # Ctx or OperatorCtx, as above


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever sends a request, before it enters."""

    admission: Admission
    policies: tuple[Policy, ...]  # how many requests it may send
    origins: frozenset[str] = frozenset()  # of web pages that may use its key
    refusal: Refused | None = None  # why it may not use the API at all


class ApiRealm(ABC):
    """One API: its address, its endpoints, and how its callers are let in."""

    name: str
    prefix: str
    title: str
    description: str
    key_example: str  # as it is sent
    site: Site
    endpoints: list[Endpoint]
    has_origins: bool  # whether web pages may call it

    @abstractmethod
    async def authenticate(self, text: str, request: Request) -> Caller:
        """`text`: of the Authorization header. Raises NotSignedIn, Refused."""

    @abstractmethod
    def count_before(self, request: Request) -> None:
        """Before anything is read: the request counts for the tenant of its key, where that is known. Raises Refused."""

    @abstractmethod
    def enter(self, admission: Admission) -> AbstractAsyncContextManager[AnyCtx]:
        """One transaction."""

    @abstractmethod
    def require(self, ctx: AnyCtx, action: AnyAction) -> None:
        """Raises Refused. Not counted: the service asks once more."""

    @abstractmethod
    async def count_call(self, admission: Admission) -> None:
        """As usage, where this realm's calls are any. Raises Refused where a limit of them is reached."""

    @abstractmethod
    def find_decision_id(self, ctx: AnyCtx, action: AnyAction | None) -> str:
        """Of the record of what allowed the write of this transaction; "" where it records nothing."""

    @abstractmethod
    async def find_kept_answer(
        self, ctx: AnyCtx, *, key: str, operation: str, request: bytes
    ) -> KeptAnswer | None: ...

    @abstractmethod
    async def keep_answer(self, ctx: AnyCtx, *, key: str, operation: str, answer: KeptAnswer) -> None: ...

    async def admit(self, request: Request) -> Caller:
        """Raises NotSignedIn without a key, and as `authenticate`."""
        text = request_identity.get_bearer_token(request)
        request_identity.note_session(request.scope, "")
        if not text:
            raise NotSignedIn(
                "This request has no API key.",
                f"Send it as Authorization: Bearer {self.key_example} and try again.",
            )
        self.count_before(request)
        caller = await self.authenticate(text, request)
        request_identity.note_session(request.scope, request_identity.get_key_hash(request))
        return caller


class TenantApi(ApiRealm):
    name, prefix, title = "tenant", "/api/v1", "Bulkhead API"
    key_example = f"{LIVE_PREFIX}…"
    description = (
        "Send your key as `Authorization: Bearer bk_live_…`. Lists are pages: `next` is the `after` of the next one."
        " Errors are problem+json with a stable `reason`, what happened and what to do next."
    )
    site, endpoints, has_origins = app_sites.TENANT, ENDPOINTS, True

    async def authenticate(self, text: str, request: Request) -> Caller:
        """By key or by token. Raises TenantConflict, NotFound for an unknown host.

        Raises as `authenticate_key` and `authenticate_token` too.
        """
        is_token = token_texts.is_token(text)
        if is_token:
            admission = await token_entry.authenticate_token(text)
        else:
            address = request_identity.get_client_address(request)
            admission = await key_entry.authenticate_key(text, address=address)
        await resolution.require_same_tenant(
            Sources(
                key_text="" if is_token else text,
                token_text=text if is_token else "",
                host=request_identity.get_host(request),
            ),
            tenant_id=admission.tenant.tenant_id,
            actor_id=admission.key_id,
            admission=admission.tenant,
        )
        tenant_id = request.scope["state"]["tenant_id"] = admission.tenant.tenant_id
        key_hash = request_identity.get_key_hash(request)
        if not tenant_limits.find_tenant_of_key(key_hash):
            self._count_for(tenant_id)
        tenant_limits.note_key(key_hash, tenant_id)
        request_ids.note_tenant(admission.tenant.tenant_id, admission.tenant.actor, admission.rights)
        refusal = None
        if refused := admission.rights.verdicts.get(API_USE.name):
            refusal = build_refusal(refused, API_USE, admission)
            await decision_counts.record_refused(
                admission.tenant, refusal, request_ids.current(), surface="rest"
            )
        return Caller(
            admission=admission,
            policies=api_limits.list_tenant_policies(admission),
            origins=admission.origins,
            refusal=refusal,
        )

    def count_before(self, request: Request) -> None:
        if tenant_id := tenant_limits.find_tenant_of_key(request_identity.get_key_hash(request)):
            self._count_for(tenant_id)

    def _count_for(self, tenant_id: str) -> None:
        """Raises TenantOverRate, TenantBusy."""
        tenant_load.count_request(tenant_id)
        tenant_limits.take(Use.REQUEST, tenant_id)
        connection_shares.check_tenant_share(tenant_id)

    def enter(self, admission: KeyAdmission) -> AbstractAsyncContextManager[Ctx]:
        return key_entry.enter_key(admission)

    def require(self, ctx: Ctx, action: AnyAction) -> None:
        assert isinstance(action, Action)
        policy.require(ctx, action, counted=False)

    async def count_call(self, admission: KeyAdmission) -> None:
        try:
            await call_counts.admit_call(admission, action=API_USE.name)
        except Refused as refusal:
            await decision_counts.record_refused(
                admission.tenant, refusal, request_ids.current(), surface="rest"
            )
            raise

    def find_decision_id(self, ctx: Ctx, action: AnyAction | None) -> str:
        assert not isinstance(action, OperatorAction)
        return decision_records.find_recorded_id(ctx, action)

    async def find_kept_answer(
        self, ctx: Ctx, *, key: str, operation: str, request: bytes
    ) -> KeptAnswer | None:
        return await idempotency.begin(ctx, key=key, operation=operation, request=request)

    async def keep_answer(self, ctx: Ctx, *, key: str, operation: str, answer: KeptAnswer) -> None:
        await idempotency.keep(ctx, key=key, operation=operation, answer=answer)


class OperatorApi(ApiRealm):
    name, prefix, title = "operator", "/api/operator/v1", "Bulkhead operators’ API"
    key_example = f"{OPERATOR_PREFIX}…"
    description = (
        "Send your key as `Authorization: Bearer bk_op_…`. What changes or reads an organisation states a `reason`,"
        " which is recorded with the key. Lists are pages: `next` is the `after` of the next one."
        " Errors are problem+json with a stable `reason`, what happened and what to do next."
    )
    site, endpoints, has_origins = app_sites.ADMIN, OPERATOR_ENDPOINTS, False

    async def authenticate(self, text: str, request: Request) -> Caller:
        """Raises as `authenticate_operator_key`."""
        address = request_identity.get_client_address(request)
        admission = await operator_key_entry.authenticate_operator_key(text, address=address)
        return Caller(admission=admission, policies=api_limits.list_operator_policies(admission))

    def count_before(self, request: Request) -> None:
        """Nothing: operators have no weight."""

    def enter(self, admission: OperatorKeyAdmission) -> AbstractAsyncContextManager[OperatorCtx]:
        return operator_key_entry.enter_operator_key(admission)

    def require(self, ctx: OperatorCtx, action: AnyAction) -> None:
        assert isinstance(action, OperatorAction)
        policy.require_operator(ctx, action)

    async def count_call(self, admission: OperatorKeyAdmission) -> None:
        """Nothing: operators' calls belong to no tenant."""

    def find_decision_id(self, ctx: OperatorCtx, action: AnyAction | None) -> str:  # noqa: ARG002
        return ""  # what an operator was allowed is recorded in the tenant that was visited

    async def find_kept_answer(
        self, ctx: OperatorCtx, *, key: str, operation: str, request: bytes
    ) -> KeptAnswer | None:
        return await operator_idempotency.begin(ctx, key=key, operation=operation, request=request)

    async def keep_answer(self, ctx: OperatorCtx, *, key: str, operation: str, answer: KeptAnswer) -> None:
        await operator_idempotency.keep(ctx, key=key, operation=operation, answer=answer)


TENANT_API, OPERATOR_API = TenantApi(), OperatorApi()
