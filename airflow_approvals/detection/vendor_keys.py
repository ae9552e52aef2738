"""Key and token formats that vendors publish or that their own scanners use.

A format with a fixed prefix is taken as found; there is no entropy guess. Each pattern is case
sensitive and bounded, so that a long line costs linear time.
"""

from __future__ import annotations

import re

_LEFT = r"(?<![A-Za-z0-9_-])"
_LEFT_OF_LETTERS = r"(?<![A-Za-z0-9])"
_RIGHT = r"(?![A-Za-z0-9])"

#: (name, pattern). A comment names the source of each format.
_FORMATS: tuple[tuple[str, str], ...] = (
    # Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html (unique IDs)
    ("AWS access key id", _LEFT_OF_LETTERS + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}" + _RIGHT),
    # Source: https://cloud.google.com/docs/authentication/api-keys; gitleaks rule gcp-api-key
    ("Google API key", _LEFT + r"AIza[0-9A-Za-z_-]{35}"),
    # Source: https://developers.google.com/identity/protocols/oauth2 (client secrets)
    ("Google OAuth client secret", _LEFT + r"GOCSPX-[0-9A-Za-z_-]{28}"),
    # Source: https://api.slack.com/concepts/token-types
    ("Slack token", _LEFT + r"xox[abceoprs](?:\.xox[bp])?-[0-9A-Za-z-]{10,250}"),
    ("Slack app token", _LEFT + r"xapp-\d-[0-9A-Za-z-]{10,250}"),
    # Source: https://api.slack.com/messaging/webhooks
    ("Slack webhook", r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z_/+-]{20,200}"),
    # Source: https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/
    ("GitHub token", _LEFT_OF_LETTERS + r"gh[pousr]_[0-9A-Za-z]{36,251}"),
    ("GitHub fine-grained token", _LEFT_OF_LETTERS + r"github_pat_[0-9A-Za-z_]{22,244}"),
    # Source: https://docs.gitlab.com/security/tokens/ (token prefixes)
    (
        "GitLab token",
        _LEFT + r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas|ffct)-[0-9A-Za-z_.-]{20,300}",
    ),
    # Source: https://docs.stripe.com/keys and https://docs.stripe.com/webhooks (signing secrets)
    ("Stripe key", _LEFT_OF_LETTERS + r"[rs]k_(?:live|test)_[0-9A-Za-z]{10,250}"),
    ("Stripe webhook secret", _LEFT_OF_LETTERS + r"whsec_[0-9A-Za-z+/=]{24,100}"),
    # Source: https://platform.openai.com/docs/api-reference/authentication and
    # https://docs.anthropic.com/en/api/overview (both begin with sk-); a digit rules out prose.
    ("OpenAI or Anthropic key", _LEFT + r"sk-(?=[A-Za-z_-]{0,200}\d)[0-9A-Za-z_-]{20,250}"),
    # Source: https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys
    ("SendGrid key", _LEFT + r"SG\.[0-9A-Za-z_-]{16,64}\.[0-9A-Za-z_-]{16,64}"),
    # Source: https://www.twilio.com/docs/glossary/what-is-a-sid
    ("Twilio SID", _LEFT_OF_LETTERS + r"(?:AC|SK)[0-9a-f]{32}" + _RIGHT),
    # Source: https://github.blog/2021-09-23-announcing-npms-new-access-token-format/
    ("npm token", _LEFT_OF_LETTERS + r"npm_[0-9A-Za-z]{36}"),
    # Source: https://pypi.org/help/#apitoken
    ("PyPI token", _LEFT + r"pypi-[0-9A-Za-z_-]{16,500}"),
    # Source: https://huggingface.co/docs/hub/security-tokens
    ("Hugging Face token", _LEFT_OF_LETTERS + r"hf_[0-9A-Za-z]{30,60}"),
    # Source: https://core.telegram.org/bots/api#authorizing-your-bot
    ("Telegram bot token", r"(?<![0-9A-Za-z])\d{8,10}:[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"),
    # Source: https://documentation.mailgun.com/docs/mailgun/api-reference/mg-auth
    ("Mailgun key", _LEFT + r"key-[0-9a-f]{32}" + _RIGHT),
    # Source: https://docs.digitalocean.com/reference/api/create-personal-access-token/
    ("DigitalOcean token", _LEFT_OF_LETTERS + r"do[opr]_v1_[0-9a-f]{64}"),
    # Source: https://shopify.dev/changelog/length-of-the-shopify-access-token-is-increasing
    ("Shopify token", _LEFT_OF_LETTERS + r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    # Source: https://docs.databricks.com/en/dev-tools/auth/pat.html
    ("Databricks token", _LEFT_OF_LETTERS + r"dapi[0-9a-f]{32}(?:-\d)?" + _RIGHT),
    # Source: https://developer.hashicorp.com/vault/docs/concepts/tokens#token-prefixes
    ("Vault token", _LEFT + r"hv[sbr]\.[0-9A-Za-z_-]{24,300}"),
)

#: AWS secret access keys have no prefix of their own: 40 characters beside a word that says so.
#: Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html
_AWS_UNPREFIXED = (
    r"(?i:aws|secret[ _-]?access[ _-]?key|secret[ _-]?key)[^\n]{0,40}?"
    r"(?<![A-Za-z0-9/+])(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
)

VENDOR_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    *((name, re.compile(pattern)) for name, pattern in _FORMATS),
    ("AWS secret access key", re.compile(_AWS_UNPREFIXED)),
)
