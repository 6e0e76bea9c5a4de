"""The program of `receiver_process`: appends each request to a file before it answers. PORT FILE SECONDS; prints its port.

It imports nothing of ours, so that it starts fast.
"""

import asyncio
import json
import sys
from pathlib import Path


async def serve(port: int, file: Path, delay_s: float) -> None:
    with file.open("a", buffering=1) as requests:

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                    pairs = (line.partition(": ") for line in lines if line)
                    headers = {name.lower(): value for name, _, value in pairs}
                    body = (await reader.readexactly(int(headers["content-length"]))).decode()
                    path = first.split(" ")[1]
                    requests.write(json.dumps({"path": path, "headers": headers, "body": body}) + "\n")
                    await asyncio.sleep(delay_s)
                    writer.write(b"HTTP/1.1 204 X\r\n\r\n")
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", port)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
