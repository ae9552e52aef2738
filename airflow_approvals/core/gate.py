"""How a gate is recognised, and what passes between it and the server."""

from __future__ import annotations

#: A gate carries this name among its ``template_fields``: Airflow's serialization keeps them
#: for subclasses and for mapped operators, which class names and other fields do not survive.
GATE_MARKER = "approvals_gate"

#: What the inbox offers; the server maps the words to verdicts.
APPROVE_OPTION = "Approve"
REJECT_OPTION = "Reject"

#: Key of the resume event under which the server states the outcome. An event without it was
#: not written by the control plane and never passes a gate.
OUTCOME_KEY = "approvals"
