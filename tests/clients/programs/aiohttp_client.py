"""Calls the test app with aiohttp, and prints what came of it as JSON."""

import asyncio
import json
import sys

import aiohttp

URL = sys.argv[1]
NOISE = bytes(range(256)) * 8192


async def pieces():
    for at in range(0, len(NOISE), 100_000):
        yield NOISE[at : at + 100_000]


async def at_once(session, count):
    async def one():
        async with session.get("/sleep?ms=50") as answer:
            await answer.read()
            return answer.status == 200

    return {"sent": count, "ok": sum(await asyncio.gather(*(one() for _ in range(count))))}


async def socket(session):
    async with session.ws_connect("/ws", compress=15, max_msg_size=0) as socket:
        await socket.send_str("hällo")
        text = await socket.receive_str(timeout=60) == "hällo"
        await socket.send_bytes(NOISE)
        binary = await socket.receive_bytes(timeout=60) == NOISE
        await socket.close()
        return {"text": text, "binary": binary, "close": socket.close_code}


async def main():
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(URL, timeout=timeout) as session:
        # A WebSocket is the first that comes: it is held as any other request is.
        found = {"socket": await socket(session)}
        async with session.get("/headers?q=%2F&q=+", headers={"X-One": "1"}) as answer:
            found["seen"] = await answer.json()
        async with session.post("/echo", data=pieces()) as answer:
            found["streamed_up"] = await answer.read() == NOISE
        # Not a byte of the body leaves before the other side says `100 Continue`.
        async with session.post("/slow-body", data=pieces(), expect100=True) as answer:
            found["expected"] = int(await answer.text()) == len(NOISE)
        form = aiohttp.FormData({"name": "ü"})
        form.add_field("file", NOISE, filename="a.bin")
        async with session.post("/echo", data=form) as answer:
            found["form"] = len(await answer.read()) > len(NOISE)
        async with session.get("/stream?chunks=5&every_ms=20&size=1000") as answer:
            found["streamed_down"] = [len(piece) async for piece in answer.content.iter_chunked(1000)]
        found["at_once"] = await at_once(session, 100)
    print(json.dumps(found))


asyncio.run(main())
