"""A page in a browser that needs no screen, spoken to over its DevTools protocol."""

import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import tempfile

from websockets.asyncio.client import connect

# Seconds, for one thing that is waited for: the app may have to be woken for it, and import first.
PATIENCE = 180


class Page:
    """One page. Requests that fail, or are answered with an error, are kept for who asks."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)
        self.answers = {}
        self.urls = {}
        self.failed = []

    async def listen(self):
        async for text in self.socket:
            message = json.loads(text)
            if "id" in message:
                self.answers.pop(message["id"]).set_result(message)
            elif message["method"] == "Network.requestWillBeSent":
                self.urls[message["params"]["requestId"]] = message["params"]["request"]["url"]
            elif message["method"] == "Network.responseReceived":
                response = message["params"]["response"]
                if response["status"] >= 400:
                    self.failed.append([response["status"], response["url"]])
            elif message["method"] == "Network.loadingFailed" and not message["params"].get("canceled"):
                url = self.urls.get(message["params"]["requestId"])
                self.failed.append([message["params"]["errorText"], url])

    async def call(self, method, **params):
        number = next(self.numbers)
        answer = self.answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        return (await asyncio.wait_for(answer, PATIENCE)).get("result", {})

    async def value(self, expression):
        """What an expression is on the page; None where it fails, as it does before there is anything."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer.get("result", {}).get("value")

    async def until(self, expression):
        """Asks until an expression is true, or something else that counts as such."""
        async with asyncio.timeout(PATIENCE):
            while not (value := await self.value(expression)):
                await asyncio.sleep(0.05)
        return value

    async def press(self, label):
        """Presses a button by its words, once it is there."""
        button = f"[...document.querySelectorAll('button')].find(it => it.innerText.trim() == {json.dumps(label)})"
        await self.until(f"!!{button}")
        await self.value(f"{button}.click()")

    async def type(self, label, text):
        """Types into the field of that label as a keyboard would."""
        field = f"document.querySelector('[aria-label={label}], label:has(textarea) textarea')"
        await self.until(f"!!{field}")
        await self.value(f"{field}.focus()")
        await self.call("Input.insertText", text=text)

    def failed_at(self, url):
        """Requests to the site itself that went wrong: what a page wants of other hosts is not to be had here."""
        return [failure for failure in self.failed if str(failure[1]).startswith(url)]


def spoken(url):
    """A connection to a browser, which may be slow to take it and to answer pings."""
    return connect(url, max_size=None, open_timeout=PATIENCE, ping_interval=None)


@contextlib.asynccontextmanager
async def page(url):
    """A page with this address, in a browser of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = subprocess.Popen(
            [
                "chromium-headless-shell",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
                f"--user-data-dir={folder}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": folder},
            # Its processes are many: they end together.
            process_group=0,
        )
        try:
            port, path = await listening(pathlib.Path(folder, "DevToolsActivePort"))
            target = await first_page(f"ws://127.0.0.1:{port}{path}")
            async with spoken(f"ws://127.0.0.1:{port}/devtools/page/{target}") as socket:
                page = Page(socket)
                task = asyncio.create_task(page.listen())
                await page.call("Network.enable")
                await page.call("Page.navigate", url=url)
                yield page
                task.cancel()
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()


async def listening(file):
    """The port and the path that a browser writes down once it listens."""
    async with asyncio.timeout(PATIENCE):
        while not file.exists() or len(words := file.read_text().split()) < 2:
            await asyncio.sleep(0.05)
    return words


async def first_page(browser_url):
    async with spoken(browser_url) as socket:
        await socket.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
        targets = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))["result"]["targetInfos"]
        return next(target["targetId"] for target in targets if target["type"] == "page")
