"""Kinds of secrets, and where their vendors document them.

Where a vendor's page gives a prefix but no length, the length is the one that the public rules of gitleaks
and its successor betterleaks use.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.corpora.secret_tokens import (
    ALNUM,
    BECH32,
    DIGITS,
    HEX,
    LOWER,
    UPPER,
    URL_SAFE,
    Draw,
    Token,
    azure_storage,
    base64_of,
    basic,
    chars,
    discord,
    jwt,
    key_block,
    of,
    password,
    sentry,
    signed_url,
    url_with_password,
    with_checksum,
)


@dataclass(frozen=True)
class Kind:
    """A kind of secret.

    :param name: of the kind.
    :param source: where its vendor documents it.
    :param make: makes a token.
    :param label: the name beside it, without which nobody can tell it from another value.
    """

    name: str
    source: str
    make: Callable[[Draw], Token]
    label: str = ""


KINDS: tuple[Kind, ...] = (
    Kind(
        "AWS access key id",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html",
        of("AKIA", (UPPER + "234567", 16)),
    ),
    Kind(
        "AWS secret access key",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html",
        base64_of(30),
        label="aws_secret_access_key",
    ),
    Kind(
        "AWS session token",
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_use-resources.html",
        base64_of(240),
        label="aws_session_token",
    ),
    Kind(
        "AWS signed URL",
        "https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html",
        signed_url,
    ),
    Kind(
        "Google API key",
        "https://cloud.google.com/docs/authentication/api-keys",
        of("AIza", "Sy", (URL_SAFE, 33)),
    ),
    Kind(
        "Google OAuth client secret",
        "https://developers.google.com/identity/protocols/oauth2",
        of("GOCSPX-", (URL_SAFE, 28)),
    ),
    Kind(
        "Google OAuth access token",
        "https://developers.google.com/identity/protocols/oauth2/web-server",
        of("ya29.", "a0", (URL_SAFE, 180)),
    ),
    Kind(
        "Slack bot token",
        "https://api.slack.com/concepts/token-types",
        of("xoxb-", (DIGITS, 12), "-", (DIGITS, 13), "-", (ALNUM, 24)),
    ),
    Kind(
        "Slack app token",
        "https://api.slack.com/concepts/token-types",
        of("xapp-", "1-A", (UPPER + DIGITS, 10), "-", (DIGITS, 13), "-", (HEX, 64)),
    ),
    Kind(
        "Slack webhook",
        "https://api.slack.com/messaging/webhooks",
        of(
            "https://hooks.slack.com/",
            "services/T",
            (UPPER + DIGITS, 10),
            "/B",
            (UPPER + DIGITS, 10),
            "/",
            (ALNUM, 24),
        ),
    ),
    Kind(
        "GitHub personal access token",
        "https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/",
        with_checksum("ghp_"),
    ),
    Kind(
        "GitHub app token",
        "https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/",
        with_checksum("ghs_"),
    ),
    Kind(
        "GitHub fine-grained token",
        "https://docs.github.com/authentication/keeping-your-account-and-data-secure/about-authentication-to-github",
        of("github_pat_", "11", (UPPER + DIGITS, 20), "_", (ALNUM, 59)),
    ),
    Kind(
        "GitLab personal access token",
        "https://docs.gitlab.com/security/tokens/",
        of("glpat-", (URL_SAFE, 20)),
    ),
    Kind("Stripe secret key", "https://docs.stripe.com/keys", of("sk_", "live_", "51", (ALNUM, 97))),
    Kind("Stripe restricted key", "https://docs.stripe.com/keys", of("rk_", "live_", "51", (ALNUM, 97))),
    Kind("Stripe webhook secret", "https://docs.stripe.com/webhooks", of("whsec_", (ALNUM, 32))),
    Kind(
        "OpenAI project key",
        "https://platform.openai.com/docs/api-reference/authentication",
        of("sk-proj-", (URL_SAFE, 74), "T3Blbk", "FJ", (URL_SAFE, 74)),
    ),
    Kind(
        "Anthropic key",
        "https://docs.anthropic.com/en/api/overview",
        of("sk-ant-", "api03-", (URL_SAFE, 93), "AA"),
    ),
    Kind(
        "OpenRouter key",
        "https://openrouter.ai/docs/api-reference/authentication",
        of("sk-or-", "v1-", (HEX, 64)),
    ),
    Kind(
        "Hugging Face token",
        "https://huggingface.co/docs/hub/security-tokens",
        of("hf_", (LOWER + UPPER, 34)),
    ),
    Kind("Groq key", "https://console.groq.com/docs/quickstart", of("gsk_", (ALNUM, 52))),
    Kind("Replicate token", "https://replicate.com/docs/topics/security/api-tokens", of("r8_", (ALNUM, 37))),
    Kind(
        "SendGrid key",
        "https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys",
        of("SG.", (URL_SAFE, 22), ".", (URL_SAFE, 43)),
    ),
    Kind("Twilio API key", "https://www.twilio.com/docs/glossary/what-is-a-sid", of("SK", (HEX, 32))),
    Kind(
        "Twilio auth token",
        "https://www.twilio.com/docs/iam/api/authtoken",
        of((HEX, 32)),
        label="twilio_auth_token",
    ),
    Kind(
        "npm token",
        "https://github.blog/2021-09-23-announcing-npms-new-access-token-format/",
        with_checksum("npm_"),
    ),
    Kind("PyPI token", "https://pypi.org/help/#apitoken", of("pypi-", "AgEIcHlwaS5vcmcC", (URL_SAFE, 150))),
    Kind("RubyGems key", "https://guides.rubygems.org/api-key-scopes/", of("rubygems_", (HEX, 48))),
    Kind(
        "Docker access token",
        "https://docs.docker.com/security/access-tokens/",
        of("dckr_pat_", (URL_SAFE, 27)),
    ),
    Kind(
        "Telegram bot token",
        "https://core.telegram.org/bots/api#authorizing-your-bot",
        of((DIGITS[1:], 10), ":A", (URL_SAFE, 34)),
    ),
    Kind("Discord bot token", "https://discord.com/developers/docs/reference#authentication", discord),
    Kind(
        "Mailgun key",
        "https://documentation.mailgun.com/docs/mailgun/api-reference/mg-auth",
        of("key-", (HEX, 32)),
    ),
    Kind(
        "Mailchimp key",
        "https://mailchimp.com/developer/marketing/guides/quick-start/",
        of((HEX, 32), "-us", ("123456789", 1), (DIGITS[:3], 1)),
    ),
    Kind(
        "DigitalOcean token",
        "https://docs.digitalocean.com/reference/api/create-personal-access-token/",
        of("dop_v1_", (HEX, 64)),
    ),
    Kind(
        "Shopify token",
        "https://shopify.dev/changelog/length-of-the-shopify-access-token-is-increasing",
        of("shpat_", (HEX, 32)),
    ),
    Kind("Databricks token", "https://docs.databricks.com/en/dev-tools/auth/pat.html", of("dapi", (HEX, 32))),
    Kind(
        "Vault token",
        "https://developer.hashicorp.com/vault/docs/concepts/tokens#token-prefixes",
        of("hvs.", "CAESI", (URL_SAFE, 90)),
    ),
    Kind(
        "Terraform token",
        "https://developer.hashicorp.com/terraform/cloud-docs/users-teams-organizations/api-tokens",
        of((ALNUM, 14), ".atlasv1.", (ALNUM, 67)),
    ),
    Kind(
        "Pulumi token",
        "https://www.pulumi.com/docs/pulumi-cloud/access-management/access-tokens/",
        of("pul-", (HEX, 40)),
    ),
    Kind(
        "Atlassian token",
        "https://support.atlassian.com/atlassian-account/docs/manage-api-tokens-for-your-atlassian-account/",
        of("ATATT3xFfGF0", (URL_SAFE, 171), "=", ("0123456789ABCDEF", 8)),
    ),
    Kind("Linear key", "https://linear.app/developers/graphql", of("lin_api_", (ALNUM, 40))),
    Kind(
        "Notion token",
        "https://developers.notion.com/docs/authorization",
        of("ntn_", (DIGITS, 11), (ALNUM, 35)),
    ),
    Kind(
        "Postman key",
        "https://learning.postman.com/docs/developer/postman-api/authentication/",
        of("PMAK-", (HEX, 24), "-", (HEX, 34)),
    ),
    Kind("Sentry organization token", "https://docs.sentry.io/account/auth-tokens/", sentry),
    Kind(
        "Grafana service account token",
        "https://grafana.com/docs/grafana/latest/administration/service-accounts/",
        of("glsa_", (ALNUM, 32), "_", (HEX, 8)),
    ),
    Kind(
        "New Relic user key",
        "https://docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys/",
        of("NRAK-", (UPPER + DIGITS, 27)),
    ),
    Kind(
        "Datadog API key",
        "https://docs.datadoghq.com/account_management/api-app-keys/",
        of((HEX, 32)),
        label="dd_api_key",
    ),
    Kind(
        "Dynatrace token",
        "https://docs.dynatrace.com/docs/manage/identity-access-management/access-tokens-and-oauth-clients/access-tokens",
        of("dt0c01.", (UPPER + "234567", 24), ".", (UPPER + "234567", 64)),
    ),
    Kind(
        "Azure client secret",
        "https://learn.microsoft.com/entra/identity-platform/howto-create-service-principal-portal",
        of((ALNUM, 3), (DIGITS, 1), "Q~", (ALNUM + "_~.-", 34)),
    ),
    Kind(
        "Azure storage connection string",
        "https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string",
        azure_storage,
    ),
    Kind("JSON Web Token", "https://www.rfc-editor.org/rfc/rfc7519", jwt),
    Kind(
        "bearer token",
        "https://www.rfc-editor.org/rfc/rfc6750",
        lambda draw: Token(chars(draw, URL_SAFE, 40), before="Bearer "),
        label="Authorization",
    ),
    Kind("basic credentials", "https://www.rfc-editor.org/rfc/rfc7617", basic, label="Authorization"),
    Kind(
        "URL with password",
        "https://www.postgresql.org/docs/current/libpq-connect.html",
        url_with_password("postgresql", 5432),
    ),
    Kind("RSA private key", "https://www.rfc-editor.org/rfc/rfc7468", key_block("RSA PRIVATE KEY", 608)),
    Kind(
        "OpenSSH private key",
        "https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL.key",
        key_block("OPENSSH PRIVATE KEY", 280),
    ),
    Kind(
        "PGP private key",
        "https://www.rfc-editor.org/rfc/rfc9580",
        key_block("PGP PRIVATE KEY BLOCK", 400, head="\n"),
    ),
    Kind(
        "age secret key",
        "https://github.com/C2SP/C2SP/blob/main/age.md",
        of("AGE-SECRET-KEY-", "1", (BECH32, 58)),
    ),
    Kind("password", "https://www.rfc-editor.org/rfc/rfc4422", password, label="password"),
    Kind(
        "Fernet key",
        "https://airflow.apache.org/docs/apache-airflow/stable/security/secrets/fernet.html",
        lambda draw: Token(base64.urlsafe_b64encode(draw.randbytes(32)).decode()),
        label="fernet_key",
    ),
)
