"""``airflow approvals``: the commands, as Airflow's provider CLI. Each imports its work when called."""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
)

_ROOM = "airflow_approvals.cli"

ARG_REQUEST = Arg(("request_id",), help="Id of the request")
ARG_STATE = Arg(("--state",), help="Only requests in this state", default=None)
ARG_LIMIT = Arg(("--limit",), help="At most so many, newest first", type=int, default=50)
ARG_POLICY = Arg(("path",), help="Policy file; [approvals] policy_file by default", nargs="?", default=None)
ARG_KEY_FILE = Arg(("path",), help="Where to write the new private key; must not exist")
ARG_SOURCE = Arg(("source",), help="A file, a glob or a folder")
ARG_TARGET = Arg(("target",), help="Where the masked copy goes; must not exist")
ARG_PROFILE = Arg(("--profile",), help="Masking profile, by name or file", default="llm-training")
ARG_JSON = Arg(("--json",), help="Print the evidence as JSON", action="store_true")


def _command(name: str, help_text: str, target: str, *args: Arg) -> ActionCommand:
    return ActionCommand(name=name, help=help_text, func=lazy_load_command(f"{_ROOM}.{target}"), args=args)


def get_cli_commands() -> list[CLICommand]:
    """Return the commands (provider info key ``cli``)."""
    policy = GroupCommand(
        name="policy",
        help="Check and activate the policy file",
        subcommands=(
            _command("lint", "Check a policy file", "policy.lint", ARG_POLICY),
            _command("activate", "Put a policy file in force", "policy.activate", ARG_POLICY),
        ),
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
    commands = (
        _command("list", "List requests", "requests.list_requests", ARG_STATE, ARG_LIMIT, ARG_OUTPUT),
        _command("show", "Show one request", "requests.show", ARG_REQUEST),
        policy,
        ledger,
        keys,
        _command("dispatcher", "Run the dispatcher in a process of its own", "requests.dispatcher"),
        _command("mask", "Write a masked copy", "data.mask", ARG_SOURCE, ARG_TARGET, ARG_PROFILE),
        _command("classify", "Scan data and say how sensitive it is", "data.classify", ARG_SOURCE, ARG_JSON),
    )
    return [
        GroupCommand(name="approvals", help="Masking, approvals and the audit ledger", subcommands=commands)
    ]
