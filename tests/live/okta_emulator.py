"""An Okta to sign in with: a service of ``emulate`` (see ``emulator``), with people in groups.

It checks the client, the redirect URI and each code once, and signs with RS256. Its login page
asks for no password: it has one form per person. The names it gives are in ``name`` alone, and it
still gives codes to deactivated people, so that is not what it can prove.
"""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.request import Request

import httpx

from tests.live.emulator import Emulator, direct

CLIENT_ID, CLIENT_SECRET = "airflow", "a-client-secret-for-tests"
GROUP = "data-owners"
_GROUP_ID = "00g_data_owners"
#: Source: emulate 0.11.2 accepts this one for its management API.
_MANAGEMENT = {"Authorization": "SSWS test_token_admin"}


class OktaEmulator(Emulator):
    """An organisation whose ``people`` are all in :data:`GROUP` at first.

    :param redirect_uri: where the one client may be sent back to.
    """

    service = "okta"

    def __init__(self, redirect_uri: str, *people: str) -> None:
        super().__init__()
        self._redirect_uri = redirect_uri
        self._people = people

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.port}/oauth2/default"

    def seed(self) -> dict[str, Any]:
        users = [
            {
                "okta_id": _id(name),
                "login": _mail(name),
                "email": _mail(name),
                "first_name": name,
                "last_name": "X",
            }
            for name in self._people
        ]
        client = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "name": "Airflow",
            "redirect_uris": [self._redirect_uri],
            "token_endpoint_auth_method": "client_secret_basic",
            "auth_server_id": "default",
        }
        members = [{"group_okta_id": _GROUP_ID, "user_okta_id": _id(name)} for name in self._people]
        groups = [{"okta_id": _GROUP_ID, "name": GROUP}]
        return {
            "okta": {
                "users": users, "groups": groups, "group_memberships": members, "oauth_clients": [client],
            }
        }  # fmt: skip

    def is_ready(self) -> bool:
        with direct.open(f"{self.issuer}/.well-known/openid-configuration", timeout=5) as answer:
            return bool(answer.status == httpx.codes.OK)

    def learn(self) -> None:
        """It makes nothing up: every id is in the seed."""

    def username(self, name: str) -> str:
        """What FAB calls the person: ``okta_`` and the subject of their token."""
        return f"okta_{_id(name)}"

    def leave_group(self, name: str) -> None:
        """Take a person out of the group, as an administrator of Okta."""
        path = f"http://localhost:{self.port}/api/v1/groups/{_GROUP_ID}/users/{_id(name)}"
        with direct.open(Request(path, headers=_MANAGEMENT, method="DELETE"), timeout=5) as answer:
            assert answer.status == httpx.codes.NO_CONTENT

    def choose(self, browser: httpx.Client, page: httpx.Response, name: str) -> httpx.Response:
        """Press the person's button on the login page; follow where it leads."""
        forms = re.findall(r'<form[^>]*action="([^"]+)"[^>]*>(.*?)</form>', page.text, re.DOTALL)
        action, form = next((action, form) for action, form in forms if _mail(name) in form)
        hidden = re.findall(r'name="([^"]+)" value="([^"]*)"', form)
        fields = {key: html.unescape(value) for key, value in hidden}
        return browser.post(str(page.url.join(html.unescape(action))), data=fields)


def _id(name: str) -> str:
    return f"00u_{name}"


def _mail(name: str) -> str:
    return f"{name}@example.com"
