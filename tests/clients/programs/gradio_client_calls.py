"""Calls gradio_app.py with Gradio's own client, and prints what came of it as JSON."""

import json
import sys
import tempfile

from gradio_client import Client, handle_file

URL = sys.argv[1]
NOISE = bytes(range(256)) * 4096
# Seconds, for one call: the first wakes the app, which imports for long.
PATIENCE = 180


def main():
    with tempfile.TemporaryDirectory() as folder:
        client = Client(URL, verbose=False, download_files=folder, httpx_kwargs={"timeout": PATIENCE})
        found = {"greeted": client.predict("ü", api_name="/greet")}
        counting = client.submit(5, api_name="/count")
        # Each piece is an event of a stream that stays open.
        found["counted"] = list(counting)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".bin") as source:
            source.write(NOISE)
            source.flush()
            result = client.predict(handle_file(source.name), api_name="/backwards")
        with open(result, "rb") as file:
            found["reversed"] = file.read() == NOISE[::-1]
        try:
            client.predict(api_name="/fail")
        except Exception as error:
            found["failed"] = str(error)
        jobs = [client.submit(str(at), api_name="/greet") for at in range(8)]
        found["at_once"] = sum(job.result(timeout=PATIENCE) == f"Hello, {at}!" for at, job in enumerate(jobs))
    print(json.dumps(found))


main()
