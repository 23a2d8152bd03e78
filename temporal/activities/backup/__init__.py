"""Backups on hosts: made, restored, proved, maintained, looked at."""
