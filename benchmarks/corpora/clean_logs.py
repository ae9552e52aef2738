"""Log lines without a secret that look as if they had one: what a scanner must leave alone.

Identifiers, digests, public keys, certificates, pictures, code in stack traces, placeholders, and words
about passwords and tokens. The same lines in every run.
"""

from __future__ import annotations

import base64
import random
import string
import uuid
from collections.abc import Callable, Iterator

LINES = 6_000
SEED = "clean logs"

_HEX = "0123456789abcdef"
_WORDS = (
    "order", "invoice", "customer", "warehouse", "session", "report", "export", "ledger", "schema", "batch",
    "payment", "refund", "stream", "cursor", "offset", "partition", "shard", "replica", "snapshot", "bucket",
)  # fmt: skip
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_TYPES = ("int", "str", "bytes", "Decimal", "datetime", "UUID")

Draw = random.Random


def lines(count: int = LINES) -> Iterator[str]:
    """Yield lines, each kind as often as any other."""
    draw = random.Random(SEED)  # noqa: S311 - texts, no secrets
    for number in range(count):
        yield _MAKERS[number % len(_MAKERS)](draw)


def _hex(draw: Draw, length: int) -> str:
    return "".join(draw.choices(_HEX, k=length))


def _uuid(draw: Draw) -> str:
    return str(uuid.UUID(int=draw.getrandbits(128), version=4))


def _word(draw: Draw) -> str:
    return draw.choice(_WORDS)


def _base64(draw: Draw, size: int, head: bytes = b"") -> str:
    return base64.b64encode(head + draw.randbytes(size)).decode()


def _stamp(draw: Draw) -> str:
    pick = draw.randrange
    date = f"2026-{pick(1, 13):02}-{pick(1, 29):02}"
    return f"{date}T{pick(24):02}:{pick(60):02}:{pick(60):02}.{pick(1000):03}Z"


def _head(draw: Draw) -> str:
    return f"{_stamp(draw)} {draw.choice(_LEVELS)} [{_word(draw)}-{draw.randrange(32)}]"


def _request(draw: Draw) -> str:
    path = f"/api/v{draw.randrange(1, 4)}/{_word(draw)}s/{_uuid(draw)}"
    return f"{_head(draw)} GET {path}?page={draw.randrange(9)}&sort=-created_at 200 {draw.randrange(999)}ms"


def _trace_id(draw: Draw) -> str:
    return f"{_head(draw)} trace_id={_hex(draw, 32)} span_id={_hex(draw, 16)} request_id={_uuid(draw)} sampled=true"


def _commit(draw: Draw) -> str:
    return f"{_head(draw)} deployed commit {_hex(draw, 40)} (parent {_hex(draw, 7)}) of {_word(draw)}-service"


def _digest(draw: Draw) -> str:
    image = f"registry.example.com/{_word(draw)}/{_word(draw)}"
    return f"Pulled {image}:v{draw.randrange(9)}.{draw.randrange(20)}.{draw.randrange(9)}@sha256:{_hex(draw, 64)}"


def _checksum(draw: Draw) -> str:
    return f"{_hex(draw, draw.choice((32, 40, 64, 128)))}  dist/{_word(draw)}-{draw.randrange(9)}.{draw.randrange(9)}.tar.gz"


def _arn(draw: Draw) -> str:
    account = draw.randrange(10**11, 10**12)
    return (
        f"{_head(draw)} assumed arn:aws:iam::{account}:role/{_word(draw)}-{_word(draw)}-reader "
        f"key arn:aws:kms:eu-west-1:{account}:key/{_uuid(draw)}"
    )


def _picture(draw: Draw) -> str:
    kind, head = draw.choice(
        (("png", b"\x89PNG\r\n\x1a\n"), ("jpeg", b"\xff\xd8\xff\xe0"), ("gif", b"GIF89a"))
    )
    return f'<img src="data:image/{kind};base64,{_base64(draw, draw.randrange(60, 400), head)}" alt="{_word(draw)}">'


def _binary(draw: Draw) -> str:
    return f"{_head(draw)} produced record key={draw.randrange(10**6)} value={_base64(draw, draw.randrange(30, 200))}"


def _text_blob(draw: Draw) -> str:
    text = f'{{"{_word(draw)}_ref": "{_uuid(draw)}", "page": {draw.randrange(99)}, "sort": "{_word(draw)}"}}'
    return f"{_head(draw)} next cursor={base64.b64encode(text.encode()).decode()} rows={draw.randrange(999)}"


def _public_key(draw: Draw) -> str:
    return f"ssh-rsa {_base64(draw, 270, bytes([0, 0, 0, 7]) + b'ssh-rsa')} deploy@{_word(draw)}"


def _public_pem(draw: Draw) -> str:
    name = draw.choice(("PUBLIC KEY", "CERTIFICATE", "CERTIFICATE REQUEST", "PGP PUBLIC KEY BLOCK"))
    return f"-----BEGIN {name}-----\\n{_base64(draw, 180, bytes([48, 130]))}\\n-----END {name}-----"


def _fingerprint(draw: Draw) -> str:
    shown = _base64(draw, 32).rstrip("=")
    return f"Accepted publickey for deploy from 10.{draw.randrange(255)}.3.4 port {draw.randrange(65536)} ssh2: ED25519 SHA256:{shown}"


def _certificate(draw: Draw) -> str:
    serial = ":".join(_hex(draw, 2) for _ in range(16))
    return f"    Serial Number: {serial} Signature Algorithm: sha256WithRSAEncryption, CN={_word(draw)}.example.com"


def _frame(draw: Draw) -> str:
    module = f"{_word(draw)}/{_word(draw)}.py"
    return f'  File "/usr/lib/python3.11/site-packages/{module}", line {draw.randrange(999)}, in get_{_word(draw)}'


def _java_frame(draw: Draw) -> str:
    name = _word(draw).title()
    return f"\tat com.example.{_word(draw)}.{name}TokenProvider.refreshToken({name}TokenProvider.java:{draw.randrange(999)})"


def _call(draw: Draw) -> str:
    return draw.choice(
        (
            f"    conn = connect(host=host, user=user, password=password, port={draw.randrange(9999)})",
            f"    def login(self, user: str, password: str, token: str | None = None) -> {draw.choice(_TYPES)}:",
            f"    client = {_word(draw).title()}Client(api_key=settings.api_key, token=self.token)",
            f"    return {_word(draw)}.sign(body, secret=self._secret, access_token=access_token)",
            f'    password = os.environ["{_word(draw).upper()}_PASSWORD"]',
            f"    token = self.{_word(draw)}_token()",
            f"    secret = hook.get_connection({_word(draw)}_conn_id).password",
        )
    )


def _placeholder(draw: Draw) -> str:
    return draw.choice(
        (
            f"  {_word(draw)}_password: ${{{_word(draw).upper()}_PASSWORD}}",
            f'{{"{_word(draw)}": {draw.randrange(99)}, "password": "***", "token": "<redacted>"}}',
            f'  api_key: "{{{{ var.value.{_word(draw)}_key }}}}"',
            f"postgresql://{_word(draw)}:***@db.example.com:5432/{_word(draw)}",
            f"password=[REDACTED] user={_word(draw)} attempt={draw.randrange(9)}",
            f"Authorization: Bearer <token> for {_word(draw)}",
            f"export {_word(draw).upper()}_TOKEN=$CI_JOB_TOKEN",
        )
    )


def _words_about(draw: Draw) -> str:
    return f"{_head(draw)} " + draw.choice(
        (
            f"password authentication failed for user {_word(draw)}",
            f"token expired for {_word(draw)}-{draw.randrange(99)}, refreshing",
            f"Password was changed by the administrator of {_word(draw)}",
            f"The password is required to open {_word(draw)}",
            f"max_tokens={draw.randrange(9999)} prompt_tokens={draw.randrange(999)} completion_tokens={draw.randrange(999)}",
            f"no API key for {_word(draw)}, the secret is in the vault",
            f"rotated secret {_word(draw)}-{_word(draw)} version {draw.randrange(99)}",
            f"password_changed_at={_stamp(draw)} token_type=bearer expires_in={draw.randrange(9999)}",
            f"public_key={_base64(draw, 32)} key_id={_uuid(draw)} primary_key={draw.randrange(10**6)}",
            f"signature: valid, signed by {_word(draw)}; tests pass: {draw.randrange(100, 999)} fail: {draw.randrange(9)}",
            f"signing_key=projects/{_word(draw)}/locations/global/keyRings/{_word(draw)}-{draw.randrange(9)}",
            f"new password must have {draw.randrange(100)} characters, the password length is {draw.randrange(100, 999)} bytes",
            f"idempotency-key: {_uuid(draw)} partition_key={_word(draw)} sort_key={_word(draw)}#{draw.randrange(99)}",
        )
    )


def _link(draw: Draw) -> str:
    return (
        f"see https://{_word(draw)}.example.com:8443/{_word(draw)}/{draw.randrange(10**6)}?tab={_word(draw)}"
        f"#L{draw.randrange(999)} or https://registry.example.com:8443/@types/{_word(draw)}, redirect=https%3A%2F%2Fapp.example.com%2F{_word(draw)}"
    )


def _versions(draw: Draw) -> str:
    pick = draw.randrange
    return f"Requirement already satisfied: {_word(draw)}-{_word(draw)}>={pick(9)}.{pick(30)}.{pick(9)} in /usr/lib (from {_word(draw)}=={pick(9)}.0rc{pick(9)})"


def _kubernetes(draw: Draw) -> str:
    tail = "".join(draw.choices(string.ascii_lowercase + string.digits, k=5))
    name = f"{_word(draw)}-{_hex(draw, 10)}-{tail}"
    return (
        f"pod/{name} container={_word(draw)} node=ip-10-0-{draw.randrange(255)}-7 uid={_uuid(draw)} Killing"
    )


def _query(draw: Draw) -> str:
    return f"{_head(draw)} SELECT id, {_word(draw)}_at FROM {_word(draw)}s WHERE id = '{_uuid(draw)}' LIMIT {draw.randrange(99)}"


def _lock(draw: Draw) -> str:
    return f'      "integrity": "sha512-{_base64(draw, 64)}", "resolved": "https://registry.example.com/{_word(draw)}/-/{_word(draw)}-1.{draw.randrange(9)}.0.tgz"'


def _etag(draw: Draw) -> str:
    return f'ETag: "{_hex(draw, 32)}-{draw.randrange(99)}" x-amz-request-id: {_hex(draw, 16).upper()} x-amz-id-2: {_base64(draw, 57)}'


def _airflow(draw: Draw) -> str:
    run = f"scheduled__{_stamp(draw)}"
    return f"<TaskInstance: {_word(draw)}.{_word(draw)} {run} [running]> dependencies all met, try {draw.randrange(9)} pid={draw.randrange(32768)}"


def _metrics(draw: Draw) -> str:
    return f'http_requests_total{{code="200",path="/{_word(draw)}",instance="10.0.0.{draw.randrange(255)}:9090"}} {draw.randrange(10**9)} {draw.randrange(10**12, 2 * 10**12)}'


def _path(draw: Draw) -> str:
    return f"copied /srv/{_word(draw)}/{_word(draw)}/{_word(draw)}/{_word(draw)}/part-{draw.randrange(99999):05}-{_uuid(draw)}.snappy.parquet"


_MAKERS: tuple[Callable[[Draw], str], ...] = (
    _request, _trace_id, _commit, _digest, _checksum, _arn, _picture, _binary, _text_blob, _public_key,
    _public_pem, _fingerprint, _certificate, _frame, _java_frame, _call, _placeholder, _words_about, _link,
    _versions, _kubernetes, _query, _lock, _etag, _airflow, _metrics, _path, _words_about, _call, _request,
)  # fmt: skip
