"""The only room that speaks SQL of our own: tables, ledger, outbox, inbox, migrations."""
