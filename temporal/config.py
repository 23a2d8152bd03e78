"""Settings, from the environment.

Three layers, later ones win: the defaults, a profile of the `temporal` command's TOML file (read by
the SDK's `temporalio.envconfig`, so that what works with that command works here), and environment
variables. Each value remembers which of these set it: `temporal-ops config` prints that, and error
messages name it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from temporal.places import default_state_dir
from temporal.shared.errors import ConfigError

if TYPE_CHECKING:
    from temporalio.envconfig import ClientConfigProfile

PREFIX = "TEMPORAL_"
QUEUE_PREFIX = "TEMPORAL_TASK_QUEUE_"
DEFAULT_ADDRESS = "localhost:7233"
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?")


FOUND, OWN = "embedded server of", "embedded server, for this command, of"
"""Kinds of origin of an embedded server's address: another command's, and the command's own."""


@dataclass(frozen=True)
class Origin:
    """Where a value came from: the kind of source, and its name there."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


DEFAULT = Origin("default")


class Settings(BaseSettings):
    """Everything that can be set, with its default. Read with :func:`load`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    address: str = Field(DEFAULT_ADDRESS, description="Temporal server, host:port")
    namespace: str = Field("default", description="Temporal namespace")
    task_queue: str = Field("test-task-queue", description="queue of everything without its own")
    task_queues: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict, description="domain -> queue, from TEMPORAL_TASK_QUEUE_<DOMAIN>"
    )
    profile: str | None = Field(None, description="profile of the TOML file")
    config_file: Path | None = Field(None, description="TOML file of the `temporal` command")
    modules: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="further packages with WORKFLOWS and ACTIVITIES, comma separated"
    )
    state_dir: Path = Field(
        default_factory=lambda: Path(default_state_dir()),
        description="embedded server, logs, records",
    )
    store: str | None = Field(
        None,
        description="folder or s3://bucket/prefix for big values; default: in the state folder, "
        "if embedded",
    )
    drain_timeout: float = Field(
        300.0,
        ge=0,
        allow_inf_nan=False,
        description="most seconds a stopping worker waits for its activities",
    )
    activity_slots: int = Field(
        100, ge=1, le=10_000, description="activities at once in one worker; also its threads"
    )
    heartbeat_every: float = Field(
        5.0, gt=0, le=60, description="seconds between two heartbeats that reach the server"
    )
    health_address: str = Field(
        "127.0.0.1:0", description="/livez, /readyz, /metrics of a worker; port 0: any free one"
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_format: str = Field("auto", description="json, text, or auto: text on a terminal")
    deployment: str | None = Field(
        None, description="worker deployment name: routes runs to the code that began them"
    )
    build_id: str | None = Field(None, description="version of the code; default: its hash")
    started_by: str | None = Field(None, description="who starts runs; default: user@host")
    warm: bool = Field(True, description="`up` keeps a process that answers commands at once")

    _origins: dict[str, Origin] = PrivateAttr(default_factory=dict)
    _profile: Any = PrivateAttr(default=None)

    @field_validator("modules", mode="before")
    @classmethod
    def _split_modules(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_level(cls, value: object) -> object:
        level = str(value).upper()
        if level not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return level

    @field_validator("log_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if value not in {"auto", "json", "text"}:
            raise ValueError("must be auto, json or text")
        return value

    @field_validator("store")
    @classmethod
    def _folder_or_bucket(cls, value: str | None) -> str | None:
        kind, found, _ = (value or "").partition("://")
        if found and not _BUCKET.fullmatch(value or ""):
            wanted = "s3://bucket/prefix" if kind == "s3" else "a folder, or s3://bucket/prefix"
            raise ValueError(f"must be {wanted}")
        return value

    @field_validator("address", "health_address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        odd = not host or any(sign.isspace() or sign == "/" for sign in host)
        if odd or not port.isdecimal() or int(port) > 65535:
            raise ValueError("must be host:port, as in localhost:7233")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # load() hands over the whole environment as values, each with its origin.
        return (init_settings,)

    def origin(self, name: str) -> Origin:
        """Where the value of setting `name` came from."""
        return self._origins.get(name, DEFAULT)

    def at(self, address: str, origin: Origin) -> Settings:
        """These settings with another server address, and where that came from."""
        moved = self.model_copy(update={"address": address})
        moved._origins = {**self._origins, "address": origin}
        return moved

    def lively(self) -> Settings:
        """These settings for a server of our own, where a heartbeat costs nothing: progress is
        seen at once, unless somebody said otherwise."""
        if "heartbeat_every" in self._origins:
            return self
        return self.model_copy(update={"heartbeat_every": 0.25})

    @property
    def client_profile(self) -> ClientConfigProfile:
        """Address, namespace, API key, TLS and headers as the SDK's envconfig understands them."""
        profile: ClientConfigProfile = self._profile
        return profile

    @property
    def api_key(self) -> SecretStr | None:
        """The API key, hidden in every print."""
        key = self.client_profile.api_key
        return SecretStr(key) if key else None

    @property
    def address_configured(self) -> bool:
        """False when nobody said where the server is: then an embedded one may be started."""
        return self.origin("address") != DEFAULT

    @property
    def embedded(self) -> bool:
        """Whether the server is the embedded one of this project's state folder."""
        return self.origin("address").kind in (FOUND, OWN)

    def queue_for(self, domain: str | None) -> str:
        """The task queue of `domain`; None is what belongs to no domain."""
        return self.task_queues.get(domain, self.task_queue) if domain else self.task_queue


def load(env: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read all settings.

    Args:
        env: the environment; default `os.environ`.
        overrides: values given by the caller (a command's options); they win over everything.

    Raises:
        ConfigError: a value is wrong, or the TOML file cannot be read; names the variable or file.
    """
    env = dict(os.environ if env is None else env)
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        if name != "task_queues" and env.get(variable):
            values[name] = env[variable]
            origins[name] = Origin("environment", variable)
    queues = {
        key.removeprefix(QUEUE_PREFIX).lower(): value
        for key, value in env.items()
        if key.startswith(QUEUE_PREFIX) and value
    }
    if queues:
        values["task_queues"] = queues
        names = ", ".join(QUEUE_PREFIX + domain.upper() for domain in sorted(queues))
        origins["task_queues"] = Origin("environment", names)

    profile = _load_profile(env, values, origins)
    for name in ("address", "namespace"):
        found = getattr(profile, name)
        if found and name not in values:
            values[name] = found
    for name, value in overrides.items():
        if value is not None:
            values[name] = value
            origins[name] = Origin("argument", name)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise ConfigError(_explain(error, origins)) from None
    settings._origins.update(origins)
    settings._profile = profile
    return settings


def _load_profile(
    env: dict[str, str], values: dict[str, Any], origins: dict[str, Origin]
) -> ClientConfigProfile:
    """The SDK's view of the connection; notes in `origins` what the file or environment set."""
    from temporalio.envconfig import ClientConfigProfile

    wanted, file = values.get("profile"), values.get("config_file")
    where = str(file) if file else "the default TOML file"
    if file and not Path(file).is_file():
        raise ConfigError(
            f"TEMPORAL_CONFIG_FILE names {file}, which is not a file. "
            "Correct the variable, or unset it to use the default place."
        )
    try:
        stored = ClientConfigProfile.load(
            profile=wanted,
            config_source=Path(file) if file else None,
            disable_env=True,
        )
        full = ClientConfigProfile.load(
            profile=wanted, config_source=Path(file) if file else None, override_env_vars=env
        )
    except Exception as error:
        raise ConfigError(f"cannot read the connection settings from {where}: {error}") from error
    in_file = Origin(f"profile {wanted or 'default'} of", where)
    for name in ("address", "namespace", "api_key", "tls", "grpc_meta"):
        if name not in origins and getattr(full, name):
            variables = sorted(
                key for key in env if key.startswith(f"{PREFIX}{name.upper()}") and env[key]
            )
            from_env = bool(variables) and getattr(full, name) != getattr(stored, name)
            origins[name] = Origin("environment", ", ".join(variables)) if from_env else in_file
    return full


def _explain(error: ValidationError, origins: Mapping[str, Origin]) -> str:
    lines = []
    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else "settings"
        origin = origins.get(name, DEFAULT)
        message = item["msg"].removeprefix("Value error, ")
        in_env = origin.kind == "environment"
        label, source = (origin.name, origin.kind) if in_env else (name, str(origin))
        lines.append(f"{label} = {item['input']!r} ({source}): {message}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Shown:
    """One line of `temporal-ops config`."""

    name: str
    value: str
    origin: str
    description: str


def describe(settings: Settings) -> list[Shown]:
    """Every setting with its value and origin; secrets show only that they are set."""
    rows = []
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, dict):
            text = ", ".join(f"{k}={v}" for k, v in sorted(value.items())) or "-"
        elif isinstance(value, tuple):
            text = ", ".join(value) or "-"
        else:
            text = "-" if value is None else str(value)
        rows.append(Shown(name, text, str(settings.origin(name)), field.description or ""))
    profile = settings.client_profile
    tls = profile.tls
    hidden = [
        ("api_key", "set (hidden)" if profile.api_key else "-", "API key, as for Temporal Cloud"),
        ("tls", _describe_tls(tls, bool(profile.api_key)), "TLS to the server"),
        ("grpc_meta", ", ".join(sorted(profile.grpc_meta)) or "-", "headers sent (names only)"),
    ]
    return rows + [
        Shown(name, value, str(settings.origin(name)), text) for name, value, text in hidden
    ]


def _describe_tls(tls: Any, has_api_key: bool) -> str:
    if tls is None:
        return "on (with an API key)" if has_api_key else "off"
    if tls.disabled:
        return "off"
    parts = [f"server name {tls.server_name}"] if tls.server_name else []
    if tls.server_root_ca_cert:
        parts.append("own CA")
    if tls.client_cert:
        parts.append("client certificate")
    return "on" + (f" ({', '.join(parts)})" if parts else "")
