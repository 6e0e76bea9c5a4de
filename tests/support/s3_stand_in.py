"""A bucket over real HTTP that checks every signature strictly, with code of its own.

It has objects of up to 50 MB in memory and PUT, GET and DELETE of one object. It has no lists, no multipart upload, no
presigned address, no chunked signature, no versions and no TLS.
"""

import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.files.s3_signature import S3Credentials
from shared.files.s3_storage import S3Storage
from tests.support.billing.stub_server import serve_app

BUCKET, REGION, KEY_ID, SECRET = "bulkhead-test", "eu-central-1", "AKIATEST", "s3cr3t/of+the-test"
MAX_SKEW = timedelta(minutes=15)
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request,"
    r" ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


@dataclass
class Bucket:
    """`failures`: statuses that the next requests get instead of an answer; 0 breaks the connection in the middle."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def build_storage(self, *, secret: str = SECRET, region: str = REGION, bucket: str = BUCKET) -> S3Storage:
        return S3Storage(self.url, bucket, S3Credentials(KEY_ID, secret, region))

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        self.requests.append((request.method, request.url.path))
        if self.failures:
            return Response(status_code=self.failures.pop(0))
        if problem := find_signature_problem(request, body):
            self.refusals.append(problem)
            return Response(problem, 403)
        _, bucket, key = request.url.path.split("/", 2)
        if bucket != BUCKET:
            return Response("NoSuchBucket", 404)
        if request.method == "PUT":
            self.objects[key] = body
            return Response(status_code=200)
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return Response(status_code=204)
        return Response(self.objects[key]) if key in self.objects else Response("NoSuchKey", 404)


def find_signature_problem(request: Request, body: bytes) -> str:
    """Why the signature is refused; "" for a good one."""
    match = AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if match is None:
        return "AccessDenied"
    key_id, day, region, names, signature = match.groups()
    moment = request.headers.get("x-amz-date", "")
    try:
        at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "AccessDenied"
    if abs(datetime.now(UTC) - at) > MAX_SKEW or day != moment[:8]:
        return "RequestTimeTooSkewed"
    if key_id != KEY_ID:
        return "InvalidAccessKeyId"
    if region != REGION:
        return "AuthorizationHeaderMalformed"
    signed_names = names.split(";")
    sent_names = {name for name in request.headers if name.startswith("x-amz-")} | {"host"}
    if signed_names != sorted(signed_names) or not sent_names <= set(signed_names):
        return "HeadersNotSigned"
    claimed_digest = request.headers.get("x-amz-content-sha256", "")
    if claimed_digest != hashlib.sha256(body).hexdigest():
        return "XAmzContentSHA256Mismatch"
    lines = [request.method, request.scope["raw_path"].decode(), request.scope["query_string"].decode()]
    lines += [f"{name}:{' '.join(request.headers[name].split())}" for name in signed_names]
    canonical = "\n".join([*lines, "", names, claimed_digest])
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + SECRET.encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return "" if hmac.compare_digest(expected, signature) else "SignatureDoesNotMatch"


@asynccontextmanager
async def run_bucket() -> AsyncIterator[Bucket]:
    bucket = Bucket()
    route = Route("/{path:path}", bucket.answer, methods=["PUT", "GET", "DELETE"])
    async with serve_app(Starlette(routes=[route])) as url:
        bucket.url = url
        yield bucket
