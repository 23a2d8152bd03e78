"""Specs that work as they stand against the lab, and the demo that runs them."""
