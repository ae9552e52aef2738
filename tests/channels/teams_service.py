"""Microsoft's side of Teams on the loopback, with the limits that the real services have.

It serves the OpenID metadata and its key set, Entra's token endpoint, the Bot Framework's connector
and a Workflows webhook. The connector takes only tokens that its own endpoint gave out, refuses
messages over 28 KB, and does not know activities that it has not made.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

from joserfc import jwt
from joserfc.jwk import RSAKey

APP_ID = "a0000000-1111-4222-8333-444444444444"
TENANT = "11111111-2222-4333-8444-555555555555"
OTHER_TENANT = "99999999-2222-4333-8444-555555555555"
PASSWORD = "canary-app-password"
CHANNEL = "19:0123456789abcdef@thread.tacv2"
CHAT = "19:fedcba9876543210@thread.v2"
ISSUER = "https://api.botframework.com"
MAX_MESSAGE = 28 * 1024
PEOPLE = {
    "alice": "aaaaaaaa-0000-4000-8000-00000000000a",
    "bob": "aaaaaaaa-0000-4000-8000-00000000000b",
    "carol": "aaaaaaaa-0000-4000-8000-00000000000c",
    "viewer": "aaaaaaaa-0000-4000-8000-00000000000d",
    "stranger": "aaaaaaaa-0000-4000-8000-00000000000e",
}


@dataclass
class SigningKey:
    """A key of the Bot Framework, and what its key set says of it."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    endorsements: tuple[str, ...] = ("msteams",)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048))

    def listed(self) -> dict[str, Any]:
        return {
            **self.key.as_dict(private=False),
            "kid": self.id,
            "use": "sig",
            "x5t": self.id,
            "endorsements": list(self.endorsements),
        }


_KEY = SigningKey()


@dataclass
class TeamsService:
    """What was received, and what to answer next.

    ``activities`` are by conversation and id, as they stand; ``posted`` are the ids in order.
    ``refuse_next`` are (status, headers) with which the next calls of the connector or the webhook are
    answered; ``lose_next`` makes the next post arrive and its answer not.
    """

    keys: list[SigningKey] = field(default_factory=lambda: [_KEY])
    issuer: str = ISSUER
    activities: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    posted: list[tuple[str, str]] = field(default_factory=list)
    hooked: list[dict[str, Any]] = field(default_factory=list)
    refuse_next: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    lose_next: bool = False
    calls: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    about: dict[str, tuple[str, str]] = field(default_factory=dict)
    url: str = ""
    hanging: threading.Event = field(default_factory=threading.Event)
    going_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.going_on.set()

    @contextmanager
    def hang(self) -> Iterator[None]:
        """Answer nothing until :meth:`go_on`."""
        self.hanging.clear()
        self.going_on.clear()
        try:
            yield
        finally:
            self.going_on.set()

    def is_hanging(self) -> None:
        """Return once a call hangs."""
        assert self.hanging.wait(20)

    def go_on(self) -> None:
        """Answer what hangs."""
        self.going_on.set()

    @property
    def openid_url(self) -> str:
        return f"{self.url}/v1/.well-known/openidconfiguration"

    @property
    def token_url(self) -> str:
        return f"{self.url}/{TENANT}/oauth2/v2.0/token"

    @property
    def service_url(self) -> str:
        return f"{self.url}/teams/"

    @property
    def webhook_url(self) -> str:
        return f"{self.url}/workflows/abc/triggers/manual/paths/invoke?sig=canary-webhook-signature"

    def card_of(self, request_id: str) -> tuple[tuple[str, str], dict[str, Any]]:
        """The newest card about a request: where it stands, and what it shows now."""
        assert self.has_card(request_id), f"no card about {request_id}"
        place = self.about[request_id]
        return place, self.activities[place]["attachments"][0]["content"]

    def has_card(self, request_id: str) -> bool:
        """Whether a card about a request was posted."""
        for place in self.posted:
            if request_id in json.dumps(self.activities[place]):
                # Once it is closed its card does not name it any more.
                self.about[request_id] = place
        return request_id in self.about

    def token(
        self, *, key: SigningKey | None = None, header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token as the Bot Framework sends it with an activity."""
        used = key or self.keys[0]
        now = int(time.time())
        made = {
            "iss": ISSUER,
            "aud": APP_ID,
            "nbf": now - 10,
            "exp": now + 3600,
            "serviceurl": self.service_url,
        }
        said = {name: value for name, value in {**made, **claims}.items() if value is not ...}
        return jwt.encode({"alg": "RS256", "kid": used.id, **(header or {})}, said, used.key)


def press(
    place: tuple[str, str],
    card: dict[str, Any],
    verb: str,
    account: str,
    service: TeamsService,
    *,
    tenant: str = TENANT,
    inputs: dict[str, str] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """The activity that Teams sends when somebody presses a button of a card (or it refreshes)."""
    actions = [*card["actions"], card.get("refresh", {}).get("action", {})]
    action = next(one for one in actions if one.get("verb") == verb)
    sent = {name: action[name] for name in ("type", "title", "verb", "data")}
    sent = {**sent, "id": "", "data": {**action["data"], **(inputs or {})}}
    conversation, activity = place
    made = {
        "type": "invoke",
        "name": "adaptiveCard/action",
        "id": f"f:{secrets.token_hex(16)}",
        "timestamp": "2026-02-28T12:00:00.000Z",
        "channelId": "msteams",
        "serviceUrl": service.service_url,
        "from": {"id": f"29:{account}", "name": "Somebody", "aadObjectId": account},
        "conversation": {
            "isGroup": True,
            "conversationType": "channel",
            "tenantId": tenant,
            "id": conversation,
        },
        "recipient": {"id": f"28:{APP_ID}", "name": "Approvals"},
        "channelData": {"tenant": {"id": tenant}, "source": {"name": "message"}},
        "replyToId": activity,
        "value": {"action": sent, "trigger": "manual"},
        "locale": "en-US",
    }
    return {**made, **changes}


@contextmanager
def teams_service() -> Iterator[TeamsService]:
    """Run the services on a free port of this machine."""
    service = TeamsService()
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    service: TeamsService
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._dispatch(b"")

    def do_POST(self) -> None:
        self._dispatch(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def do_PUT(self) -> None:
        self.do_POST()

    def _dispatch(self, body: bytes) -> None:
        service, path = self.service, self.path
        service.calls.append(f"{self.command} {path.partition('?')[0]}")
        service.hanging.set()
        service.going_on.wait(20)
        if path == "/v1/.well-known/openidconfiguration":
            algorithms = ["RS256"]
            keys_url = f"{service.url}/v1/.well-known/keys"
            self._answer(
                200,
                {
                    "issuer": service.issuer,
                    "jwks_uri": keys_url,
                    "id_token_signing_alg_values_supported": algorithms,
                },
            )
        elif path == "/v1/.well-known/keys":
            self._answer(200, {"keys": [key.listed() for key in service.keys]})
        elif path == f"/{TENANT}/oauth2/v2.0/token":
            self._sign_in(body)
        elif service.refuse_next:
            status, headers = service.refuse_next.pop(0)
            self._answer(status, {"error": {"code": "refused"}}, headers)
        elif path.startswith("/workflows/"):
            self._hook(body)
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in service.tokens:
            self._answer(401, {"message": "Authorization has been denied for this request."})
        else:
            self._connector(body)

    def _sign_in(self, body: bytes) -> None:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        wanted = {
            "grant_type": "client_credentials",
            "client_id": APP_ID,
            "client_secret": PASSWORD,
            "scope": "https://api.botframework.com/.default",
        }
        if form != wanted:
            self._answer(401, {"error": "invalid_client"})
            return
        token = base64.urlsafe_b64encode(secrets.token_bytes(30)).decode()
        self.service.tokens.add(token)
        self._answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": token})

    def _hook(self, body: bytes) -> None:
        if len(body) > MAX_MESSAGE:
            self._answer(413, {"error": {"code": "RequestEntityTooLarge"}})
            return
        self.service.hooked.append(json.loads(body))
        self._answer(202, None)

    def _connector(self, body: bytes) -> None:
        path = unquote(self.path)
        if len(body) > MAX_MESSAGE:
            self._answer(413, {"error": {"code": "MessageSizeTooBig"}})
        elif self.path == "/teams/v3/conversations":
            self._new_conversation(json.loads(body))
        elif match := re.fullmatch(r"/teams/v3/conversations/([^/?]+)/pagedmembers\?.*", path):
            self._members(match[1])
        elif match := re.fullmatch(r"/teams/v3/conversations/([^/]+)/activities(?:/([^/]+))?", path):
            self._activity(match[1], match[2], json.loads(body))
        else:
            self._answer(404, {"error": {"code": "NotFound"}})

    def _new_conversation(self, start: dict[str, Any]) -> None:
        if not start.get("isGroup"):
            self._answer(201, {"id": f"a:{start['members'][0]['id']}"})
            return
        if start["channelData"]["channel"]["id"] != CHANNEL:
            self._answer(404, {"error": {"code": "ConversationNotFound"}})
            return
        activity = self._number()
        self._made(f"{CHANNEL};messageid={activity}", activity, start["activity"], conversation_made=True)

    def _members(self, conversation: str) -> None:
        """One member on each page: the last page has no token."""
        if conversation not in (CHANNEL, CHAT):
            self._answer(404, {"error": {"code": "ConversationNotFound"}})
            return
        number = int(parse_qs(self.path.partition("?")[2]).get("continuationToken", ["0"])[0])
        people = [(name, oid) for name, oid in PEOPLE.items() if name != "stranger"]
        name, oid = people[number]
        member = {"id": f"29:{oid}", "name": name, "aadObjectId": oid, "tenantId": TENANT}
        more = {"continuationToken": str(number + 1)} if number + 1 < len(people) else {}
        self._answer(200, {"members": [member], **more})

    def _activity(self, conversation: str, activity: str | None, document: dict[str, Any]) -> None:
        if not conversation.startswith(("19:", "a:")):
            self._answer(404, {"error": {"code": "ConversationNotFound"}})
        elif activity is None:
            self._made(conversation, self._number(), document)
        elif (conversation, activity) not in self.service.activities:
            self._answer(404, {"error": {"code": "ActivityNotFound"}})
        elif self.command == "PUT":
            self.service.activities[conversation, activity] = document
            self._answer(200, {"id": activity})
        else:
            self._made(conversation, self._number(), document)

    def _number(self) -> str:
        return str(1_700_000_000_000 + len(self.service.activities))

    def _made(
        self, conversation: str, activity: str, document: Any, *, conversation_made: bool = False
    ) -> None:
        self.service.activities[conversation, activity] = document
        self.service.posted.append((conversation, activity))
        if self.service.lose_next:
            self.service.lose_next = False
            self.close_connection = True
            self.connection.close()
            return
        self._answer(
            201, {"id": conversation, "activityId": activity} if conversation_made else {"id": activity}
        )

    def _answer(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
