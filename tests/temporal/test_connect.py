"""A connection that fails says which setting named the server, within seconds."""

from __future__ import annotations

import asyncio
import datetime
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from temporal import client, config
from temporal.shared.errors import ConnectError
from temporal.testing import Environment

pytestmark = pytest.mark.asyncio(loop_scope="session")
LIMIT_S = 12.0


async def refused(**env: str) -> str:
    with pytest.raises(ConnectError) as caught:
        async with asyncio.timeout(LIMIT_S):
            await client.connect(config.load(env))
    return str(caught.value)


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        said = await refused(TEMPORAL_ADDRESS=address)
    assert f"{address} (set by environment TEMPORAL_ADDRESS)" in said
    assert "refused" in said and "temporal-ops up" in said


async def test_the_file_that_named_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.far]\naddress = "127.0.0.1:1"\n')
    said = await refused(TEMPORAL_CONFIG_FILE=str(file), TEMPORAL_PROFILE="far")
    assert f"set by profile far of {file}" in said


async def test_nobody_accepts() -> None:
    """A full backlog: the connection is neither made nor refused, as behind a firewall that drops."""
    with socket.socket() as deaf, socket.socket() as one, socket.socket() as two:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        said = await refused(TEMPORAL_ADDRESS=f"127.0.0.1:{deaf.getsockname()[1]}")
    assert "set by environment TEMPORAL_ADDRESS" in said


async def test_somebody_accepts_and_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECT_TIMEOUT", datetime.timedelta(seconds=1))
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        said = await refused(TEMPORAL_ADDRESS=f"127.0.0.1:{mute.getsockname()[1]}")
    assert "silence for 1 s" in said and "set by environment TEMPORAL_ADDRESS" in said


async def test_somebody_else_answers() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(web, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    said = await refused(TEMPORAL_ADDRESS=f"127.0.0.1:{port}")
    listener.close()
    assert "set by environment TEMPORAL_ADDRESS" in said


async def test_a_namespace_that_is_not_there(env: Environment) -> None:
    said = await refused(
        TEMPORAL_ADDRESS=env.ops.settings.address, TEMPORAL_NAMESPACE="no-such-place"
    )
    assert "no namespace 'no-such-place' (set by environment TEMPORAL_NAMESPACE)" in said
    assert "temporal operator namespace create" in said


async def test_tls_to_a_server_without(env: Environment) -> None:
    said = await refused(TEMPORAL_ADDRESS=env.ops.settings.address, TEMPORAL_TLS="true")
    assert "TLS with the Temporal server" in said and "Check TEMPORAL_TLS" in said


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert", folder / "key"


@pytest.mark.parametrize("variables", [{}, {"TEMPORAL_TLS": "true"}])
async def test_a_server_with_tls(variables: dict[str, str], tmp_path: Path) -> None:
    """Plain text to it, and a certificate that nobody vouches for."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(tmp_path))
    context.set_alpn_protocols(["h2"])
    listener = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0, ssl=context)
    address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    said = await refused(TEMPORAL_ADDRESS=address, **variables)
    listener.close()
    assert "set by environment TEMPORAL_ADDRESS" in said
    assert "TEMPORAL_TLS" in said


async def test_a_key_where_none_is_asked_for(env: Environment) -> None:
    """An API key alone turns TLS on; the error leads to it."""
    said = await refused(TEMPORAL_ADDRESS=env.ops.settings.address, TEMPORAL_API_KEY="k-123")
    assert "TEMPORAL_API_KEY" in said
    assert "k-123" not in said
