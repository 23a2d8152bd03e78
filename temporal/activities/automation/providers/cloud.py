"""Servers of a cloud, through apache-libcloud: any of its compute drivers."""

from __future__ import annotations

import contextlib
import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from temporal.activities.automation.providers import marks
from temporal.activities.automation.providers.failures import explained
from temporal.shared.errors import Permanent
from temporal.shared.secrets import resolve
from temporal.shared.specs.automation.creating import CloudServer, LabServer
from temporal.shared.specs.automation.hosts import HostSpec
from temporal.shared.specs.automation.places import CloudPlace, Found

_ENDED = ("terminated", "shutting-down", "deleted", "deleting")


class CloudProvider:
    """The servers of one account in one region."""

    def __init__(self, place: CloudPlace) -> None:
        self._place = place
        with self._explained("connecting"):
            self._driver = _opened(place)
        self._taken = tuple(inspect.signature(self._driver.create_node).parameters)

    def find(self, *, token: str = "", name: str = "", id: str = "") -> list[Found]:
        with self._explained("listing servers"):
            nodes = self._driver.list_nodes(**self._narrowed(token, name, id))
        found = [self._seen(node) for node in nodes]
        return [
            each
            for each in found
            if marks.same(token, each.token)
            and name in ("", each.name)
            and id in ("", each.id)
            and (token or not each.ended)
        ]

    def create(self, order: LabServer | CloudServer, token: str) -> Found:
        assert isinstance(order, CloudServer)
        already = self.find(token=token)
        if already:
            return already[0]
        name, given = marks.marked(self._taken, order.name, token, order.tags)
        given |= marks.extras(self._taken, order.key_pair, order.user_data)
        with self._explained(f"looking up the size {order.size}"):
            given["size"] = self._one("size", order.size, self._driver.list_sizes())
        with self._explained(f"looking up the image {order.image}"):
            given["image"] = self._image(order.image)
        if order.location is not None:
            with self._explained(f"looking up the location {order.location}"):
                given["location"] = self._one(
                    "location", order.location, self._driver.list_locations()
                )
        if twice := sorted(given.keys() & order.options.keys()):
            raise Permanent(f"options: {', '.join(twice)} is set by other fields already")
        given |= {key: _as_object(value) for key, value in order.options.items()}
        with self._explained(f"creating {order.name}"):
            node = self._driver.create_node(name=name, **given)
        return self._seen(node)

    def destroy(self, id: str) -> bool:
        with self._explained(f"destroying {id}"):
            for node in self._driver.list_nodes(**self._narrowed("", "", id)):
                if node.id == id and not _ended(node):
                    self._driver.destroy_node(node)
                    return True
        return False

    def host(self, found: Found) -> HostSpec:
        assert found.address is not None
        return self._place.login.host(found.address, found.name)

    def _narrowed(self, token: str, name: str, id: str) -> dict[str, Any]:
        """Where the driver can be asked for some only, it is."""
        if "ex_filters" not in inspect.signature(self._driver.list_nodes).parameters:
            return {}
        filters = {f"tag:{marks.TAG}": token, "tag:Name": name, "instance-id": id}
        wanted = {key: value for key, value in filters.items() if value}
        return {"ex_filters": wanted} if wanted else {}

    def _seen(self, node: Any) -> Found:
        extra = node.extra if isinstance(node.extra, Mapping) else {}
        name, token = marks.borne(self._taken, str(node.name), extra)
        private = isinstance(self._place, CloudServer) and self._place.address == "private"
        addresses = node.private_ips if private else node.public_ips
        return Found(
            id=str(node.id),
            name=name,
            token=token,
            address=next(iter(addresses), None),
            ended=_ended(node),
            state=_state(node),
        )

    def _image(self, wanted: str) -> Any:
        # Listing them all takes minutes with some clouds, so they are asked for the one.
        if hasattr(self._driver, "get_image"):
            # Some drivers have the method and refuse it, some take the first of an empty answer.
            with contextlib.suppress(NotImplementedError, IndexError):
                return self._driver.get_image(wanted)
        return self._one("image", wanted, self._driver.list_images())

    def _one(self, what: str, wanted: str, there: Sequence[Any]) -> Any:
        for attribute in ("id", "name"):
            for each in there:
                if str(getattr(each, attribute)) == wanted:
                    return each
        names = [str(each.id) for each in there] + [str(each.name) for each in there]
        near = difflib.get_close_matches(wanted, names, 3, 0.5)
        hint = f"; near it: {', '.join(dict.fromkeys(near))}" if near else ""
        raise Permanent(f"{self._place.provider} has no {what} {wanted!r}{hint}")

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            where = f" {self._place.region}" if self._place.region else ""
            raise explained(error, f"{self._place.provider}{where}", doing) from None


def _opened(place: CloudPlace) -> Any:
    try:
        from libcloud.compute.providers import get_driver
        from libcloud.compute.types import Provider as Known
    except ImportError:
        raise Permanent(
            f"servers of {place.provider} are made through apache-libcloud, which this worker has"
            " not: install temporal-ops[cloud] where the worker runs"
        ) from None
    names = sorted(str(value) for key, value in vars(Known).items() if key.isupper())
    if place.provider not in names:
        near = difflib.get_close_matches(place.provider, names, 3, 0.5)
        hint = f"; near it: {', '.join(near)}" if near else ""
        raise Permanent(f"libcloud has no compute driver {place.provider!r}{hint}")
    secrets = {name: resolve(reference).decode() for name, reference in place.credentials.items()}
    region = {"region": place.region} if place.region else {}
    kind = get_driver(place.provider)
    given = [name for name in place.connection if not name.startswith("ex_")]
    if strange := sorted(set(given) - _understood(kind)):
        raise Permanent(
            f"connection: the driver {place.provider} knows no {', '.join(strange)}; it knows"
            f" {', '.join(sorted(_understood(kind)))}, and perhaps others that begin with ex_"
        )
    try:
        driver: Any = kind(**secrets, **region, **place.connection)
    except (TypeError, ValueError) as error:
        # Said without what was given: a driver may repeat it.
        taken = ", ".join(inspect.signature(kind).parameters)
        raise Permanent(
            f"the driver {place.provider} does not take these credentials, region and connection"
            f" ({type(error).__name__}: {error}); it takes {taken}"
        ) from None
    driver.connection.timeout = place.patience
    driver.connection.connect()  # the session of the constructor has libcloud's own timeout
    return driver


def _understood(kind: type) -> set[str]:
    """Names of a driver's arguments. Most take any others too, and then say nothing of a slip."""
    found = {"timeout", "retry_delay", "backoff", "proxy_url"}
    for each in kind.__mro__:
        if each is not object and "__init__" in vars(each):
            found |= set(inspect.signature(vars(each)["__init__"]).parameters)
    return found - {"self", "args", "kwargs"}


def _as_object(value: Any) -> Any:
    """What a driver wants as an object of its own, of which it reads the id only."""
    if isinstance(value, Mapping) and "id" in value:
        return SimpleNamespace(**{str(key): inner for key, inner in value.items()})
    if isinstance(value, list):
        return [_as_object(each) for each in value]
    return value


def _state(node: Any) -> str:
    extra = node.extra if isinstance(node.extra, Mapping) else {}
    return str(extra.get("status") or node.state or "")


def _ended(node: Any) -> bool:
    return _state(node).lower() in _ENDED
