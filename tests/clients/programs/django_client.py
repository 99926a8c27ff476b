"""Goes through Django's admin as a browser would, and prints what came of it as JSON."""

import json
import re
import sys

import requests

URL = sys.argv[1]
# The name that a browser would have looked up, and where its forms come from.
SITE = {"Host": "site.test", "Origin": "http://site.test"}


class Visitor(requests.Session):
    """Sends forms with the token of the page that they are on. Redirects are shown, not followed."""

    def request(self, method, path, **options):
        options = {"headers": SITE, **options, "allow_redirects": False, "timeout": 60}
        return super().request(method, URL + path, **options)

    def submit(self, path, fields, **options):
        page = self.get(path)
        page.raise_for_status()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
        return self.post(path, data={"csrfmiddlewaretoken": token, **fields}, **options)


def user_number(visitor, name):
    listed = visitor.get(f"/admin/auth/user/?q={name}").text
    found = re.search(rf"/admin/auth/user/(\d+)/change/[^>]*>{name}<", listed)
    return found and found[1]


def main():
    visitor = Visitor()
    login = {"username": "keeper", "password": "lamp-oil", "next": "/admin/"}
    away = visitor.get("/admin/")
    found = {"turned_away_to": away.headers["location"]}
    found["without_token"] = Visitor().post("/admin/login/", data=login).status_code
    elsewhere = {**SITE, "Origin": "http://other.test"}
    found["from_another_origin"] = visitor.submit("/admin/login/", login, headers=elsewhere).status_code
    # What a client says of itself as if it were a proxy does not arrive: this name is refused for what it is.
    lying = {"Host": "other.test", "X-Forwarded-Host": "site.test"}
    found["by_another_name"] = visitor.get("/admin/login/", headers=lying).status_code
    wrong = visitor.submit("/admin/login/", {**login, "password": "wick"})
    found["wrong_password"] = re.search(r"Please enter the correct username and password", wrong.text)[0]
    found["logged_in"] = visitor.submit("/admin/login/", login).headers["location"]
    found["location_of_slash"] = visitor.get("/admin").headers["location"]

    new = {"username": "wick", "password1": "a-long-candle", "password2": "a-long-candle", "usable_password": "true"}
    visitor.submit("/admin/auth/user/add/", new)
    number = user_number(visitor, "wick")
    found["added"] = number is not None
    change = f"/admin/auth/user/{number}/change/"
    date = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    changed = visitor.submit(change, {"username": "wick", "email": "wick@site.test", **date})
    found["changed"] = changed.status_code == 302 and "wick@site.test" in visitor.get(change).text
    visitor.submit(f"/admin/auth/user/{number}/delete/", {"post": "yes"})
    found["deleted"] = user_number(visitor, "wick") is None
    # The form that logs out is on every page.
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', visitor.get("/admin/").text)[1]
    visitor.post("/admin/logout/", data={"csrfmiddlewaretoken": token})
    found["logged_out"] = visitor.get("/admin/").status_code
    print(json.dumps(found))


main()
