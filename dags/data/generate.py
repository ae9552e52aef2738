"""Make the example data: support tickets and an application log, full of invented people.

Seeded, so that it writes the same bytes wherever it runs: ``python dags/data/generate.py``.
Numbers with check digits are valid in form and belong to nobody; secrets are random.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import random
import string
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

SEED = 20260401
TICKETS = 500
LOG_BYTES = 200_000

#: country, first names, last names, cities, phone formats (# is a digit, % a digit from 2 to 9)
PEOPLE = {
    "US": ("James Mary Robert Linda Ashley Brian", "Smith Johnson Williams Brown Davis Miller",
           "Boston Denver Austin Seattle", ("+1 212 555 01##", "(415) 555-01##", "646-555-01##")),
    "GB": ("Oliver Amelia Harry Isla George Poppy", "Taylor Davies Evans Wilson Roberts Walker",
           "London Leeds Bristol Glasgow", ("+44 20 7946 0###", "+44 7700 900###")),
    "DE": ("Lukas Anna Felix Lena Jonas Greta", "Müller Schmidt Schneider Weber Wagner Becker",
           "Berlin Hamburg München Köln", ("+49 30 23125 ###", "+49 171 39200##")),
    "FR": ("Hugo Camille Louis Chloé Jules Manon", "Martin Bernard Dubois Laurent Lefebvre Moreau",
           "Paris Lyon Marseille Nantes", ("+33 1 99 00 ## ##", "+33 6 39 98 ## ##")),
    "ES": ("Lucía Mateo Sofía Pablo Carmen Javier", "García Fernández López Sánchez Romero Torres",
           "Madrid Sevilla Valencia Bilbao", ("+34 91 123 4# ##", "+34 612 34 5# ##")),
    "IT": ("Giulia Marco Francesca Luca Elena Matteo", "Rossi Bianchi Ferrari Romano Ricci Conti",
           "Roma Milano Torino Napoli", ("+39 06 698 1####", "+39 347 123 ####")),
    "NL": ("Daan Emma Sem Julia Lars Sanne", "Jansen Visser Bakker Smit Meijer Mulder",
           "Amsterdam Utrecht Rotterdam Leiden", ("+31 20 123 45##", "+31 6 123 456 ##")),
    "PL": ("Jakub Zofia Antoni Hanna Piotr Alicja", "Kowalski Nowak Lewandowski Kaczmarek Mazur",
           "Warszawa Kraków Gdańsk Wrocław", ("+48 22 123 45 ##", "+48 512 345 6##")),
    "IN": ("Priya Arjun Ananya Rohan Kavya Vikram", "Sharma Patel Gupta Reddy Iyer Mehta",
           "Mumbai Pune Chennai Delhi", ("+91 98200 12###", "+91 22 4012 3###")),
    "BR": ("Beatriz Thiago Larissa Rafael Camila Bruno", "Silva Santos Oliveira Souza Pereira Lima",
           "Recife Curitiba Salvador Fortaleza", ("+55 11 91234 56##", "+55 21 3123 45##")),
}  # fmt: skip

#: country -> form of the account part of an IBAN: d is a digit, A a letter. Source: SWIFT IBAN Registry
IBAN_FORMS = {
    "GB": "AAAA" + "d" * 14, "DE": "d" * 18, "FR": "d" * 23, "ES": "d" * 20, "IT": "A" + "d" * 22,
    "NL": "AAAA" + "d" * 10, "PL": "d" * 24, "BR": "d" * 23 + "AA",
}  # fmt: skip

CARD_PREFIXES = {
    "visa": ("4", 16), "mastercard": ("53", 16), "mastercard2": ("2431", 16), "amex": ("37", 15),
    "discover": ("6011", 16), "jcb": ("3530", 16),
}  # fmt: skip

PRODUCTS = ("router", "billing portal", "mobile app", "export job", "smart meter", "web shop")
STATUSES = ("open", "pending", "closed", "escalated")
MAIL_HOSTS = ("example.com", "example.org", "mail.example.net", "corp.internal")

COMPLAINTS = (
    "The {product} stopped working after the update.",
    "I was charged twice for the {product}.",
    "Please send the invoice for the {product} again.",
    "The {product} shows an error whenever I save.",
    "How do I move the {product} to another account?",
)

Columns = dict[str, str]


class Maker:
    """Makes invented facts from one seeded source of chance."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  example data, not keys

    def person(self) -> Columns:
        """Return country, name, city, phone and e-mail of somebody who does not exist."""
        country = self.random.choice(sorted(PEOPLE))
        first_names, last_names, cities, phones = PEOPLE[country]
        first, last = self.random.choice(first_names.split()), self.random.choice(last_names.split())
        host = self.random.choice(MAIL_HOSTS)
        return {
            "country": country,
            "name": f"{first} {last}",
            "city": self.random.choice(cities.split()),
            "phone": self.digits(self.random.choice(phones)),
            "email": f"{ascii_letters(first)}.{ascii_letters(last)}{self.random.randint(1, 99)}@{host}",
        }

    def birthday(self) -> str:
        """Return a date of birth between 1950 and 2001."""
        born = datetime(1950, 1, 1, tzinfo=UTC) + timedelta(days=self.random.randint(0, 19_000))
        return born.date().isoformat()

    def digits(self, form: str) -> str:
        """Return the form with every # replaced by a digit."""
        return "".join(self.random.choice(string.digits) if mark == "#" else mark for mark in form)

    def token(self, length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
        """Return random characters."""
        return "".join(self.random.choice(alphabet) for _ in range(length))

    def iban(self, country: str) -> str:
        """Return an IBAN with valid check digits (ISO 13616, ISO 7064 MOD 97-10)."""
        country = country if country in IBAN_FORMS else self.random.choice(sorted(IBAN_FORMS))
        form = IBAN_FORMS[country]
        account = "".join(self.random.choice(string.digits if mark == "d" else "ABCDEFGH") for mark in form)
        number = "".join(str(int(mark, 36)) for mark in f"{account}{country}00")
        iban = f"{country}{98 - int(number) % 97:02d}{account}"
        return " ".join(iban[start : start + 4] for start in range(0, len(iban), 4))

    def card(self) -> str:
        """Return a card number with a valid Luhn digit (ISO/IEC 7812-1)."""
        prefix, length = CARD_PREFIXES[self.random.choice(sorted(CARD_PREFIXES))]
        body = prefix + self.token(length - len(prefix) - 1, string.digits)
        number = body + luhn_digit(body)
        if self.random.random() < 0.4 and length == 16:
            return " ".join(number[start : start + 4] for start in range(0, 16, 4))
        return number

    def address(self) -> str:
        """Return an IP address from the ranges for documentation (RFC 5737, RFC 3849)."""
        if self.random.random() < 0.2:
            return f"2001:db8::{self.random.randint(1, 65535):x}"
        return f"{self.random.choice(('192.0.2', '198.51.100', '203.0.113'))}.{self.random.randint(1, 254)}"

    def jwt(self, subject: str) -> str:
        """Return a JSON Web Token with a random signature."""
        parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": subject, "iat": self.random.randint(1, 2**31)})
        encoded = [base64url(json.dumps(part).encode()) for part in parts]
        return ".".join([*encoded, self.token(43)])

    def private_key(self) -> str:
        """Return a PEM block of random bytes: it has the form of a key and opens nothing."""
        body = base64.b64encode(self.random.randbytes(600)).decode()
        lines = [body[start : start + 64] for start in range(0, len(body), 64)]
        return "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *lines, "-----END RSA PRIVATE KEY-----"])


def ascii_letters(name: str) -> str:
    """Return a name as it is written in an e-mail address."""
    plain = str.maketrans("áäçéèíñóöúüłń", "aaceeinoouuln")
    return name.lower().translate(plain).replace("ß", "ss")


def luhn_digit(body: str) -> str:
    """Return the check digit for the digits before it."""
    total = 0
    for index, mark in enumerate(reversed(body)):
        doubled = int(mark) * (2 if index % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


def base64url(data: bytes) -> str:
    """Return base64 for URLs, without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def tickets(maker: Maker) -> str:
    """Return the tickets as CSV: id-like, numeric, date and free-text columns."""
    text = io.StringIO(newline="")
    rows = [_ticket(maker, number) for number in range(1, TICKETS + 1)]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _ticket(maker: Maker, number: int) -> Columns:
    person = maker.person()
    opened = datetime(2026, 1, 5, 8, tzinfo=UTC) + timedelta(minutes=137 * number)
    pays_by_card = maker.random.random() < 0.5
    return {
        "ticket_id": f"T-{number:05d}",
        "opened_at": opened.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "customer_number": maker.digits("########"),
        "customer_name": person["name"],
        "email": person["email"],
        "phone": person["phone"],
        "country": person["country"],
        "city": person["city"],
        "date_of_birth": maker.birthday(),
        "card_number": maker.card() if pays_by_card else "",
        "iban": "" if pays_by_card else maker.iban(person["country"]),
        "amount_due": f"{maker.random.randint(0, 90000) / 100:.2f}",
        "satisfaction": str(maker.random.randint(1, 5)),
        "status": maker.random.choice(STATUSES),
        "message": _message(maker, person),
    }  # fmt: skip


def _message(maker: Maker, person: Columns) -> str:
    parts = [maker.random.choice(COMPLAINTS).format(product=maker.random.choice(PRODUCTS))]
    extras = (
        f"You can call me on {person['phone']}, ask for {person['name']}.",
        f"My e-mail is {person['email']}.",
        f"The amount was taken from {maker.iban(person['country'])}.",
        f"I paid with card {maker.card()}.",
        f"I tried to log in with password: {maker.token(12)}!\nIt did not work.",
        f"I live in {person['city']} and was born on {maker.random.randint(1, 28)} March 1987.",
        'Support said "please wait", so I waited.',
        f"My US social security number is {maker.random.randint(500, 599)}-{maker.random.randint(10, 99)}-"
        f"{maker.random.randint(1000, 9999)}.",
    )
    parts += maker.random.sample(extras, maker.random.randint(0, 2))
    return " ".join(parts)


def application_log(maker: Maker) -> str:
    """Return about 200 kB of log: plain lines, JSON lines, stack traces, keys over many lines."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    lines: list[str] = []
    size = 0
    while size < LOG_BYTES:
        at += timedelta(milliseconds=maker.random.randint(5, 4000))
        line = _log_line(maker, at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        lines.append(line)
        size += len(line.encode()) + 1
    return "\n".join(lines) + "\n"


def _log_line(maker: Maker, at: str) -> str:
    person = maker.person()
    roll = maker.random.random()
    if roll < 0.70:
        return f"{at} {_quiet(maker)}"
    if roll < 0.88:
        return f"{at} {_personal(maker, person)}"
    if roll < 0.98:
        return f"{at} {_secret(maker, person)}"
    return (
        _stack_trace(maker, at) if roll < 0.995 else f"{at} ERROR tls: key rejected:\n{maker.private_key()}"
    )


def _quiet(maker: Maker) -> str:
    request = maker.token(12, string.hexdigits[:16])
    took = maker.random.randint(1, 900)
    return maker.random.choice(
        (
            f"INFO  http request={request} GET /api/v2/orders 200 {took}ms",
            f"INFO  worker queue=exports depth={maker.random.randint(0, 40)} took={took}ms",
            f"DEBUG cache hit ratio={maker.random.randint(50, 99)}% keys={maker.random.randint(100, 9000)}",
            f"WARN  db slow query {took}ms rows={maker.random.randint(0, 5000)}",
            f"INFO  scheduler tick {took} jobs pending",
        )
    )


def _personal(maker: Maker, person: Columns) -> str:
    record = {"user": person["name"], "email": person["email"], "address": {"city": person["city"]}}
    return maker.random.choice(
        (
            f"INFO  auth login ok user={person['email']} ip={maker.address()}",
            f"INFO  crm {json.dumps(record, ensure_ascii=False)}",
            f"WARN  sms could not reach {person['phone']} name='{person['name']}'",
            f"INFO  payment authorised card={maker.card()} holder='{person['name']}'",
            f"INFO  payout to {maker.iban(person['country'])}",
            f"INFO  http GET https://shop.example.com/reset?email={person['email']}&lang=en 302",
        )
    )


def _secret(maker: Maker, person: Columns) -> str:
    low, token = string.ascii_lowercase + string.digits, maker.token
    return maker.random.choice(
        (
            f"DEBUG s3 key id AKIA{token(16, string.ascii_uppercase + '234567')} in use",
            f"DEBUG aws_secret_access_key={token(40)}",
            f"DEBUG maps init key=AIza{token(35)}",
            f"DEBUG slack post with xoxb-{token(12, string.digits)}-{token(12, string.digits)}-{token(24)}",
            f"ERROR git push https://oauth2:glpat-{token(20)}@git.example.com/team/app.git failed",
            f"DEBUG github token ghp_{token(36)}",
            f"DEBUG stripe rk_live_{token(24)} charge ok",
            f"DEBUG openai client sk-proj-{token(20)}7{token(27)}",
            f"DEBUG anthropic client sk-ant-api03-{token(40)}1{token(40)}AA",
            f"DEBUG mail SG.{token(22)}.{token(43)} queued",
            f"DEBUG registry npm_{token(36)}",
            f"DEBUG registry pypi-AgEIcHlwaS5vcmc{token(60)}",
            f"DEBUG http Authorization: Bearer {maker.jwt(person['email'])}",
            f"DEBUG http Authorization: Basic {base64.b64encode(f'svc:{token(10)}'.encode()).decode()}",
            f"ERROR db cannot connect to postgresql://app:{token(14)}@db.internal:5432/orders",
            f"ERROR db jdbc:mysql://db.internal:3306/app?user=app&password={token(14)}",
            f"ERROR blob AccountName=exports;AccountKey={token(86)}==;EndpointSuffix=core.windows.net",
            f'WARN  config {{"service": "ldap", "password": "{token(12)}", "retries": 3}}',
            f"WARN  login failed user=admin pwd={token(10, low)} attempts=3",
            f"INFO  download https://files.example.com/r.csv?X-Amz-Signature={token(64, '0123456789abcdef')}",
        )
    )


def _stack_trace(maker: Maker, at: str) -> str:
    return "\n".join(
        (
            f"{at} ERROR unhandled exception",
            "Traceback (most recent call last):",
            '  File "/srv/app/orders.py", line 118, in connect',
            f"    engine = create_engine('mysql://root:{maker.token(12)}@10.20.0.5/orders')",
            f"ConnectionError: access denied for {maker.person()['email']}",
        )
    )


def generate() -> dict[str, bytes]:
    """Return the files by name."""
    return {
        "tickets.csv": tickets(Maker(SEED)).encode("utf-8"),
        "application.log": application_log(Maker(SEED + 1)).encode("utf-8"),
    }


def main(folder: Path) -> None:
    """Write the files beside this one, or into the folder that is given."""
    for name, data in generate().items():
        (folder / name).write_bytes(data)
        print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
