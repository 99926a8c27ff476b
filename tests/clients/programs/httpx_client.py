"""Calls the test app with httpx, and prints what came of it as JSON. With an authority to trust it offers HTTP/2."""

import asyncio
import json
import ssl
import sys

import httpx

*AUTHORITY, URL = sys.argv[1:]
NOISE = bytes(range(256)) * 8192


async def pieces():
    for at in range(0, len(NOISE), 100_000):
        yield NOISE[at : at + 100_000]


async def at_once(client, count):
    answers = await asyncio.gather(*(client.get("/sleep?ms=50") for _ in range(count)))
    return {"sent": count, "ok": sum(answer.status_code == 200 for answer in answers)}


async def main():
    options = {"http2": True, "verify": ssl.create_default_context(cafile=AUTHORITY[0])} if AUTHORITY else {}
    async with httpx.AsyncClient(base_url=URL, timeout=60, **options) as client:
        first = await client.get("/ping")
        found = {"version": first.http_version, "first": first.json()}
        found["seen"] = (await client.get("/headers", params={"q": ["a b", "ü"]}, headers={"X-One": "1"})).json()
        found["posted"] = (await client.post("/echo", json={"a": [1, None]})).json()
        found["streamed_up"] = (await client.post("/echo", content=pieces())).content == NOISE
        async with client.stream("GET", "/stream?chunks=5&every_ms=20&size=1000") as stream:
            found["streamed_down"] = sum([len(piece) async for piece in stream.aiter_raw()])
        found["at_once"] = await at_once(client, 100)
        try:
            await client.get("/sleep?ms=5000", timeout=0.2)
        except httpx.ReadTimeout:
            found["gave_up"] = True
        # Given up in the middle, and last: over HTTP/2 it tells nobody, and what it does not want goes on arriving.
        async with client.stream("GET", "/stream?chunks=1000&every_ms=20") as stream:
            found["begun"] = await anext(stream.aiter_raw()) != b""
    print(json.dumps(found))


asyncio.run(main())
