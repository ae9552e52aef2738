"""Tokens from a local key set, with every claim wrong in turn."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_approvals.channels import teams_token
from airflow_approvals.channels.teams_token import MOST_WAITING, Caller, ForeignCallerError, KeyRing, verify
from airflow_approvals.errors import ConfigurationError, SignatureError, UnavailableError
from tests.channels.teams_service import APP_ID, SigningKey, TeamsService, teams_service

FOREIGN = SigningKey()
UNENDORSED = SigningKey(endorsements=("webchat",))


@pytest.fixture(scope="module")
def service() -> Iterator[TeamsService]:
    with teams_service() as running:
        running.keys = [*running.keys, UNENDORSED]
        yield running


@pytest.fixture(scope="module")
def ring(service: TeamsService) -> KeyRing:
    return KeyRing(service.openid_url)


@dataclass(frozen=True)
class Now:
    """So many seconds from when the test runs, which may be long after it was collected."""

    offset: int


def from_now(claims: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    return {name: now + value.offset if isinstance(value, Now) else value for name, value in claims.items()}


def call(ring: KeyRing, token: str | bytes) -> Caller:
    value = token if isinstance(token, bytes) else f"Bearer {token}".encode()
    return verify([(b"authorization", value)], keys=ring, app_id=APP_ID, now=time.time())


def test_a_token_of_the_bot_framework_is_accepted(service: TeamsService, ring: KeyRing) -> None:
    assert call(ring, service.token()) == Caller(service.service_url)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://sts.windows.net/x/"},
        {"iss": "https://api.botframework.com/"},
        {"iss": ["https://api.botframework.com"]},
        {"iss": ...},
        {"aud": "b0000000-1111-4222-8333-444444444444"},
        {"aud": [APP_ID]},
        {"aud": ...},
        {"exp": Now(-400)},
        {"exp": ...},
        {"exp": "never"},
        {"exp": True},
        {"nbf": Now(400)},
        {"nbf": ...},
        {"serviceurl": ...},
        {"serviceurl": 7},
    ],
)
def test_a_wrong_claim_is_refused(service: TeamsService, ring: KeyRing, claims: dict) -> None:
    with pytest.raises(SignatureError) as refused:
        call(ring, service.token(**from_now(claims)))
    assert not isinstance(refused.value, ForeignCallerError)


@pytest.mark.parametrize("claims", [{"exp": Now(-250)}, {"nbf": Now(250)}])
def test_clocks_may_differ_by_five_minutes(service: TeamsService, ring: KeyRing, claims: dict) -> None:
    assert call(ring, service.token(**from_now(claims)))


def test_a_key_that_is_not_endorsed_for_teams_is_refused(service: TeamsService, ring: KeyRing) -> None:
    with pytest.raises(ForeignCallerError):
        call(ring, service.token(key=UNENDORSED))


def test_another_key_under_a_known_name_is_refused(service: TeamsService, ring: KeyRing) -> None:
    forged = service.token(key=FOREIGN, header={"kid": service.keys[0].id})
    with pytest.raises(SignatureError, match="does not fit"):
        call(ring, forged)
    with pytest.raises(SignatureError, match="not one of the Bot Framework's"):
        call(ring, service.token(key=FOREIGN))


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def test_neither_none_nor_a_shared_secret_is_a_signature(service: TeamsService, ring: KeyRing) -> None:
    key = service.keys[0]
    _, claims, signature = service.token().split(".")
    for algorithm in ("none", "None", "", "HS256", "RS512", "PS256", None, ["RS256"]):
        for end in ("", signature):
            with pytest.raises(SignatureError):
                call(ring, f"{part({'alg': algorithm, 'kid': key.id, 'typ': 'JWT'})}.{claims}.{end}")
    public = key.key.as_pem(private=False)
    signed = f"{part({'alg': 'HS256', 'kid': key.id})}.{claims}"
    mac = hmac.digest(public, signed.encode(), "sha256")
    with pytest.raises(SignatureError):
        call(ring, f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")


def test_a_key_that_the_token_brings_along_is_not_used(service: TeamsService, ring: KeyRing) -> None:
    brought = FOREIGN.key.as_dict(private=False)
    for header in ({"jwk": brought}, {"jku": f"{service.url}/keys"}):
        with pytest.raises(SignatureError):
            call(ring, service.token(key=FOREIGN, header={"kid": service.keys[0].id, **header}))


def test_what_a_token_calls_critical_is_not_understood(service: TeamsService, ring: KeyRing) -> None:
    with pytest.raises(SignatureError):
        call(ring, service.token(header={"crit": ["kid"]}))


def test_every_flipped_part_is_refused(service: TeamsService, ring: KeyRing) -> None:
    token = service.token()
    for index in range(10, len(token) - 4, 97):
        other = "A" if token[index] != "A" else "B"
        with pytest.raises(SignatureError):
            call(ring, token[:index] + other + token[index + 1 :])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer a.b")],
        [(b"authorization", b"Bearer a.b.c")],
        [(b"authorization", b"Basic a.b.c")],
        [(b"authorization", b"Bearer \xff\xfe.b.c")],
        [(b"authorization", b"Bearer " + b"a" * 9000 + b".b.c")],
        [(b"authorization", b"Bearer " + base64.urlsafe_b64encode(b"[" * 3000) + b".b.c")],
    ],
)
def test_what_is_no_token_is_refused(ring: KeyRing, headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(SignatureError):
        verify(headers, keys=ring, app_id=APP_ID, now=time.time())


def test_two_headers_are_one_too_many(service: TeamsService, ring: KeyRing) -> None:
    header = (b"authorization", f"Bearer {service.token()}".encode())
    with pytest.raises(SignatureError):
        verify([header, header], keys=ring, app_id=APP_ID, now=time.time())


@given(st.binary(max_size=200), st.booleans())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_bytes_are_anything_but_refused(ring: KeyRing, noise: bytes, dressed: bool) -> None:
    with pytest.raises(SignatureError):
        call(ring, b"Bearer " + base64.urlsafe_b64encode(noise) + b".e30.AA" if dressed else noise)


class TestKeys:
    """The key ring against a service of its own, with a clock to turn."""

    @pytest.fixture
    def service(self) -> Iterator[TeamsService]:
        with teams_service() as running:
            running.keys = [SigningKey()]
            yield running

    @pytest.fixture
    def clock(self) -> list[float]:
        return [1000.0]

    @pytest.fixture
    def ring(self, service: TeamsService, clock: list[float]) -> KeyRing:
        return KeyRing(service.openid_url, clock=lambda: clock[0])

    @pytest.fixture
    def patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A service that hangs does so for longer than a busy machine takes for a test."""
        for name in ("FETCH_SECONDS", "WAIT_SECONDS"):
            monkeypatch.setattr(teams_token, name, 60.0)

    def fetches(self, service: TeamsService) -> int:
        return service.calls.count("GET /v1/.well-known/keys")

    def test_keys_are_fetched_once_and_again_after_a_day(self, service, ring, clock):
        for _ in range(3):
            assert call(ring, service.token())
        assert self.fetches(service) == 1
        clock[0] += 24 * 3600
        assert call(ring, service.token())
        assert self.fetches(service) == 2

    def test_a_new_key_is_found_and_the_old_one_is_refused_once_it_is_gone(self, service, ring, clock):
        old = service.token()
        assert call(ring, old)
        service.keys = [SigningKey()]
        clock[0] += 60
        assert call(ring, service.token())
        with pytest.raises(SignatureError):
            call(ring, old)

    def test_unknown_keys_do_not_make_us_ask_more_than_once_a_minute(self, service, ring, clock):
        assert call(ring, service.token())
        for _ in range(20):
            clock[0] += 1
            with pytest.raises(SignatureError):
                call(ring, service.token(key=FOREIGN))
        assert self.fetches(service) == 1
        clock[0] += 60
        with pytest.raises(SignatureError):
            call(ring, service.token(key=FOREIGN))
        assert self.fetches(service) == 2

    def test_without_keys_nobody_is_let_in_and_old_keys_do_for_two_days(self, service, ring, clock):
        token = service.token()
        assert call(ring, token)
        service.issuer = "https://evil.example"
        clock[0] += 47 * 3600
        assert call(ring, token)
        clock[0] += 3600
        with pytest.raises(UnavailableError):
            call(ring, token)

    def test_while_keys_do_not_come_a_few_calls_wait_and_the_rest_are_refused_at_once(
        self, service, ring, clock, patience
    ):
        assert call(ring, service.token())
        clock[0] += 60
        service.calls.clear()
        token = service.token(key=FOREIGN)
        with service.hang(), ThreadPoolExecutor(MOST_WAITING + 20) as pool:
            calls = [pool.submit(call, ring, token) for _ in range(MOST_WAITING + 20)]
            refused = list(islice(as_completed(calls), 20))
            assert [type(one.exception()) for one in refused] == [UnavailableError] * 20
            assert [one.done() for one in calls].count(False) == MOST_WAITING
            service.go_on()
            waited = [one for one in calls if one not in refused]
            assert [type(one.exception()) for one in waited] == [SignatureError] * MOST_WAITING
        assert self.fetches(service) == 1

    def test_before_there_are_keys_everybody_waits_for_the_first(self, service, ring, patience):
        with service.hang(), ThreadPoolExecutor(MOST_WAITING + 4) as pool:
            calls = [pool.submit(call, ring, service.token()) for _ in range(MOST_WAITING + 4)]
            service.is_hanging()
            service.go_on()
            assert {one.result() for one in calls} == {Caller(service.service_url)}
        assert self.fetches(service) == 1

    @pytest.mark.parametrize("hours", [0, 25])
    def test_who_comes_with_a_known_key_waits_for_nobody(self, service, ring, clock, patience, hours):
        known = service.token()
        assert call(ring, known)
        clock[0] += max(hours * 3600, 60)
        service.calls.clear()
        with service.hang(), ThreadPoolExecutor(1) as pool:
            first = pool.submit(call, ring, known if hours else service.token(key=FOREIGN))
            service.is_hanging()
            assert call(ring, known)
            assert not first.done()
            service.go_on()
            assert (first.exception() is None) is bool(hours)
        assert self.fetches(service) == 1

    def test_metadata_of_another_issuer_names_no_keys(self, service, ring):
        service.issuer = "https://sts.windows.net/x/"
        with pytest.raises(UnavailableError):
            call(ring, service.token())

    def test_a_set_without_a_usable_key_is_none(self, service, ring):
        service.keys = []
        with pytest.raises(UnavailableError):
            call(ring, service.token(key=FOREIGN))


def test_metadata_is_fetched_securely_only() -> None:
    with pytest.raises(ConfigurationError, match="teams_openid_url"):
        KeyRing("http://login.botframework.com/v1/.well-known/openidconfiguration")


@pytest.mark.parametrize(
    ("service_url", "fits"),
    [
        ("https://smba.trafficmanager.net/teams/", True),
        ("https://smba.trafficmanager.net/teams", True),
        ("https://smba.trafficmanager.net/emea/", False),
        ("http://smba.trafficmanager.net/teams/", False),
        ("", False),
    ],
)
def test_an_activity_is_of_the_service_that_the_token_names(service_url: str, fits: bool) -> None:
    caller = Caller("https://smba.trafficmanager.net/teams/")
    assert caller.speaks_for(service_url, frozenset({"smba.trafficmanager.net"})) is fits


@pytest.mark.parametrize(
    "service_url",
    [
        "https://evil.trafficmanager.net/teams/",
        "https://smba.trafficmanager.net.evil.example/",
        "https://smba.trafficmanager.net@evil.example/",
        "https://evil.example@smba.trafficmanager.net/",
        "http://smba.trafficmanager.net/",
    ],
)
def test_a_service_elsewhere_is_refused_even_when_the_token_names_it(service_url: str) -> None:
    assert not Caller(service_url).speaks_for(service_url, frozenset({"smba.trafficmanager.net"}))
