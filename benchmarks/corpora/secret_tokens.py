"""How tokens are made from a seed: of fixed parts and random ones. They open nothing.

Tokens are put together when the program runs, so that no file of the repository holds one.
"""

from __future__ import annotations

import base64
import json
import random
import string
import zlib
from collections.abc import Callable
from dataclasses import dataclass

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM = DIGITS + UPPER + LOWER
HEX = "0123456789abcdef"
URL_SAFE = ALNUM + "-_"
BECH32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"
#: What password generators use; a quote would be escaped differently in every surrounding.
PASSWORD = ALNUM + "!#$%*+-.=?@^_~"

Draw = random.Random


@dataclass(frozen=True)
class Token:
    """A value as it stands in a text: the secret, and what belongs to it but is none."""

    secret: str
    before: str = ""
    after: str = ""


def chars(draw: Draw, alphabet: str, length: int) -> str:
    """Return characters drawn from an alphabet."""
    return "".join(draw.choices(alphabet, k=length))


def of(*parts: str | tuple[str, int]) -> Callable[[Draw], Token]:
    """Make tokens of fixed parts and of ``(alphabet, length)``."""
    return lambda draw: Token(
        "".join(part if isinstance(part, str) else chars(draw, *part) for part in parts)
    )


def base64_of(size: int) -> Callable[[Draw], Token]:
    """Make random bytes in base64."""
    return lambda draw: Token(base64.b64encode(draw.randbytes(size)).decode())


def with_checksum(prefix: str) -> Callable[[Draw], Token]:
    """30 characters and their CRC-32 in base 62, six characters long."""

    def make(draw: Draw) -> Token:
        body = chars(draw, ALNUM, 30)
        rest, check = zlib.crc32(body.encode()), ""
        for _ in range(6):
            rest, digit = divmod(rest, 62)
            check = ALNUM[digit] + check
        return Token(prefix + body + check)

    return make


def _encoded(document: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def jwt(draw: Draw) -> Token:
    """Make a signed JSON Web Token."""
    claims = {
        "sub": str(draw.randrange(10**9)),
        "iss": "https://idp.example.com",
        "exp": draw.randrange(10**10),
    }
    head = _encoded({"alg": "HS256", "typ": "JWT"})
    return Token(f"{head}.{_encoded(dict(claims))}.{chars(draw, URL_SAFE, 43)}")


def sentry(draw: Draw) -> Token:
    """Make a token with its claims in base64."""
    claims = {
        "iat": draw.randrange(10**9, 2 * 10**9),
        "url": "https://sentry.io",
        "region_url": "https://us.sentry.io",
    }
    body = base64.b64encode(json.dumps({**claims, "org": "shop"}, separators=(",", ":")).encode()).decode()
    return Token(f"sntrys_{body}_{chars(draw, ALNUM + '+/', 43)}")


def discord(draw: Draw) -> Token:
    """Make a token that begins with its account's number in base64."""
    user = base64.b64encode(str(draw.randrange(10**17, 10**18)).encode()).decode()
    return Token(f"{user}.{chars(draw, 'GHIJ', 1)}{chars(draw, URL_SAFE, 5)}.{chars(draw, URL_SAFE, 38)}")


def key_block(label: str, size: int, head: str = "") -> Callable[[Draw], Token]:
    """Make a block of base64 in lines of 64 between the two lines that name it."""

    def make(draw: Draw) -> Token:
        body = base64.b64encode(draw.randbytes(size)).decode()
        lines = [body[at : at + 64] for at in range(0, len(body), 64)]
        dashes = "-" * 5
        return Token(
            "\n".join([f"{dashes}BEGIN {label}{dashes}{head}", *lines, f"{dashes}END {label}{dashes}"])
        )

    return make


def basic(draw: Draw) -> Token:
    """Make a user and a password in base64, as a header has them."""
    pair = f"svc-{draw.randrange(99)}:{chars(draw, PASSWORD, 16)}"
    return Token(base64.b64encode(pair.encode()).decode(), before="Basic ")


def password(draw: Draw) -> Token:
    """Make a password of 12 to 25 characters."""
    return Token(
        chars(draw, LOWER, 1) + chars(draw, PASSWORD, draw.randrange(10, 24)) + chars(draw, DIGITS, 1)
    )


def url_with_password(scheme: str, port: int) -> Callable[[Draw], Token]:
    """Make a URL whose secret is its password."""

    def make(draw: Draw) -> Token:
        host = f"@db-{draw.randrange(9)}.example.net:{port}/orders"
        return Token(chars(draw, ALNUM + "-_.~", 18), before=f"{scheme}://svc:", after=host)

    return make


def azure_storage(draw: Draw) -> Token:
    """Make a connection string whose secret is its key."""
    before = f"DefaultEndpointsProtocol=https;AccountName=shop{draw.randrange(99)};AccountKey="
    after = ";EndpointSuffix=core.windows.net"
    return Token(base64.b64encode(draw.randbytes(64)).decode(), before=before, after=after)


def signed_url(draw: Draw) -> Token:
    """Make a URL whose secret is its signature."""
    dated = f"X-Amz-Date=20260101T000000Z&X-Amz-Expires={draw.randrange(60, 3600)}"
    before = f"https://shop.s3.amazonaws.com/a.csv?{dated}&X-Amz-Signature="
    return Token(chars(draw, HEX, 64), before=before)
