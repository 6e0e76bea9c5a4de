"""Visitors without a session, in a process of their own: pages, handshakes and sign-ins, as fast as they are answered.

    python -m tests.support.strangers http://localhost:3000 20 15

Seconds, and how many at once. Prints the number of answers by status as JSON.
"""

import asyncio
import json
import sys
import time
from collections import Counter

import httpx

HANDSHAKE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


async def flood(url: str, seconds: float, visitors: int) -> Counter[int]:
    until, answers = time.monotonic() + seconds, Counter[int]()

    async def visit(client: httpx.AsyncClient, number: int) -> None:
        form = {"email": f"nobody{number}@flood.test", "password": "wrong horse battery"}
        while time.monotonic() < until:
            for answer in (
                await client.get("/_event/?EIO=4&transport=websocket", headers=HANDSHAKE),
                await client.get("/t/acme/members"),
                await client.post("/auth/sign-in", data=form),
            ):
                answers[answer.status_code] += 1

    headers = {"accept": "text/html", "origin": url}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        await asyncio.gather(*(visit(client, number) for number in range(visitors)))
    return answers


if __name__ == "__main__":
    print(json.dumps(asyncio.run(flood(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))))
