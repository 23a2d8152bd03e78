"""Durable infrastructure operations as Python workflows on Temporal."""

__version__ = "0.1.0"
