"""One file per revision, oldest first. A released file never changes."""
