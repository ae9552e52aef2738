"""One value of every kind that must never get out. Made up; the keys open nothing."""

from __future__ import annotations

_PEM = "\n".join(
    (
        "-----BEGIN RSA PRIVATE KEY-----",
        "MIIEowIBAAKCAQEAcAnArYkEyLiNeOnE",
        "qUx7cAnArYkEyLiNeTwO==",
        "-----END RSA PRIVATE KEY-----",
    )
)

#: name -> (entity type, value)
SECRETS: dict[str, tuple[str, str]] = {
    "aws id": ("API_KEY", "AKIAQX7CANARY2ZZ5TUV"),
    "google": ("API_KEY", "AIzaSyCANARYd8fK2mN4pQ6rS8tU0vW2xY4zA6b"),
    "slack": ("API_KEY", "xoxb-123456789012-210987654321-CaNaRyAbCdEfGhIjKlMnOpQr"),
    "github": ("API_KEY", "ghp_CaNaRy0123456789abcdefghijklmnopqrst"),
    "github pat": ("API_KEY", "github_pat_11CANARY0abcdefghijkl_0123456789abcdefghijklmnopqrstuvwxyz"),
    "gitlab": ("API_KEY", "glpat-CaNaRy_0123456789abc"),
    "stripe": ("API_KEY", "_".join(("sk", "live", "CaNaRy0123456789abcdefgh"))),
    "openai": ("API_KEY", "sk-proj-CaNaRy0123456789abcdefghijklmnop"),
    "anthropic": ("API_KEY", "sk-ant-api03-CaNaRy0123456789abcdefghijklmnopqrstuvwxyzAA"),
    "sendgrid": ("API_KEY", "SG.CaNaRy0123456789abcdef.0123456789abcdefghijklmnopqrstuvwxyzCANARY0"),
    "twilio": ("API_KEY", "SK0123456789abcdef0123456789cafe01"),
    "npm": ("API_KEY", "npm_CaNaRy0123456789abcdefghijklmnopqrst"),
    "pypi": ("API_KEY", "pypi-AgEIcHlwaS5vcmcCANARY0123456789abcdefghijklmnopqrstuvwxyz"),
    "jwt": ("ACCESS_TOKEN", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.CaNaRySiGnAtUrE0123456789abc"),
    "private key": ("PRIVATE_KEY", _PEM),
    "postgres": ("CONNECTION_STRING", "postgresql://app:CaNaRyPw@db.internal:5432/orders"),
    "jdbc": ("CONNECTION_STRING", "jdbc:mysql://db.internal:3306/app?user=app&password=CaNaRyPw2"),
    "azure": (
        "CONNECTION_STRING",
        "DefaultEndpointsProtocol=https;AccountName=exports;AccountKey=CaNaRy0123456789abcdefghijklmnopqrstuv==",
    ),
}

PERSONAL: dict[str, tuple[str, str]] = {
    "e-mail": ("EMAIL_ADDRESS", "carol.canary@corp.internal"),
    "phone": ("PHONE_NUMBER", "+49 30 23125 417"),
    "iban": ("IBAN_CODE", "DE89 3704 0044 0532 0130 00"),
    "card": ("CREDIT_CARD", "4111 1111 1111 1111"),
    "card of the 2-series": ("CREDIT_CARD", "2221000000000009"),
    "ip": ("IP_ADDRESS", "198.51.100.77"),
    "mac": ("MAC_ADDRESS", "00:1B:44:11:3A:B7"),
    "ssn": ("US_SSN", "536-90-4399"),
    "nhs": ("UK_NHS", "401-023-2137"),
    "nino": ("UK_NINO", "AB 12 34 56 C"),
    "crypto": ("CRYPTO", "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ"),
    "pesel": ("PL_PESEL", "44051401359"),
    "codice fiscale": ("IT_FISCAL_CODE", "RSSMRA85T10A562S"),
    "nie": ("ES_NIE", "X1234567L"),
}

ALL = {**SECRETS, **PERSONAL}
