"""One file per medium: render, send, update, parse. Channels never decide."""
