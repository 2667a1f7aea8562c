"""A cache whose entries are refreshed before they expire, over Redis or memory."""
