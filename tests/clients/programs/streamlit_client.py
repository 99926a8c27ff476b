"""Asks streamlit_app.py for what its page asks for, and prints what came of it as JSON."""

import asyncio
import json
import re
import sys

import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

SITE = sys.argv[1]
URL = f"http://{SITE}"
NOISE = bytes(range(256)) * 8192
# Seconds, for one answer: the first request wakes the app, and its script imports for long.
PATIENCE = 180


async def messages(socket):
    """What the server says, one message after the other."""
    while True:
        message = ForwardMsg()
        message.ParseFromString(await asyncio.wait_for(socket.recv(), PATIENCE))
        yield message


async def session(found):
    # The page's own protocol, then two that carry tokens: this is how its script asks.
    protocols = ["streamlit", "PLACEHOLDER_AUTH_TOKEN"]
    patient = {"max_size": None, "open_timeout": PATIENCE, "ping_interval": None}
    async with connect(f"ws://{SITE}/_stcore/stream", subprotocols=protocols, origin=URL, **patient) as socket:
        found["subprotocol"] = socket.subprotocol
        rerun = BackMsg()
        rerun.rerun_script.query_string = ""
        await socket.send(rerun.SerializeToString())
        uploader = None
        async for message in messages(socket):
            kind = message.WhichOneof("type")
            if kind == "new_session":
                session_id = message.new_session.initialize.session_id
                found["session"] = bool(session_id)
            element = message.delta.new_element
            if element.WhichOneof("type") == "heading":
                found["drawn"] = element.heading.body
            if element.WhichOneof("type") == "file_uploader":
                uploader = element.file_uploader.id
            if kind == "script_finished":
                break
        assert uploader, "the uploader was drawn"
        await upload(socket, session_id, found)


async def upload(socket, session_id, found):
    ask = BackMsg()
    ask.file_urls_request.request_id = "1"
    ask.file_urls_request.session_id = session_id
    ask.file_urls_request.file_names.append("a.bin")
    await socket.send(ask.SerializeToString())
    async for message in messages(socket):
        if message.WhichOneof("type") == "file_urls_response":
            url = message.file_urls_response.file_urls[0].upload_url
            break
    xsrf = requests.get(f"{URL}/_stcore/health", timeout=PATIENCE).cookies.get("_streamlit_xsrf", "")
    answer = requests.put(
        URL + url,
        files={"file": ("a.bin", NOISE)},
        headers={"X-Xsrftoken": xsrf, "Origin": URL},
        cookies={"_streamlit_xsrf": xsrf},
        timeout=PATIENCE,
    )
    found["uploaded"] = answer.status_code == 204 or [answer.status_code, answer.text]


def main():
    page = requests.get(URL, timeout=PATIENCE).text
    found = {"page": re.search(r"<title>.*?</title>", page)[0]}
    paths = re.findall(r'(?:src|href)="\./([^"]+)"', page)
    assets = [requests.get(f"{URL}/{path}", timeout=PATIENCE) for path in paths]
    found["assets"] = len(assets) > 2 and all(it.status_code == 200 and it.content for it in assets)
    found["health"] = requests.get(f"{URL}/_stcore/health", timeout=PATIENCE).text
    asyncio.run(session(found))
    print(json.dumps(found))


main()
