"""A TLS server whose first bytes after the handshake are no TLS, and the certificate that it shows."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "localhost"
UNREADABLE_RECORD = b"\x17\x03\x03\x00\x20" + b"x" * 32


@dataclass(frozen=True, slots=True)
class BrokenServer:
    """`trust`: of a client that accepts its certificate."""

    port: int
    trust: ssl.SSLContext

    @property
    def target(self) -> tuple[str, int]:
        return HOST, self.port

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}/hook"


@contextmanager
def run_broken_server(folder: Path) -> Iterator[BrokenServer]:
    """Answers one request. `folder`: for its certificate."""
    path = folder / "server.pem"
    path.write_bytes(_build_certificate())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, context), daemon=True)
        thread.start()
        yield BrokenServer(listener.getsockname()[1], ssl.create_default_context(cafile=path))
    thread.join(5)


def _answer(listener: socket.socket, context: ssl.SSLContext) -> None:
    try:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as stream:
            stream.recv(1)
            os.write(stream.fileno(), UNREADABLE_RECORD)
            # A socket closed with bytes unread resets the connection: the client might never read the record.
            while stream.recv(65_536):
                pass
    except OSError:
        pass  # the client has left


def _build_certificate() -> bytes:
    """With its key, in PEM."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
    encoding = serialization.Encoding.PEM
    return builder.sign(key, hashes.SHA256()).public_bytes(encoding) + key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
