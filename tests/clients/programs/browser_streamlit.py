"""Opens streamlit_app.py in a browser, presses its button and reads what it says."""

import asyncio
import json
import sys

from browser import page

URL = sys.argv[1]


async def main():
    async with page(URL) as app:
        found = {"heading": await app.until("document.querySelector('h1')?.innerText")}
        for times in (1, 2):
            await app.press("Press")
            said = f"document.body.innerText.match(/Pressed {times} times/)?.[0]"
            found["pressed"] = await app.until(said)
        found["failed_requests"] = app.failed_at(URL)
    print(json.dumps(found))


asyncio.run(main())
