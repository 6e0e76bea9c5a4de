"""Signature Version 4 of Amazon S3, for requests with headers.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

ALGORITHM, SERVICE = "AWS4-HMAC-SHA256", "s3"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class S3Credentials:
    key_id: str
    secret: str = field(repr=False)
    region: str


def sign_request(
    credentials: S3Credentials,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str],
    sha256: str,
    at: datetime,
) -> dict[str, str]:
    """The headers of the request, its signature among them.

    `path`: not encoded. `headers`: all that are signed, `host` among them. `sha256`: of the body, in hex. `at`: in UTC.
    """
    moment = f"{at:%Y%m%dT%H%M%SZ}"
    signed = {name.lower(): value.strip() for name, value in headers.items()}
    signed |= {"x-amz-content-sha256": sha256, "x-amz-date": moment}
    names = ";".join(sorted(signed))
    scope = f"{at:%Y%m%d}/{credentials.region}/{SERVICE}/aws4_request"
    canonical_request = "\n".join(
        (
            method,
            quote(path, safe="/-_.~"),
            "",  # no query
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            sha256,
        )
    )
    text = "\n".join((ALGORITHM, moment, scope, hashlib.sha256(canonical_request.encode()).hexdigest()))
    signature = hmac.digest(_derive_key(credentials, scope), text.encode(), "sha256").hex()
    authorization = (
        f"{ALGORITHM} Credential={credentials.key_id}/{scope},SignedHeaders={names},Signature={signature}"
    )
    return {**signed, "authorization": authorization}


def _derive_key(credentials: S3Credentials, scope: str) -> bytes:
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
