"""Where backups are kept: a restic repository, as restic names it, and the secrets that open it.

repository:
  url: s3:https://s3.example.org/backups/{host}
  password: env://BACKUP_PASSWORD
  credentials: {AWS_ACCESS_KEY_ID: env://BACKUP_KEY, AWS_SECRET_ACCESS_KEY: env://BACKUP_SECRET}
  create: true
"""

from __future__ import annotations

import re
from typing import Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from temporal.shared.secrets import HIDDEN_INPUT, SecretRef
from temporal.shared.specs.automation.hosts import Spec

Kind = Literal["local", "sftp", "s3", "rest"]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SET_BY_US = ("RESTIC_", "PATH", "HOME", "LC_", "LD_")
PLACEHOLDER = "{host}"


class Repository(Spec):
    """A restic repository, as the hosts reach it.

    Attributes:
        url: a folder on the host (`/srv/backup`), `sftp:user@host:/path` or `sftp://user@host:port//path`,
            `s3:https://server/bucket/path`, `rest:https://server/path/`. `{host}` stands for the host's
            name: a repository for each. Without it hosts share one, and what they have in common.
        password: what the repository is encrypted with. Lost, all of it is lost.
        credentials: further variables by secret reference, such as AWS_ACCESS_KEY_ID.
        environment: further variables as they are, such as AWS_DEFAULT_REGION.
        user, user_password: for a REST server that asks; the password by reference.
        key: private key for SFTP, by reference; default: the host's own.
        known_hosts: lines of a known_hosts file for SFTP; default: the host's own.
        ca: certificate (PEM) that the server's was signed with, if that is none the host knows.
        create: make it, if there is none. Without, a mistyped url is an error and no new, empty
            repository.
        wait: seconds that are waited for who else holds the repository.
        upload_limit, download_limit: KiB a second; 0: none.
    """

    url: str = Field(min_length=1)
    password: SecretRef
    credentials: dict[str, SecretRef] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)
    user: str | None = Field(None, pattern=r"^[^:@/\s]+$")
    user_password: SecretRef | None = None
    key: SecretRef | None = None
    known_hosts: str | None = None
    ca: str | None = None
    create: bool = False
    wait: float = Field(600.0, ge=0, le=86400)
    upload_limit: int = Field(0, ge=0)
    download_limit: int = Field(0, ge=0)

    @field_validator("url")
    @classmethod
    def _is_one(cls, value: str) -> str:
        if "\n" in value or "\0" in value:
            raise ValueError("must be one line")
        scheme, colon, rest = value.partition(":")
        if value.startswith("/"):
            return value.rstrip("/") or "/"
        if not colon or scheme not in ("sftp", "s3", "rest"):
            raise ValueError(
                "must be a folder on the host (/srv/backup), or begin with sftp:, s3: or rest:"
            )
        if scheme in ("s3", "rest") and not urlsplit(rest).netloc:
            raise ValueError(f"{scheme}: needs a server, as in {scheme}:https://server/path")
        if scheme != "sftp" and urlsplit(rest).password is not None:
            raise PydanticCustomError(
                HIDDEN_INPUT,
                "holds a password: give user and user_password (a secret reference) instead",
            )
        return value

    @field_validator("credentials", "environment")
    @classmethod
    def _variables(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _VARIABLE.fullmatch(name) or "\0" in text:
                raise ValueError(f"{name!r} is no name of a variable")
            if name.startswith(_SET_BY_US):
                raise ValueError(f"{name} is set by temporal-ops itself")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        both = set(self.credentials) & set(self.environment)
        if both:
            raise ValueError(f"{min(both)} is in credentials and in environment")
        if (self.user is None) != (self.user_password is None):
            raise ValueError("user and user_password go together")
        if self.user is not None and self.kind != "rest":
            raise ValueError("user and user_password are for rest: repositories")
        if (self.key or self.known_hosts) and self.kind != "sftp":
            raise ValueError("key and known_hosts are for sftp: repositories")
        return self

    @property
    def kind(self) -> Kind:
        """Which of restic's backends it is."""
        kinds: dict[str, Kind] = {"sftp": "sftp", "s3": "s3", "rest": "rest"}
        return kinds.get(self.url.partition(":")[0], "local")

    @property
    def shared(self) -> bool:
        """Whether all hosts see the same repository under this url."""
        return PLACEHOLDER not in self.url and self.kind != "local"

    def at(self, host: str) -> str:
        """The url of host `host`."""
        safe = quote(host, safe="") if self.kind in ("s3", "rest") else host.replace("/", "_")
        return self.url.replace(PLACEHOLDER, safe)

    @property
    def references(self) -> tuple[str, ...]:
        """All secret references that open it."""
        named = (self.password, *self.credentials.values(), self.user_password, self.key)
        return tuple(dict.fromkeys(each for each in named if each is not None))
