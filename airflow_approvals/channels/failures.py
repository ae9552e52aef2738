"""How a delivery can fail, as far as the sender has to tell the cases apart."""

from __future__ import annotations

from airflow_approvals.errors import ChannelError


class RetryLaterError(ChannelError):
    """The vendor asks to wait. Nothing was sent.

    :param seconds: how long to wait, at least.
    """

    code = "channel_busy"

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class DeliveryRefusedError(ChannelError):
    """The vendor refused this very message for good; sending it again changes nothing."""

    code = "delivery_refused"
