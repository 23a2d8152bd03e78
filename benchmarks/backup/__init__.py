"""Backups through Temporal against restic alone."""
