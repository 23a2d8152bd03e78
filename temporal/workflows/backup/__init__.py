"""Backups: made, restored, proved, maintained, looked at."""
