"""Opens gradio_app.py in a browser, types a name and reads the greeting."""

import asyncio
import json
import sys

from browser import page

URL = sys.argv[1]


async def main():
    async with page(URL) as app:
        await app.type("Name", "wick")
        await app.press("Greet")
        greeting = "[...document.querySelectorAll('textarea')].map(it => it.value).find(it => it.startsWith('Hello'))"
        found = {"greeted": await app.until(greeting), "title": await app.value("document.title")}
        found["failed_requests"] = app.failed_at(URL)
    print(json.dumps(found))


asyncio.run(main())
