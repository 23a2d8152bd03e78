"""Servers for the lab's own tests."""

from __future__ import annotations

from lab.testing import fresh_lab, lab_machines, machine, make_lab, session_lab

__all__ = ["fresh_lab", "lab_machines", "machine", "make_lab", "session_lab"]
