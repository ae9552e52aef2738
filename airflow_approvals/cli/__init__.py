"""``airflow approvals``: the commands, as Airflow's provider CLI. Each imports its work when called."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
)

_ROOM = "airflow_approvals.cli"
_DATABASE = (
    "The metadata database cannot be used as it is ({}). Check [database] sql_alchemy_conn, and run "
    "`airflow db migrate` with this version of airflow-approvals."
)

ARG_REQUEST = Arg(("request_id",), help="Id of the request")
ARG_STATE = Arg(("--state",), help="Only requests in this state", default=None)
ARG_LIMIT = Arg(("--limit",), help="At most so many, newest first", type=int, default=50)
ARG_POLICY = Arg(("path",), help="Policy file; [approvals] policy_file by default", nargs="?", default=None)
ARG_KEY_FILE = Arg(("path",), help="Where to write the new private key; must not exist")
ARG_SOURCE = Arg(("source",), help="A file, a glob or a folder")
ARG_TIER = Arg(("--tier",), default="faithful", help="faithful, or patterns: without a language model")
ARG_PROCESSES = Arg(("--processes",), type=int, help="How many processes scan, 1 by default")
ARG_KEY = Arg(("--key-conn-id",), help="The Connection that holds the key, for a profile with pseudonyms")
ARG_TARGET = Arg(("target",), help="Where the masked copy goes; must not exist")
ARG_PROFILE = Arg(("--profile",), help="Masking profile, by name or file", default="llm-training")
ARG_POLICY_OPTION = Arg(("--policy",), help="Policy file; [approvals] policy_file by default", default=None)
ARG_DAG = Arg(("--dag",), help="Id of the DAG", default="")
ARG_SINK = Arg(("--sink",), help="Id of the sink", required=True)
ARG_ACTION = Arg(("--action",), help="The action", default="export")
ARG_LABEL = Arg(("--label",), help="public, internal, confidential or restricted", default="restricted")
ARG_JSON_REPORT = Arg(("--json",), help="Print the report as JSON", action="store_true")
ARG_WORKER = Arg(("--worker",), help="Check the environment that tasks run in", action="store_true")
ARG_ONCE = Arg(("--once",), help="Do what is due and end", action="store_true")
ARG_REASON = Arg(("--reason",), help="Why; the rule may ask for a form", default="")
ARG_YES = Arg(("--yes",), help="Do not ask before voting", action="store_true")
ARG_SERVER = Arg(("--server",), help="Airflow's address; [api] base_url by default", default="")
ARG_TOKEN_FILE = Arg(
    ("--token-file",), help="A file with your own access token; else APPROVALS_TOKEN", default=""
)
ARG_USERNAME = Arg(("--username",), help="Sign in with this name; asks for the password", default="")
VOTE_ARGS = (ARG_REQUEST, ARG_REASON, ARG_YES, ARG_SERVER, ARG_TOKEN_FILE, ARG_USERNAME)
ARG_JSON = Arg(("--json",), help="Print the evidence as JSON", action="store_true")
ARG_SOCKET = Arg(("--socket",), help="For Socket Mode: Slack needs no way in", action="store_true")
ARG_URL = Arg(("--url",), help="Where Slack reaches Airflow; [api] base_url by default", default=None)
ARG_EMAIL = Arg(("--email",), help="Also let the app read e-mail addresses", action="store_true")
ARG_JSON_MANIFEST = Arg(("--json",), help="Print JSON in place of YAML", action="store_true")


def _command(name: str, help_text: str, target: str, *args: Arg) -> ActionCommand:
    run = lazy_load_command(f"{_ROOM}.{target}")
    return ActionCommand(name=name, help=help_text, func=_with_one_error(run), args=args)


def _with_one_error(run: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Let a command end in one sentence where it cannot go on; a database's own would repeat values."""

    def command(args: Namespace) -> None:
        from sqlalchemy.exc import DBAPIError

        from airflow_approvals.errors import ApprovalsError

        try:
            run(args)
        except ApprovalsError as error:
            raise SystemExit(f"approvals: {error}") from None
        except DBAPIError as error:
            raise SystemExit(f"approvals: {_DATABASE.format(type(error.orig).__name__)}") from None

    return command


def get_cli_commands() -> list[CLICommand]:
    """Return the commands (provider info key ``cli``)."""
    policy = GroupCommand(
        name="policy",
        help="Check and activate the policy file",
        subcommands=(
            _command("lint", "Check a policy file", "policy.lint", ARG_POLICY),
            _command("activate", "Put a policy file in force", "policy.activate", ARG_POLICY),
            _command(
                "explain",
                "Say what the policy asks for",
                "policy_explain.explain",
                ARG_POLICY_OPTION,
                ARG_DAG,
                ARG_SINK,
                ARG_ACTION,
                ARG_LABEL,
            ),
            _command("test", "Run the tests in a policy file", "policy_explain.run_tests", ARG_POLICY),
            _command("schema", "Print the JSON Schema of a policy file", "policy_explain.schema"),
        ),
    )
    break_glass = GroupCommand(
        name="break-glass",
        help="Gates that were opened in an emergency",
        subcommands=(_command("list", "List them, unreviewed first", "break_glass.list_uses", ARG_OUTPUT),),
    )
    ledger = GroupCommand(
        name="ledger",
        help="The audit ledger",
        subcommands=(_command("verify", "Verify the whole ledger", "ledger.verify"),),
    )
    keys = GroupCommand(
        name="keys",
        help="The key that signs grants",
        subcommands=(_command("generate", "Write a new private key", "keys.generate", ARG_KEY_FILE),),
    )
    slack = GroupCommand(
        name="slack",
        help="Set up Slack",
        subcommands=(
            _command(
                "manifest",
                "Print the manifest of the Slack app",
                "slack.print_manifest",
                ARG_SOCKET,
                ARG_URL,
                ARG_EMAIL,
                ARG_JSON_MANIFEST,
            ),
            _command("check", "Try the set-up; exits 1 when a step fails", "slack.check_setup"),
            _command("socket", "Take clicks by Socket Mode", "slack_socket.socket"),
        ),
    )
    commands = (
        _command("list", "List requests", "requests.list_requests", ARG_STATE, ARG_LIMIT, ARG_OUTPUT),
        _command("show", "Show one request", "requests.show", ARG_REQUEST),
        _command("approve", "Vote to approve, with your own token", "votes.approve", *VOTE_ARGS),
        _command("reject", "Vote to reject, with your own token", "votes.reject", *VOTE_ARGS),
        policy,
        ledger,
        keys,
        break_glass,
        slack,
        _command(
            "doctor",
            "Check this deployment; exits 1 on a critical finding",
            "doctor.doctor",
            ARG_JSON_REPORT,
            ARG_WORKER,
        ),
        _command("custodian", "Run the custodian", "custodian.custodian", ARG_ONCE),
        _command("dispatcher", "Run the dispatcher in a process of its own", "requests.dispatcher"),
        _command(
            "mask", "Write a masked copy", "data.mask", ARG_SOURCE, ARG_TARGET, ARG_PROFILE, ARG_TIER, ARG_KEY
        ),
        _command("classify", "Scan data and say how sensitive it is", "data.classify", ARG_SOURCE, ARG_JSON),
    )
    return [
        GroupCommand(name="approvals", help="Masking, approvals and the audit ledger", subcommands=commands)
    ]
