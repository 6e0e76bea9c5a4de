"""A package index on 127.0.0.1 that offers newer releases of some packages, as any index will tomorrow (PEP 503)."""

import base64
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NEWER = "9999.0"


@dataclass(frozen=True, slots=True)
class PackageIndex:
    url: str
    requested: set[str] = field(default_factory=set)  # paths


@contextmanager
def serve_newer_releases(metadata_by_name: Mapping[str, str]) -> Iterator[PackageIndex]:
    """Version NEWER of each package, an empty wheel. The values are further lines of its metadata."""
    wheels = {name: _make_wheel(name, lines) for name, lines in metadata_by_name.items()}
    pages: dict[str, tuple[str, bytes]] = {}
    for name, content in wheels.items():
        file = f"{name}-{NEWER}-py3-none-any.whl"
        link = f'<a href="/{file}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>'
        pages[f"/simple/{name}/"] = ("text/html", f"<!DOCTYPE html><html><body>{link}</body></html>".encode())
        pages[f"/{file}"] = ("application/octet-stream", content)
    requested = set[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.add(self.path)
            kind, content = pages.get(self.path, ("", b""))
            self.send_response(200 if kind else 404)
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield PackageIndex(f"http://127.0.0.1:{server.server_port}/simple/", requested)
        finally:
            server.shutdown()
            thread.join()


def _make_wheel(name: str, metadata_lines: str) -> bytes:
    folder = f"{name}-{NEWER}.dist-info"
    files = {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {NEWER}\n{metadata_lines}",
        f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in {**files, f"{folder}/RECORD": f"{record}{folder}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return out.getvalue()


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"
