"""The only room that imports Presidio and spaCy: recognizers, engine, masking."""
