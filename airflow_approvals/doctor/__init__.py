"""The doctor: whether the claim of the package holds on this very deployment."""
