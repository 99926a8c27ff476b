"""Talks to websockets_app.py, and prints what came of it as JSON. Over TLS it is given an authority to trust."""

import asyncio
import json
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

*AUTHORITY, URL = sys.argv[1:]
TLS = {"ssl": ssl.create_default_context(cafile=AUTHORITY[0])} if AUTHORITY else {}
NOISE = bytes(range(256)) * 8192


async def echoed(socket, message):
    await socket.send(message)
    back = await asyncio.wait_for(socket.recv(), 60)
    return back == (message if isinstance(message, (str, bytes)) else b"".join(message))


async def one():
    async with connect(URL, subprotocols=["chat"], **TLS) as socket:
        await echoed(socket, "a")
        # All of them are open together before the first one goes.
        await everybody.wait()
        return await echoed(socket, "b")


async def refused():
    try:
        async with connect(f"{URL}/forbidden", **TLS):
            return None
    except InvalidStatus as error:
        return error.response.status_code


async def main():
    found = {}
    async with connect(f"{URL}/seen?a=1&b=%20", subprotocols=["chat", "other"], max_size=None, **TLS) as socket:
        found["subprotocol"] = socket.subprotocol
        found["extensions"] = [extension.name for extension in socket.protocol.extensions]
        found["echoed"] = {
            "text": await echoed(socket, "hällo"),
            "binary": await echoed(socket, b"\x00\xff"),
            "empty": await echoed(socket, ""),
            "large": await echoed(socket, NOISE),
            "fragments": await echoed(socket, [b"one", b"", b"three"]),
        }
        await asyncio.wait_for(await socket.ping(b"ping"), 60)
        found["pong"] = True
        await socket.send("path")
        found["path"] = await asyncio.wait_for(socket.recv(), 60)
        await socket.send("close")
        try:
            await asyncio.wait_for(socket.recv(), 60)
        except ConnectionClosed as end:
            found["closed"] = {"code": end.rcvd.code, "reason": end.rcvd.reason}
    found["refused"] = await refused()
    found["at_once"] = sum(await asyncio.gather(*(one() for _ in range(everybody.parties))))
    print(json.dumps(found))


everybody = asyncio.Barrier(100)
asyncio.run(main())
