"""A domain of its own."""
