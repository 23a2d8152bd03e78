"""Logging: text on a terminal, one JSON object a line everywhere else; always redacted.

Records written with `workflow.logger` and `activity.logger` carry the ids of the run they belong to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.exceptions import FailureError

from temporal.config import Settings
from temporal.shared.secrets import RedactingFilter, redactor

# Key in our JSON -> key in what the SDK attaches to a record.
_IDS = {
    "workflow_id": "workflow_id",
    "run_id": "run_id",
    "workflow": "workflow_type",
    "activity": "activity_type",
    "activity_id": "activity_id",
    "attempt": "attempt",
    "queue": "task_queue",
}


def set_up(settings: Settings, file: Path | None = None) -> None:
    """Send this process's logs to standard error, in the form that `settings` ask for.

    Args:
        file: write them there instead, as JSON; at most 2 MB are kept.
    """
    to_person = file is None and sys.stderr.isatty()
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not to_person)
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file is not None:
        handler = logging.handlers.RotatingFileHandler(file, maxBytes=10**6, backupCount=1)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    handler.addFilter(RedactingFilter())
    if settings.log_level != "DEBUG":
        handler.addFilter(_of_note)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for noisy in ("asyncio", "asyncssh"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # What a stopping worker does is told by the command.
    logging.getLogger("temporalio.worker").setLevel(
        logging.WARNING if to_person else logging.NOTSET
    )
    for adapter in (activity.logger, workflow.logger):
        # The formatter shows the ids; the SDK would repeat all of them inside each message.
        for name in ("activity_info_on_message", "workflow_info_on_message"):
            if hasattr(adapter, name):
                setattr(adapter, name, False)


def _of_note(record: logging.LogRecord) -> bool:
    """Not: the SDK's core had an answer for a client that does not wait for it any more, as one whose
    terminal was left. Nothing is wrong then, and nobody can do anything."""
    return not (
        record.name.startswith("temporal.core") and "Query not found when" in record.getMessage()
    )


def ids(record: logging.LogRecord) -> dict[str, Any]:
    """The workflow, run and activity that `record` belongs to; empty if to none."""
    attached: dict[str, Any] = {}
    for key in ("temporal_workflow", "temporal_activity"):
        attached.update(getattr(record, key, None) or {})
    if "workflow_run_id" in attached:  # what the SDK calls it in an activity
        attached["run_id"] = attached["workflow_run_id"]
    return {ours: attached[theirs] for ours, theirs in _IDS.items() if theirs in attached}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time (UTC), level, logger, message, ids, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """See base class."""
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **ids(record),
        }
        text = record.exc_text or (
            self.formatException(record.exc_info) if record.exc_info else None
        )
        if text:
            row["exception"] = text
        return json.dumps(row, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """Time, level, message; then the run it belongs to; then the stack trace, if the error is a
    surprise. What an activity says with a failure of Temporal's kind is meant for people: its first
    line is enough here, and `runs show` has the rest."""

    def format(self, record: logging.LogRecord) -> str:
        """See base class."""
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        line = f"{clock} {record.levelname:<7} {record.getMessage()}"
        error = record.exc_info[1] if record.exc_info else None
        expected = isinstance(error, FailureError | asyncio.CancelledError)
        if expected and str(error):
            line += f": {redactor.redact(str(error)).splitlines()[0]}"
        found = ids(record)
        shown = [found[key] for key in ("workflow_id", "activity") if key in found]
        if shown:
            line += "  [" + " ".join(str(part) for part in shown) + "]"
        if expected:
            return line
        text = record.exc_text or (
            self.formatException(record.exc_info) if record.exc_info else None
        )
        return f"{line}\n{text}" if text else line
