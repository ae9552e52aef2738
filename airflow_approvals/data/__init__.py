"""Formats and places: reading, masking, classifying and copying files."""
