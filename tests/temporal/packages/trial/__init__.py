"""Workflows and activities that misbehave on request, as a package of somebody else's."""
