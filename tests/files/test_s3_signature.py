"""The signature against the examples that Amazon publishes.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
from datetime import UTC, datetime

from shared.files.s3_signature import EMPTY_SHA256, S3Credentials, sign_request

CREDENTIALS = S3Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
AT = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "examplebucket.s3.amazonaws.com"


def test_get_has_the_published_signature() -> None:
    headers = {"Host": HOST, "Range": "bytes=0-9"}
    signed = sign_request(CREDENTIALS, "GET", "/test.txt", headers=headers, sha256=EMPTY_SHA256, at=AT)
    signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert signed["authorization"].endswith(
        f"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature={signature}"
    )


def test_put_has_the_published_signature() -> None:
    """Its path has a character that is encoded."""
    headers = {
        "Host": HOST,
        "Date": "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    digest = hashlib.sha256(b"Welcome to Amazon S3.").hexdigest()
    signed = sign_request(CREDENTIALS, "PUT", "/test$file.text", headers=headers, sha256=digest, at=AT)
    signature = "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    assert signed["authorization"].endswith(f"Signature={signature}")
