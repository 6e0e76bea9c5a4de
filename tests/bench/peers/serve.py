"""`python -m tests.bench.peers.serve django|nicegui|streamlit PORT`, until its standard input ends."""

import importlib
import os
import sys
import threading

import uvicorn

from tests.bench import nonce


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    peer, port = sys.argv[1:]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    app = importlib.import_module(f"tests.bench.peers.{peer}_site").app
    uvicorn.run(
        nonce.answering(app),
        host="127.0.0.1",
        port=int(port),
        log_level="warning",
        access_log=False,
    )
