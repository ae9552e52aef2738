"""The custodian: a process of its own that reads, verifies and releases data, with its own credentials."""
