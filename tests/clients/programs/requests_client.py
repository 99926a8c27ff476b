"""Calls the test app with requests, and prints what came of it as JSON. Over TLS it is given an authority to trust."""

import io
import json
import sys

import requests

*AUTHORITY, URL = sys.argv[1:]
NOISE = bytes(range(256)) * 8192


def pieces():
    for at in range(0, len(NOISE), 100_000):
        yield NOISE[at : at + 100_000]


def of_note(headers):
    """What a client reads in a response's headers; the date is another each time."""
    return sorted([name.lower(), value] for name, value in headers.items() if name.lower() != "date")


def main():
    session = requests.Session()
    # A machine's own list of authorities would win over this one.
    session.trust_env = False
    session.verify = AUTHORITY[0] if AUTHORITY else True
    first = session.get(f"{URL}/ping", timeout=60)
    found = {
        "first": {"status": first.status_code, "body": first.json()},
        "response_headers": of_note(first.headers),
        "seen": session.get(
            f"{URL}/headers?q=a+b%20c&q=%C3%BC&empty=",
            headers={"X-One": "1", "Accept": "text/html;q=0.5, */*", "Cookie": "a=1; b=2"},
            auth=("user", "p:w"),
        ).json(),
        "statuses": [session.get(f"{URL}/status?code={code}").status_code for code in (201, 204, 304, 404, 500)],
        "methods": [
            session.request(method, f"{URL}/headers").json()["method"]
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        ],
        "head": of_note(session.head(f"{URL}/bytes?n=12345").headers),
    }

    form = session.post(f"{URL}/echo", files={"file": ("a.bin", io.BytesIO(NOISE))}, data={"name": "ü"})
    found["uploaded"] = {
        "sized": session.post(f"{URL}/echo", data=NOISE).content == NOISE,
        "streamed": session.post(f"{URL}/echo", data=pieces()).content == NOISE,
        "form": form.content == form.request.body,
    }
    with session.get(f"{URL}/stream?chunks=5&every_ms=20&size=1000", stream=True) as stream:
        found["streamed"] = sum(len(piece) for piece in stream.iter_content(chunk_size=None))
        found["encoding"] = stream.headers.get("transfer-encoding")
    found["downloaded"] = len(session.get(f"{URL}/bytes?n=20000000").content)

    pools = session.get_adapter(URL).poolmanager.pools
    found["connections"] = sum(pools[key].num_connections for key in pools.keys())
    print(json.dumps(found))


main()
