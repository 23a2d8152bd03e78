"""Specs of backups: what is backed up and where to, how long it is kept, how it is proved."""
