"""Identity: people and groups, as they are known at this moment, wherever they are kept."""
