"""Key and token formats that vendors publish or that their own scanners use.

A format with a fixed prefix is taken as found; there is no entropy guess. Each pattern is case
sensitive and bounded, so that a long line costs linear time. Where a vendor documents a prefix but no
length, the length is the one of the public rules of gitleaks and betterleaks, or less.
"""

from __future__ import annotations

from airflow_approvals.detection.secret_rules import Rule, folded_rule, rule

_LEFT = r"(?<![A-Za-z0-9_-])"
_LEFT_OF_LETTERS = r"(?<![A-Za-z0-9])"
_RIGHT = r"(?![A-Za-z0-9])"

_WORD = "0-9A-Za-z"
_WIDE = "0-9A-Za-z_-"


def _prefixed(name: str, *prefixes: str, of: str = _WIDE, least: int, most: int = 300) -> Rule:
    """Return the rule of tokens that begin with one of some literal prefixes.

    :param of: the characters after the prefix, as in a character class.
    :param least: how many of them there are at least.
    :param most: at most.
    """
    heads = "|".join(prefix.replace(".", r"\.") for prefix in prefixes)
    return rule(name, rf"{_LEFT_OF_LETTERS}(?:{heads})[{of}]{{{least},{most}}}", *prefixes)


_CLOUDS: tuple[Rule, ...] = (
    # Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html (unique IDs)
    rule(
        "AWS access key id",
        _LEFT_OF_LETTERS + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}" + _RIGHT,
        *("AKIA", "ASIA", "ABIA", "ACCA"),
    ),
    # AWS secret access keys have no prefix of their own: 40 characters beside a word that says so.
    # Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html
    folded_rule(
        "AWS secret access key",
        r"(?:aws|secret[ _-]?access[ _-]?key|secret[ _-]?key)[^\n]{0,40}?"
        r"(?<![A-Za-z0-9/+])(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        *("aws", "secret"),
    ),
    # Source: https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html
    _prefixed("AWS Bedrock key", "ABSK", "bedrock-api-key-", of="0-9A-Za-z+/=", least=100, most=2_000),
    # Source: https://cloud.google.com/docs/authentication/api-keys; gitleaks rule gcp-api-key
    rule("Google API key", _LEFT + r"AIza[0-9A-Za-z_-]{35}", "AIza"),
    # Source: https://developers.google.com/identity/protocols/oauth2 (client secrets, tokens' sizes)
    rule("Google OAuth client secret", _LEFT + r"GOCSPX-[0-9A-Za-z_-]{28}", "GOCSPX-"),
    rule("Google OAuth token", _LEFT + r"(?:ya29\.|1//0)[0-9A-Za-z_-]{20,2048}", "ya29.", "1//0"),
    # Source: https://learn.microsoft.com/entra/identity-platform/howto-create-service-principal-portal
    rule(
        "Azure client secret",
        r"(?<![0-9A-Za-z_~.-])[0-9A-Za-z_~.]{3}\dQ~[0-9A-Za-z_~.-]{31,34}",
        "Q~",
    ),
    # Source: https://docs.digitalocean.com/reference/api/create-personal-access-token/
    _prefixed("DigitalOcean token", "dop_v1_", "doo_v1_", "dor_v1_", of="0-9a-f", least=64, most=64),
    # Source: https://developers.cloudflare.com/fundamentals/api/get-started/ca-keys/ and .../create-token/
    rule(
        "Cloudflare key",
        _LEFT + r"(?:v1\.0-[0-9a-f]{24}-[0-9a-f]{146}|cf[ua]t_[0-9A-Za-z]{40,64})",
        "v1.0-",
        "cfut_",
        "cfat_",
    ),
    # Source: https://devcenter.heroku.com/articles/authentication
    _prefixed("Heroku key", "HRKU-", least=36, most=70),
    # Source: https://fly.io/docs/security/tokens/
    rule("Fly.io token", r"\bFlyV1[ \t]fm[12]_[0-9A-Za-z_=,/+-]{40,4000}", "FlyV1"),
    # Source: https://www.alibabacloud.com/help/en/ram/user-guide/create-an-accesskey-pair
    rule("Alibaba access key id", _LEFT_OF_LETTERS + r"LTAI[0-9A-Za-z]{12,26}" + _RIGHT, "LTAI"),
    # Source: https://docs.databricks.com/en/dev-tools/auth/pat.html
    rule("Databricks token", _LEFT_OF_LETTERS + r"dapi[0-9a-f]{32}(?:-\d)?" + _RIGHT, "dapi"),
    # Source: https://planetscale.com/docs/concepts/service-tokens and .../password-roles
    _prefixed(
        "PlanetScale token", "pscale_tkn_", "pscale_pw_", "pscale_oauth_", of="0-9A-Za-z_=.-", least=32
    ),
    # Source: https://supabase.com/docs/guides/api/api-keys
    _prefixed("Supabase key", "sb_secret_", "sbp_", least=30),
    # Source: https://www.mongodb.com/docs/atlas/api/service-accounts-overview/
    _prefixed("MongoDB Atlas secret", "mdb_sa_sk_", least=40),
    # Source: https://neon.com/docs/manage/api-keys
    _prefixed("Neon key", "napi_", of=_WORD, least=40),
)

_DEVELOPMENT: tuple[Rule, ...] = (
    # Source: https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/
    _prefixed("GitHub token", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", of=_WORD, least=36, most=251),
    _prefixed("GitHub fine-grained token", "github_pat_", of="0-9A-Za-z_", least=22, most=244),
    # Source: https://docs.gitlab.com/security/tokens/ (token prefixes)
    rule(
        "GitLab token",
        _LEFT + r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas|ffct)-[0-9A-Za-z_.-]{20,300}",
        "gl",
    ),
    # Source: https://confluence.atlassian.com/bitbucketserver/http-access-tokens-939515499.html
    _prefixed("Bitbucket Data Center token", "BBDC-", of="0-9A-Za-z+/=", least=32),
    # Source: https://support.atlassian.com/atlassian-account/docs/manage-api-tokens-for-your-atlassian-account/
    _prefixed("Atlassian token", "ATATT3", "ATCTT3", "ATBB", of="0-9A-Za-z_=-", least=24, most=400),
    # Source: https://github.blog/2021-09-23-announcing-npms-new-access-token-format/
    _prefixed("npm token", "npm_", of=_WORD, least=36, most=36),
    # Source: https://pypi.org/help/#apitoken
    rule("PyPI token", _LEFT + r"pypi-[0-9A-Za-z_-]{16,500}", "pypi-"),
    # Source: https://guides.rubygems.org/api-key-scopes/
    _prefixed("RubyGems key", "rubygems_", of="0-9a-f", least=48, most=48),
    # Source: https://docs.docker.com/security/access-tokens/
    _prefixed("Docker token", "dckr_pat_", "dckr_oat_", least=20, most=64),
    # Source: https://docs.docker.com/engine/swarm/manage-nodes/ (join tokens, unlock keys)
    _prefixed("Docker Swarm token", "SWMTKN-1-", "SWMKEY-1-", of="0-9A-Za-z+/-", least=40),
    # Source: https://jfrog.com/help/r/jfrog-platform-administration-documentation/access-tokens
    rule(
        "Artifactory key",
        _LEFT + r"(?:AKCp[0-9A-Za-z]{68,70}|cmVmd[0-9A-Za-z]{59})" + _RIGHT,
        "AKCp",
        "cmVmd",
    ),
    # Source: https://circleci.com/docs/managing-api-tokens/
    rule("CircleCI token", _LEFT + r"CCIP(?:AT|RJ)_[0-9A-Za-z]{22}_[0-9a-f]{40}", "CCIPAT_", "CCIPRJ_"),
    # Source: https://buildkite.com/docs/platform/security/tokens
    rule("Buildkite token", _LEFT + r"bk(?:ua|aa|aj|ar|ct|pt|pat)_[0-9A-Za-z_-]{40,400}", "bk"),
    # Source: https://docs.sonarsource.com/sonarqube-server/user-guide/managing-tokens/
    _prefixed("SonarQube token", "squ_", "sqp_", "sqa_", of="0-9a-f", least=40, most=40),
    # Source: https://developer.hashicorp.com/vault/docs/concepts/tokens#token-prefixes
    _prefixed("Vault token", "hvs.", "hvb.", "hvr.", least=24),
    # Source: https://developer.hashicorp.com/terraform/cloud-docs/users-teams-organizations/api-tokens
    rule("Terraform token", _LEFT + r"[0-9A-Za-z]{14}\.atlasv1\.[0-9A-Za-z_=-]{60,80}", ".atlasv1."),
    # Source: https://www.pulumi.com/docs/pulumi-cloud/access-management/access-tokens/
    _prefixed("Pulumi token", "pul-", of="0-9a-f", least=40, most=40),
    # Source: https://docs.doppler.com/docs/service-tokens
    rule("Doppler token", _LEFT + r"dp\.(?:pt|st|ct|sa|scim|audit)\.[0-9A-Za-z._-]{40,100}", "dp."),
    # Source: https://developer.1password.com/docs/service-accounts/
    _prefixed("1Password service account token", "ops_eyJ", of="0-9A-Za-z+/=", least=200, most=4_000),
    # Source: https://tailscale.com/kb/1277/key-prefixes
    _prefixed("Tailscale key", "tskey-", least=20),
    # Source: https://vercel.com/docs/sign-in-with-vercel/tokens
    _prefixed("Vercel token", "vcp_", "vci_", "vca_", "vcr_", "vck_", least=56, most=80),
    # Source: https://docs.prefect.io/v3/how-to-guides/cloud/manage-users/api-keys
    _prefixed("Prefect key", "pnu_", "pnb_", of=_WORD, least=36, most=36),
    # Source: https://learning.postman.com/docs/developer/postman-api/authentication/
    rule("Postman key", _LEFT + r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}", "PMAK-"),
    # Source: https://www.figma.com/developers/api#access-tokens
    _prefixed("Figma token", "figd_", least=36, most=64),
    # Source: https://linear.app/developers/graphql
    _prefixed("Linear key", "lin_api_", of=_WORD, least=40, most=40),
    # Source: https://developers.notion.com/docs/authorization
    _prefixed("Notion token", "ntn_", of=_WORD, least=40, most=60),
    # Source: https://airtable.com/developers/web/guides/personal-access-tokens
    rule("Airtable token", _LEFT + r"pat[0-9A-Za-z]{14}\.[0-9a-f]{64}", "pat"),
)

_OBSERVABILITY: tuple[Rule, ...] = (
    # Source: https://docs.sentry.io/account/auth-tokens/
    rule("Sentry token", _LEFT + r"sntry[su]_[0-9A-Za-z+/=_-]{64,1000}", "sntrys_", "sntryu_"),
    # Source: https://grafana.com/docs/grafana/latest/administration/service-accounts/
    _prefixed("Grafana token", "glsa_", of="0-9A-Za-z_", least=40, most=64),
    _prefixed("Grafana Cloud token", "glc_", of="0-9A-Za-z+/=", least=40, most=400),
    # Source: https://docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys/
    _prefixed("New Relic key", "NRAK-", "NRII-", "NRRA-", "NRIQ-", of=_WIDE, least=24, most=64),
    # Source: https://docs.dynatrace.com/docs/manage/identity-access-management/
    # access-tokens-and-oauth-clients/access-tokens
    rule("Dynatrace token", _LEFT + r"dt0[a-z]\d{2}\.[0-9A-Za-z]{8,24}\.[0-9A-Za-z]{64}", "dt0"),
    # Source: https://posthog.com/docs/api
    _prefixed("PostHog personal key", "phx_", least=40, most=64),
)

_MODELS: tuple[Rule, ...] = (
    # Source: https://platform.openai.com/docs/api-reference/authentication and
    # https://docs.anthropic.com/en/api/overview (both begin with sk-); a digit rules out prose.
    rule("OpenAI or Anthropic key", _LEFT + r"sk-(?=[A-Za-z_-]{0,200}\d)[0-9A-Za-z_-]{20,250}", "sk-"),
    # Source: https://huggingface.co/docs/hub/security-tokens
    _prefixed("Hugging Face token", "hf_", "api_org_", of=_WORD, least=30, most=60),
    # Source: https://console.groq.com/docs/quickstart
    _prefixed("Groq key", "gsk_", of=_WORD, least=48, most=64),
    # Source: https://replicate.com/docs/topics/security/api-tokens
    _prefixed("Replicate token", "r8_", of=_WORD, least=37, most=37),
    # Source: https://docs.x.ai/docs/tutorial
    _prefixed("xAI key", "xai-", least=70, most=120),
    # Source: https://docs.perplexity.ai/getting-started/quickstart
    _prefixed("Perplexity key", "pplx-", of=_WORD, least=40, most=64),
    # Source: https://docs.smith.langchain.com/administration/how_to_guides/organization_management
    rule("LangSmith key", _LEFT + r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}", "lsv2_"),
    # Source: https://docs.pinecone.io/guides/projects/manage-api-keys
    _prefixed("Pinecone key", "pcsk_", of="0-9A-Za-z_", least=60, most=90),
    # Source: https://docs.api.nvidia.com/nim/docs/api-quickstart
    _prefixed("NVIDIA key", "nvapi-", least=60, most=80),
    # Source: https://docs.wandb.ai/guides/track/environment-variables/
    _prefixed("Weights & Biases key", "wandb_v1_", of="0-9A-Za-z_", least=70, most=90),
)

_MESSAGES_AND_MONEY: tuple[Rule, ...] = (
    # Source: https://api.slack.com/concepts/token-types
    rule("Slack token", _LEFT + r"xox[abceoprs](?:\.xox[bp])?-[0-9A-Za-z-]{10,250}", "xox"),
    rule("Slack app token", _LEFT + r"xapp-\d-[0-9A-Za-z-]{10,250}", "xapp-"),
    # Source: https://api.slack.com/messaging/webhooks
    rule(
        "Slack webhook",
        r"https://hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Za-z_/+-]{20,200}",
        "hooks.slack.com",
    ),
    # Source: https://discord.com/developers/docs/reference#authentication; the first part is the
    # account's number (17 to 19 digits) in base64, whose characters each have a place.
    rule(
        "Discord token",
        _LEFT
        + r"(?:[MNO][DTjz][AEIMQUYcgk][w-z0-5]){5,6}[0-9A-Za-z]{0,3}\.[0-9A-Za-z_-]{6}\.[0-9A-Za-z_-]{27,45}",
        ".",
    ),
    rule(
        "Discord webhook",
        r"https://(?:\w{1,10}\.)?discord(?:app)?\.com/api/webhooks/\d{17,20}/[0-9A-Za-z_-]{60,80}",
        "/api/webhooks/",
    ),
    # Source: https://core.telegram.org/bots/api#authorizing-your-bot
    rule("Telegram bot token", r"(?<![0-9A-Za-z])\d{8,10}:[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])", ":"),
    # Source: https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys
    rule("SendGrid key", _LEFT + r"SG\.[0-9A-Za-z_-]{16,64}\.[0-9A-Za-z_-]{16,64}", "SG."),
    # Source: https://www.twilio.com/docs/glossary/what-is-a-sid
    rule("Twilio SID", _LEFT_OF_LETTERS + r"(?:AC|SK)[0-9a-f]{32}" + _RIGHT, "AC", "SK"),
    # Source: https://documentation.mailgun.com/docs/mailgun/api-reference/mg-auth
    rule("Mailgun key", _LEFT + r"key-[0-9a-f]{32}" + _RIGHT, "key-"),
    # Source: https://mailchimp.com/developer/marketing/guides/quick-start/
    rule("Mailchimp key", _LEFT_OF_LETTERS + r"[0-9a-f]{32}-us\d{1,2}" + _RIGHT, "-us"),
    # Source: https://developers.brevo.com/docs/getting-started
    rule("Brevo key", _LEFT + r"xkeysib-[0-9a-f]{64}-[0-9A-Za-z]{16}", "xkeysib-"),
    # Source: https://resend.com/docs/api-reference/introduction
    rule("Resend key", _LEFT + r"re_[0-9A-Za-z]{8}_[0-9A-Za-z]{24}" + _RIGHT, "re_"),
    # Source: https://docs.stripe.com/keys and https://docs.stripe.com/webhooks (signing secrets)
    rule("Stripe key", _LEFT_OF_LETTERS + r"[rs]k_(?:live|test)_[0-9A-Za-z]{10,250}", "k_live_", "k_test_"),
    _prefixed("Stripe webhook secret", "whsec_", of="0-9A-Za-z+/=", least=24, most=100),
    # Source: https://developer.squareup.com/docs/build-basics/access-tokens
    _prefixed("Square token", "sq0atp-", "sq0csp-", "EAAAE", "EAAAl", least=22, most=80),
    # Source: https://shopify.dev/changelog/length-of-the-shopify-access-token-is-increasing
    rule("Shopify token", _LEFT_OF_LETTERS + r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}", "shp"),
    # Source: https://razorpay.com/docs/api/authentication/
    _prefixed("Razorpay key", "rzp_live_", "rzp_test_", of=_WORD, least=14, most=14),
    # Source: https://docs.easypost.com/docs/authentication
    _prefixed("EasyPost key", "EZAK", "EZTK", of=_WORD, least=54, most=54),
    # Source: https://docs.goshippo.com/docs/guides_general/authentication/
    _prefixed("Shippo token", "shippo_live_", "shippo_test_", of="0-9a-f", least=40, most=40),
)

VENDOR_RULES: tuple[Rule, ...] = (
    *_CLOUDS,
    *_DEVELOPMENT,
    *_OBSERVABILITY,
    *_MODELS,
    *_MESSAGES_AND_MONEY,
)
