"""The one exception tree, every class with a stable code.

::

    ApprovalsError
    ├── ConfigurationError    an option, key file or secret file is missing or malformed
    ├── PolicyError           the policy file cannot be loaded or activated
    ├── DataError             a source, target or sink cannot be read or written
    │   ├── IntegrityError    bytes differ from the digest that was approved
    │   └── FormatError       content is not what its format says; carries a reason of a closed set
    ├── ForbiddenSourceError  staged data lies, or leads, where its reader may not read
    ├── DetectionError        a scan cannot be carried out (model missing, recognizer failed)
    ├── ContractError         a document (manifest, evidence, ask, grant) breaks its schema
    ├── UnavailableError      something that has to be asked cannot be reached now; nothing is decided
    ├── LedgerError           the ledger cannot be appended to or does not verify
    └── ChannelError          a channel refused or could not deliver
        └── SignatureError an inbound callback is not proven to come from its vendor

A refusal that a caller expects (a vote by the wrong person, say) is a value, see
:class:`airflow_approvals.core.models.Refusal`; exceptions are faults.
"""

from __future__ import annotations


class ApprovalsError(Exception):
    """Root of every error this package raises on purpose.

    :param message: one sentence that names the thing; never holds a raw data value.
    :param hint: the way out, one sentence.
    """

    code = "approvals_error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class ConfigurationError(ApprovalsError):
    """An ``[approvals]`` option, key file or secret file is missing or malformed."""

    code = "configuration_error"


class PolicyError(ApprovalsError):
    """The policy file cannot be loaded, checked or activated."""

    code = "policy_error"


class DataError(ApprovalsError):
    """A source, target or sink cannot be read or written as asked."""

    code = "data_error"


class IntegrityError(DataError):
    """Bytes differ from the digest they were approved under."""

    code = "integrity_error"


class FormatError(DataError):
    """Content is not what its format says, or has a form that cannot be scanned.

    :param reason: one of the closed set in :mod:`airflow_approvals.data.reasons`.
    """

    code = "format_error"

    def __init__(self, message: str, hint: str = "", *, reason: str) -> None:
        super().__init__(message, hint)
        self.reason = reason


class ForbiddenSourceError(ApprovalsError):
    """Staged data lies, or leads, where its reader was not allowed to read."""

    code = "forbidden_source"


class DetectionError(ApprovalsError):
    """A scan cannot be carried out; nothing may be taken for masked."""

    code = "detection_error"


class ContractError(ApprovalsError):
    """A manifest, evidence, ask or grant breaks its schema."""

    code = "contract_error"


class UnavailableError(ApprovalsError):
    """Something that has to be asked first cannot be reached now; nothing is decided."""

    code = "unavailable"


class LedgerError(ApprovalsError):
    """The ledger cannot be appended to, or does not verify."""

    code = "ledger_error"


class ChannelError(ApprovalsError):
    """A channel refused a message or could not deliver it."""

    code = "channel_error"


class SignatureError(ChannelError):
    """An inbound callback is not proven to come from its vendor."""

    code = "signature_rejected"
