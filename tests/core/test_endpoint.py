from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_approvals.core.endpoint import UNREADABLE, endpoint_of


def parts(kind="http", host="", port="", extra=""):
    return (kind, host, port, "schema", "login-secret", "password-secret", extra)


@pytest.mark.parametrize(
    ("connection", "shown"),
    [
        (parts(host="sink.example", port="8443"), "http://sink.example:8443"),
        (parts(host="https://bob:pw-secret@sink.example/in?token=t-secret"), "http://sink.example"),
        (parts(host="hooks.example/services/T0/t-secret"), "http://hooks.example"),
        (parts("aws", extra=json.dumps({"endpoint_url": "http://u:p-secret@s3.example:9000/x"})),
         "aws without a host, by its extra s3.example:9000"),
        (parts("fs", extra=json.dumps({"path": "/srv"})), "fs without a host"),
        (parts(host="h", extra=json.dumps({"host": "o", "key": "secret"})), "http://h, by its extra o"),
        (parts(host="h", extra="no json, a secret"), "http://h"),
        (parts(host="h", extra="[1]"), "http://h"),
        (parts(port="22"), "http://:22"),
    ],
)  # fmt: skip
def test_host_and_port_are_shown_and_nothing_secret(connection, shown):
    assert endpoint_of(connection) == shown
    assert "secret" not in endpoint_of(connection)


@pytest.mark.parametrize("host", ["evil.example/@good.example", "bob:pa/ss@good.example", "evil?@good"])
def test_what_could_be_read_two_ways_is_not_shown(host):
    assert endpoint_of(parts(host=host)) == f"http://{UNREADABLE}"


@given(st.text(max_size=20), st.text(alphabet=string.printable, max_size=20))
def test_no_part_of_an_account_is_ever_shown(user, password):
    address = f"{user}0user:0pass{password}@sink.example"
    shown = endpoint_of(parts(host=address, extra=json.dumps({"endpoint_url": f"https://{address}/0path"})))
    assert not any(part in shown for part in ("0user", "0pass", "0path"))
