"""What may be shown: secrets are recognised in objects and in text, and taken out before anything is printed."""
