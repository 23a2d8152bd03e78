"""Big values in an S3 bucket: for workers and commands on any number of machines.

The SDK's own driver says what is kept under which key; here is what it leaves open: where the bucket
is, a connection that is made when first needed, and plain errors. Where and as whom is said by the
variables and files that every AWS tool reads; `AWS_ENDPOINT_URL` leads to another S3 than Amazon's.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.aws.s3driver import S3StorageDriver, S3StorageDriverClient
from temporalio.converter import (
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from temporal.shared.errors import ConfigError
from temporal.store.errors import StoreFailed, StoreRefused

CONNECT_S, READ_S = 5.0, 60.0
TRIES = 3
"""Of one request, within a second or two; what fails then is tried again as a whole by Temporal."""
REMEMBERED = 1024
"""Keys known to be there: a spec that a fleet shares is asked for once, not once a host."""
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
_OTHER_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "301"}


class S3Store(S3StorageDriver):
    """Keeps values in a bucket, below a prefix."""

    def __init__(self, bucket: str, prefix: str, most: int) -> None:
        # A payload is a little more than the value in it, and values are measured before.
        super().__init__(_Bucket(prefix), bucket, max_payload_size=2 * most)
        self._prefix = prefix

    @classmethod
    def at(cls, place: str, most: int) -> S3Store:
        """The store `s3://bucket/prefix`, for values of at most so many bytes. Raises ConfigError."""
        if importlib.util.find_spec("aiobotocore") is None:
            raise ConfigError(
                f"TEMPORAL_STORE={place} needs a package that is not installed: "
                "pip install 'temporal-ops[s3]'"
            )
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        return cls(bucket, f"{prefix}/" if prefix else "", most)

    async def store(
        self, context: StorageDriverStoreContext, payloads: Sequence[Payload]
    ) -> list[StorageDriverClaim]:
        """See base class. Raises StoreFailed, StoreRefused."""
        with _plainly():
            claims = await super().store(context, payloads)
        # With the whole key in it, a reference stays good when the prefix changes.
        return [
            StorageDriverClaim({**claim.claim_data, "key": self._prefix + claim.claim_data["key"]})
            for claim in claims
        ]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """See base class. Raises StoreFailed, StoreRefused."""
        with _plainly():
            return await super().retrieve(context, claims)


@contextlib.contextmanager
def _plainly() -> Any:
    """What the driver raises, without what it wraps around our errors."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, StoreFailed | StoreRefused):
            raise error.__cause__ from None
        raise
    except ValueError as error:  # the hash of what came back
        raise StoreRefused(str(error)) from None


class _Bucket(S3StorageDriverClient):
    """The three things that the driver asks of S3. Writes below the prefix; reads what it is told."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._there: dict[tuple[str, str], None] = {}

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        """Whether it is there."""
        if (bucket, key) in self._there:
            return True
        async with self._asked(bucket, self._prefix + key) as client:
            try:
                await client.head_object(Bucket=bucket, Key=self._prefix + key)
            except client.exceptions.ClientError as error:
                if _status(error) == 404:  # a missing bucket too: the writing will say so
                    return False
                raise
        self._remember(bucket, key)
        return True

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        """Write it."""
        async with self._asked(bucket, self._prefix + key) as client:
            await client.put_object(Bucket=bucket, Key=self._prefix + key, Body=data)
        self._remember(bucket, key)

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Read it."""
        async with self._asked(bucket, key) as client:
            found = await client.get_object(Bucket=bucket, Key=key)
            async with found["Body"] as body:
                data: bytes = await body.read()
        return data

    def _remember(self, bucket: str, key: str) -> None:
        self._there[bucket, key] = None
        while len(self._there) > REMEMBERED:
            del self._there[next(iter(self._there))]

    @contextlib.asynccontextmanager
    async def _asked(self, bucket: str, key: str) -> AsyncIterator[Any]:
        """The client. Raises StoreFailed or StoreRefused for what goes wrong with it in the block."""
        try:
            yield await _client()
        except (StoreFailed, StoreRefused):
            raise
        except Exception as error:
            raise _explained(error, bucket, key) from error


_open: dict[asyncio.AbstractEventLoop, tuple[asyncio.Future[Any], asyncio.Task[None]]] = {}
"""Of each event loop its connection, and who holds it open."""


async def _client() -> Any:
    """The connection of this event loop, made when first asked for; it ends with the loop."""
    loop = asyncio.get_running_loop()
    if loop not in _open:
        made: asyncio.Future[Any] = loop.create_future()
        # Held by a task: a loop that ends cancels it, and that closes the connection in time.
        _open[loop] = (made, loop.create_task(_hold(made)))
    return await asyncio.shield(_open[loop][0])


async def _hold(made: asyncio.Future[Any]) -> None:
    try:
        config, session = await asyncio.to_thread(_loaded)
        # Of botocore's variables AWS_REGION is missing, which everything else reads.
        region = os.environ.get("AWS_REGION") or None
        async with session.create_client("s3", region_name=region, config=config) as client:
            made.set_result(client)
            await asyncio.Event().wait()
    except Exception as error:
        if not made.done():
            made.set_exception(error)
    finally:
        made.cancel()
        _open.pop(made.get_loop(), None)  # whoever asks next tries anew


def _loaded() -> tuple[Any, Any]:
    """Takes a second; nobody else should wait meanwhile."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    config = AioConfig(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        max_pool_connections=50,
        retries={"total_max_attempts": TRIES, "mode": "standard"},
    )
    return config, get_session()


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _explained(error: Exception, bucket: str, key: str) -> StoreFailed | StoreRefused:
    """What is wrong, whether it may pass, and what to do."""
    from botocore import exceptions as aws

    place = f"s3://{bucket}"
    if isinstance(error, aws.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        said = str(error.response.get("Error", {}).get("Message", "") or code)
        if code == "NoSuchBucket":
            return StoreRefused(f"{place}: there is no such bucket. TEMPORAL_STORE names it")
        if code == "NoSuchKey":
            return StoreRefused(
                f"{place}/{key}: it is not there any more, and a run refers to it. Does a rule of the "
                "bucket delete what is old?"
            )
        if _status(error) >= 500 or _status(error) == 429 or code in _THROTTLED:
            return StoreFailed(f"{place}: it cannot answer now ({code}: {said})")
        if code in _OTHER_REGION:
            return StoreRefused(f"{place}: it is in another region ({said}). AWS_REGION says which")
        return StoreRefused(
            f"{place}/{key}: refused ({code}: {said}). Whoever AWS_ACCESS_KEY_ID or AWS_PROFILE names "
            "needs s3:GetObject, s3:PutObject and s3:ListBucket there"
        )
    unknown = (
        aws.NoCredentialsError,
        aws.PartialCredentialsError,
        aws.ProfileNotFound,
        aws.ConfigParseError,
        aws.TokenRetrievalError,
    )
    if isinstance(error, unknown):
        return StoreRefused(
            f"{place}: no credentials ({error}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE"
        )
    if isinstance(error, aws.ParamValidationError | ValueError):
        return StoreRefused(f"{place}: TEMPORAL_STORE or AWS_ENDPOINT_URL is wrong: {error}")
    return StoreFailed(
        f"{place}: it does not answer ({error}). AWS_ENDPOINT_URL, if set, says where"
    )
