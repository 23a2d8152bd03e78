"""The one place that connects to Temporal, and what can be asked of it there.

settings = config.load()
ops = await client.connect(settings)
run = await ops.start("ProvisionServer", {"server": ...})
print(await run.result())
"""

from __future__ import annotations

import asyncio
import getpass
import inspect
import re
import socket
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client, WorkflowHandle
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from temporal import config, registry
from temporal.config import Settings
from temporal.payloads import explain_validation
from temporal.plugin import OpsPlugin
from temporal.registry import Registry
from temporal.shared.errors import ConnectError, SpecError
from temporal.store import open_store

STARTED_BY = SearchAttributeKey.for_keyword("OpsStartedBy")
DOMAIN = SearchAttributeKey.for_keyword("OpsDomain")
SEARCH_ATTRIBUTES = {STARTED_BY.name: "Keyword", DOMAIN.name: "Keyword"}
"""What runs are found by, with Temporal's types; the embedded server registers them at its start."""

CONNECT_TIMEOUT = timedelta(seconds=10)


@dataclass(frozen=True)
class Ops:
    """A connection to Temporal, with the settings and the registry that it was made with."""

    settings: Settings
    registry: Registry
    client: Client
    searchable: bool
    """Whether the namespace has our search attributes; without them who started a run stands in
    its memo alone."""

    def workflow_id(self, name: str) -> str:
        """A fresh workflow id, readable: the workflow's name and eight characters."""
        return f"{name}-{uuid.uuid4().hex[:8]}"

    async def start(
        self,
        name: str,
        *args: Any,
        id: str | None = None,
        summary: str | None = None,
    ) -> WorkflowHandle[Any, Any]:
        """Start workflow `name`. The queue comes from the registry.

        Args:
            name: a registered workflow.
            args: its input, as the type it declares or as plain data that fits.
            id: workflow id; default: a fresh one. With an id that runs already, nothing is started
                and the run in progress is returned: never two of one.
            summary: one line for the web UI and `runs list`.

        Raises:
            UnknownName: no such workflow; offers the near names.
            SpecError: the input does not fit.
            ConnectError: the server refused or did not answer.
        """
        entry = self.registry.workflow(name)
        values = check_input(entry, list(args))
        who = started_by(self.settings)
        attributes = [SearchAttributePair(STARTED_BY, who)]
        if entry.domain:
            attributes.append(SearchAttributePair(DOMAIN, entry.domain))
        workflow_id = id or self.workflow_id(name)
        try:
            return await self.client.start_workflow(
                name,
                args=values,
                id=workflow_id,
                task_queue=entry.queue,
                result_type=entry.ret_type,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                memo={"started_by": who},
                search_attributes=TypedSearchAttributes(attributes) if self.searchable else None,
                static_summary=summary or entry.summary or None,
            )
        except RPCError as error:
            raise explain_rpc(error, self.settings) from error

    async def run(self, name: str, *args: Any, id: str | None = None) -> Any:
        """Start workflow `name` and wait for its result. Raises WorkflowFailureError as well."""
        handle = await self.start(name, *args, id=id)
        return await handle.result()


def started_by(settings: Settings) -> str:
    """Who this is: the setting, else user@host."""
    if settings.started_by:
        return settings.started_by
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def check_input(entry: registry.Entry, values: list[Any]) -> list[Any]:
    """The arguments of `entry` as the types it declares; fills nothing in.

    Raises:
        SpecError: a value does not fit, or there are too many or too few.
    """
    types = entry.arg_types
    if types is None:
        return values
    run = getattr(entry.target, "run", None) if entry.kind == "workflow" else entry.target
    required = len(types)
    if run is not None:
        named = [p for p in inspect.signature(run).parameters.values() if p.name != "self"]
        required = sum(1 for p in named if p.default is p.empty)
    if not required <= len(values) <= len(types):
        wanted = ", ".join(getattr(t, "__name__", str(t)) for t in types) or "nothing"
        raise SpecError(
            f"{entry.kind} {entry.name} takes {wanted}; {len(values)} value(s) were given"
        )
    checked = []
    for kind, value in zip(types, values, strict=False):
        try:
            checked.append(TypeAdapter(kind).validate_python(value))
        except ValidationError as error:
            raise SpecError(
                f"the input of {entry.kind} {entry.name} {explain_validation(error)}"
            ) from None
    return checked


async def connect(
    settings: Settings | None = None,
    *,
    catalogue: Registry | None = None,
    runtime: Runtime | None = None,
    identity: str | None = None,
) -> Ops:
    """Connect to the server that `settings` name.

    Raises:
        ConnectError: nothing answers there, TLS or the key is wrong, or the namespace is missing;
            says which setting named it.
        RegistryError: what is registered does not hold together.
    """
    settings = settings or config.load()
    catalogue = catalogue or registry.load(settings)
    options: dict[str, Any] = dict(settings.client_profile.to_client_connect_config())
    options.update(target_host=settings.address, namespace=settings.namespace)
    try:
        # The SDK's own timeout ends with the TCP connection; one that then says nothing takes 30 s.
        async with asyncio.timeout(CONNECT_TIMEOUT.total_seconds() + 0.5):
            client = await Client.connect(
                **options,
                plugins=[OpsPlugin(catalogue, open_store(settings))],
                runtime=runtime,
                connect_timeout=CONNECT_TIMEOUT,
                identity=identity,
            )
    except (RuntimeError, OSError, ValueError) as error:
        raise explain_connect(error, settings) from error
    try:
        searchable = await _ensure_search_attributes(client)
    except RPCError as error:
        raise explain_rpc(error, settings) from error
    return Ops(settings, catalogue, client, searchable)


async def _ensure_search_attributes(client: Client) -> bool:
    """Registers our search attributes where the namespace lacks them and we may.

    Temporal Cloud and locked-down clusters refuse; then runs go without them.
    """
    operator = client.operator_service
    try:
        known = await operator.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        missing = set(SEARCH_ATTRIBUTES) - set(known.custom_attributes)
        if not missing:
            return True
        await operator.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=client.namespace,
                search_attributes=dict.fromkeys(
                    missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
                ),
            )
        )
        return True
    except RPCError as error:
        refusals = (
            RPCStatusCode.PERMISSION_DENIED,
            RPCStatusCode.UNIMPLEMENTED,
            RPCStatusCode.INVALID_ARGUMENT,
            RPCStatusCode.ALREADY_EXISTS,
        )
        if error.status in refusals:
            return False
        raise


def _named_by(settings: Settings, name: str) -> str:
    origin = settings.origin(name)
    if origin == config.DEFAULT:
        return f"nothing set TEMPORAL_{name.upper()}, so the default was taken"
    return f"set by {origin}"


def explain_connect(error: BaseException, settings: Settings) -> ConnectError:
    """What a failed connection means, and which setting to look at."""
    if isinstance(error, TimeoutError):
        text = f"silence for {CONNECT_TIMEOUT.total_seconds():.0f} s after the connection was made"
    else:
        text = _inner_message(str(error))
    where = f"{settings.address} ({_named_by(settings, 'address')})"
    low = text.lower()
    if any(word in low for word in ("certificate", "tls", "handshake", "invalidcontenttype")):
        by_key = settings.api_key and settings.client_profile.tls is None
        why = "TEMPORAL_API_KEY turned TLS on, TEMPORAL_TLS=false turns it off. " if by_key else ""
        return ConnectError(
            f"TLS with the Temporal server at {where} failed: {text}. {why}"
            "Check TEMPORAL_TLS, TEMPORAL_TLS_SERVER_CA_CERT_PATH, TEMPORAL_TLS_CLIENT_CERT_PATH, "
            "TEMPORAL_TLS_CLIENT_KEY_PATH and TEMPORAL_TLS_SERVER_NAME."
        )
    if "unauthenticated" in low or "unauthorized" in low or "permission" in low:
        return ConnectError(
            f"the Temporal server at {where} refused the credentials: {text}. "
            "Check TEMPORAL_API_KEY and the namespace."
        )
    # What a server that expects TLS does to plain text: it hangs up.
    hint = "If it expects TLS, set TEMPORAL_TLS=true. " if "transport error" in low else ""
    return ConnectError(
        f"no Temporal server answers at {where}: {text}. {hint}"
        "Correct it, start that server, or run `temporal-ops up` for an embedded one."
    )


def _inner_message(text: str) -> str:
    """The sentence inside the Rust error that the SDK hands on, if it has one."""
    found = re.findall(r'message: "([^"]+)"', text) or re.findall(r'Custom\(.*?"([^"]+)"', text)
    return found[-1] if found else text


def explain_rpc(error: RPCError, settings: Settings) -> Exception:
    """What a refused call means, and which setting to look at."""
    where = f"{settings.address} ({_named_by(settings, 'address')})"
    if error.status == RPCStatusCode.NOT_FOUND and "amespace" in error.message:
        return ConnectError(
            f"the Temporal server at {where} has no namespace {settings.namespace!r} "
            f"({_named_by(settings, 'namespace')}). Correct it, or create the namespace with "
            f"`temporal operator namespace create --namespace {settings.namespace}`."
        )
    if error.status in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
        return ConnectError(f"the Temporal server at {where} stopped answering: {error.message}")
    if error.status in (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED):
        return ConnectError(
            f"the Temporal server at {where} refused: {error.message}. Check TEMPORAL_API_KEY."
        )
    return ConnectError(f"the Temporal server at {where} refused: {error.message}")
