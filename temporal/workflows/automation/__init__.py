"""Automation: server provisioning, and what follows from it."""
