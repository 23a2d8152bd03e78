"""How values become payloads: pydantic JSON, with the gate that everything said outwards passes.

The gate refuses what is over Temporal's payload limit or cannot be turned into JSON, at once and for
good, where the SDK alone would try for ever (sdk-python#235), and replaces secrets that slipped in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import temporalio.api.common.v1
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverter,
    ExternalStorage,
    PayloadConverter,
)

from temporal import store
from temporal.shared.errors import NotSerialisable, PayloadTooLarge, Permanent
from temporal.shared.replaying import replaying
from temporal.shared.secrets import HIDDEN_INPUT, redactor

PAYLOAD_LIMIT = 2 * 1024 * 1024
"""Bytes of all values of one call or result together, with their metadata; the server's default
`limit.blobSize.error`, which Temporal Cloud does not raise."""

# Around a payload: a tag and a length of at most four bytes.
_FRAME = 6
# Characters of an error's message or stack trace; over gRPC's 4 MiB a failure would never arrive.
_MESSAGE_LIMIT = 8 * 1024


class BadPayload(Permanent):
    """A payload does not fit the type that the workflow or activity declares for it."""


class OpsPayloadConverter(PydanticPayloadConverter):
    """Pydantic JSON; refuses what cannot travel, redacts what must not."""

    limit = PAYLOAD_LIMIT
    advice = (
        "Keep big data in a file and pass a reference to it, or set TEMPORAL_STORE to a folder that "
        "commands and workers share: big values are kept there."
    )

    def to_payloads(self, values: Sequence[Any]) -> list[temporalio.api.common.v1.Payload]:
        """See base class.

        Raises:
            NotSerialisable: a value cannot be turned into JSON.
            PayloadTooLarge: the values are over :attr:`limit` bytes.
        """
        try:
            payloads: list[temporalio.api.common.v1.Payload] = super().to_payloads(values)
        except (PydanticSerializationError, RuntimeError, TypeError, ValueError) as error:
            kinds = ", ".join(type(value).__qualname__ for value in values)
            raise NotSerialisable(
                f"a value of type {kinds} cannot be turned into JSON: {error}. "
                "Pass pydantic models, dataclasses or plain JSON values."
            ) from None
        for payload in payloads:
            encoding = payload.metadata.get("encoding", b"")
            redact = redactor.redact_json if encoding[:5] == b"json/" else redactor.redact_bytes
            clean = redact(payload.data)
            if clean is not payload.data:
                payload.data = clean
        self._refuse_too_large(values, payloads)
        return payloads

    def _refuse_too_large(
        self, values: Sequence[Any], payloads: Sequence[temporalio.api.common.v1.Payload]
    ) -> None:
        sizes = [payload.ByteSize() + _FRAME for payload in payloads]
        if sum(sizes) <= self.limit:
            return
        each = ", ".join(
            f"{type(value).__qualname__} {_size(size)}"
            for value, size in zip(values, sizes, strict=False)
        )
        several = f"values of {_size(sum(sizes))} ({each})"
        what = f"a value of type {each}" if len(sizes) == 1 else several
        raise PayloadTooLarge(
            f"{what}; the limit is {_size(self.limit)} for all values of a call or result. "
            f"{self.advice}"
        )

    def from_payloads(
        self,
        payloads: Sequence[temporalio.api.common.v1.Payload],
        type_hints: list[type] | None = None,
    ) -> list[Any]:
        """See base class.

        Raises:
            BadPayload: a payload does not fit its type. In the replay of a run the plain
                ValidationError goes on instead: it was the code that changed, so the run waits for
                code that fits, and is not lost.
        """
        try:
            return super().from_payloads(payloads, type_hints)
        except ValidationError as error:
            if replaying():
                raise
            raise BadPayload(explain_validation(error)) from None


class StoredPayloadConverter(OpsPayloadConverter):
    """The same where big values are kept in a store: what travels is a reference."""

    limit = store.LIMIT
    advice = "Keep data as big as that in a file or an artifact, and pass its place."


class OpsFailureConverter(DefaultFailureConverter):
    """The SDK's, with secrets replaced in messages and stack traces, and both kept short enough to
    travel, through all causes."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """See base class."""
        try:
            super().to_failure(exception, payload_converter, failure)
        except (NotSerialisable, PayloadTooLarge) as refused:
            failure.Clear()
            said = f"{exception} (the details of this error cannot travel: {refused})"
            super().to_failure(type(refused)(said), payload_converter, failure)
        inner: Failure | None = failure
        while inner is not None:
            inner.message = _clip(redactor.redact(inner.message))
            inner.stack_trace = _clip(redactor.redact(inner.stack_trace))
            inner = inner.cause if inner.HasField("cause") else None


def explain_validation(error: ValidationError) -> str:
    """One line a field: where, what was wrong, and what came."""
    lines = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"]) or "the value"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] in _NOTHING_TO_SHOW:
            lines.append(f"{where}: {message}")
            continue
        shown = redactor.redact(repr(item.get("input")))
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        lines.append(f"{where}: {message}, but it is {shown}")
    return f"does not fit {error.title}: " + "; ".join(lines)


# Of a missing field pydantic shows what is around it: no help, and there may be a secret in it.
_NOTHING_TO_SHOW = (HIDDEN_INPUT, "missing", "missing_argument")


def _clip(text: str) -> str:
    """`text`, of a very long one the beginning and the end."""
    over = len(text) - _MESSAGE_LIMIT
    half = _MESSAGE_LIMIT // 2
    return text if over <= 0 else f"{text[:half]}\n[... {over} characters ...]\n{text[-half:]}"


def _size(count: int) -> str:
    return f"{count / 1024 / 1024:.2f} MiB"


def data_converter(kept: ExternalStorage | None = None) -> DataConverter:
    """How clients and workers turn values into payloads.

    Args:
        kept: where values go that are too big for a history; None: those are refused.
    """
    return dataclasses.replace(
        DataConverter.default,
        payload_converter_class=StoredPayloadConverter if kept else OpsPayloadConverter,
        failure_converter_class=OpsFailureConverter,
        external_storage=kept,
    )
