"""Settings: three layers, each value with its origin, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from temporal import config
from temporal.places import default_state_dir
from temporal.shared.errors import ConfigError

SECRET = "sesame-0451-open"


def shown(settings: config.Settings) -> dict[str, config.Shown]:
    return {row.name: row for row in config.describe(settings)}


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    file = tmp_path / "temporal.toml"
    file.write_text(
        '[profile.default]\naddress = "127.0.0.1:1111"\nnamespace = "from-file"\n'
        f'[profile.cloud]\naddress = "127.0.0.1:2222"\napi_key = "{SECRET}"\n'
        '[profile.cloud.tls]\nserver_name = "named"\n'
        f'[profile.cloud.grpc_meta]\nx-team = "{SECRET}"\n'
    )
    return file


def test_defaults_are_those_of_the_contract() -> None:
    settings = config.load({})
    assert (settings.address, settings.namespace, settings.task_queue) == (
        "localhost:7233",
        "default",
        "test-task-queue",
    )
    assert not settings.address_configured
    assert {row.origin for row in config.describe(settings)} == {"default"}


def test_the_environment_wins_over_the_defaults_and_is_named() -> None:
    settings = config.load(
        {"TEMPORAL_ADDRESS": "a:1", "TEMPORAL_NAMESPACE": "n", "TEMPORAL_TASK_QUEUE": "q"}
    )
    assert (settings.address, settings.namespace, settings.task_queue) == ("a:1", "n", "q")
    assert settings.address_configured
    assert shown(settings)["task_queue"].origin == "environment TEMPORAL_TASK_QUEUE"
    assert shown(settings)["address"].origin == "environment TEMPORAL_ADDRESS"


def test_a_profile_of_the_toml_file(toml: Path) -> None:
    settings = config.load({"TEMPORAL_CONFIG_FILE": str(toml)})
    assert (settings.address, settings.namespace) == ("127.0.0.1:1111", "from-file")
    assert shown(settings)["address"].origin == f"profile default of {toml}"
    other = config.load({"TEMPORAL_CONFIG_FILE": str(toml), "TEMPORAL_PROFILE": "cloud"})
    assert other.address == "127.0.0.1:2222"
    assert other.namespace == "default"
    assert shown(other)["namespace"].origin == "default"
    assert other.api_key and other.api_key.get_secret_value() == SECRET
    assert shown(other)["api_key"].origin == f"profile cloud of {toml}"
    assert shown(other)["tls"].value == "on (server name named)"


def test_the_environment_wins_over_the_file(toml: Path) -> None:
    env = {"TEMPORAL_CONFIG_FILE": str(toml), "TEMPORAL_ADDRESS": "127.0.0.1:3333"}
    settings = config.load(env)
    assert settings.address == "127.0.0.1:3333"
    assert settings.namespace == "from-file"
    assert shown(settings)["address"].origin == "environment TEMPORAL_ADDRESS"
    argued = config.load(env, address="127.0.0.1:4444")
    assert argued.address == "127.0.0.1:4444"
    assert shown(argued)["address"].origin == "argument address"


def test_tls_and_api_key_as_the_official_command_takes_them(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(f"PEM of {name}")
    settings = config.load(
        {
            "TEMPORAL_API_KEY": SECRET,
            "TEMPORAL_TLS": "true",
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(tmp_path / "ca"),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(tmp_path / "cert"),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(tmp_path / "key"),
            "TEMPORAL_TLS_SERVER_NAME": "inside",
            "TEMPORAL_GRPC_META_X_TEAM": SECRET,
        }
    )
    options = settings.client_profile.to_client_connect_config()
    tls = options["tls"]
    assert not isinstance(tls, bool) and tls is not None
    assert (tls.server_root_ca_cert, tls.client_cert, tls.client_private_key, tls.domain) == (
        b"PEM of ca",
        b"PEM of cert",
        b"PEM of key",
        "inside",
    )
    assert options["api_key"] == SECRET
    rows = shown(settings)
    assert rows["tls"].value == "on (server name inside, own CA, client certificate)"
    assert "TEMPORAL_TLS_SERVER_NAME" in rows["tls"].origin
    assert rows["api_key"].origin == "environment TEMPORAL_API_KEY"
    assert rows["grpc_meta"].value == "x-team"


def test_an_api_key_alone_means_tls_and_tls_can_be_switched_off() -> None:
    assert shown(config.load({"TEMPORAL_API_KEY": SECRET}))["tls"].value == "on (with an API key)"
    off = config.load({"TEMPORAL_API_KEY": SECRET, "TEMPORAL_TLS": "false"})
    assert shown(off)["tls"].value == "off"
    assert shown(config.load({}))["tls"].value == "off"


def test_no_secret_in_any_print(toml: Path) -> None:
    env = {"TEMPORAL_CONFIG_FILE": str(toml), "TEMPORAL_PROFILE": "cloud"}
    for settings in (config.load({"TEMPORAL_API_KEY": SECRET}), config.load(env)):
        for text in (
            repr(settings),
            str(settings),
            repr(config.describe(settings)),
            settings.model_dump_json(),
            repr(settings.api_key),
        ):
            assert SECRET not in text
        assert shown(settings)["api_key"].value == "set (hidden)"


def test_a_queue_for_each_domain() -> None:
    settings = config.load(
        {"TEMPORAL_TASK_QUEUE_BACKUP": "slow", "TEMPORAL_TASK_QUEUE_MY_DOMAIN": "mine"}
    )
    assert settings.queue_for("backup") == "slow"
    assert settings.queue_for("my_domain") == "mine"
    assert settings.queue_for("automation") == settings.queue_for(None) == "test-task-queue"
    assert shown(settings)["task_queues"].value == "backup=slow, my_domain=mine"
    assert "TEMPORAL_TASK_QUEUE_BACKUP" in shown(settings)["task_queues"].origin


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TEMPORAL_ADDRESS", "localhost", "host:port"),
        ("TEMPORAL_ADDRESS", "localhost:99999", "host:port"),
        ("TEMPORAL_ADDRESS", "http://localhost:7233", "host:port"),
        ("TEMPORAL_ADDRESS", "http://localhost", "host:port"),
        ("TEMPORAL_ADDRESS", "loc alhost:7233", "host:port"),
        ("TEMPORAL_HEALTH_ADDRESS", "9090", "host:port"),
        ("TEMPORAL_LOG_LEVEL", "loud", "DEBUG"),
        ("TEMPORAL_LOG_FORMAT", "xml", "json"),
        ("TEMPORAL_DRAIN_TIMEOUT", "soon", "number"),
        ("TEMPORAL_DRAIN_TIMEOUT", "-1", "greater"),
        ("TEMPORAL_DRAIN_TIMEOUT", "nan", "finite"),
        ("TEMPORAL_DRAIN_TIMEOUT", "inf", "finite"),
        ("TEMPORAL_ACTIVITY_SLOTS", "0", "greater"),
    ],
)
def test_a_wrong_value_names_its_variable(variable: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load({variable: value})
    assert variable in str(caught.value)
    assert value in str(caught.value)
    assert says in str(caught.value)


def test_all_wrong_values_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        config.load({"TEMPORAL_ADDRESS": "x", "TEMPORAL_LOG_FORMAT": "y"})
    assert str(caught.value).count("\n") == 1


def test_a_missing_or_broken_file_or_profile(toml: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"TEMPORAL_CONFIG_FILE names .*not a file"):
        config.load({"TEMPORAL_CONFIG_FILE": str(tmp_path / "nowhere.toml")})
    (tmp_path / "broken.toml").write_text("[profile.default\n")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        config.load({"TEMPORAL_CONFIG_FILE": str(tmp_path / "broken.toml")})
    with pytest.raises(ConfigError, match="nobody"):
        config.load({"TEMPORAL_CONFIG_FILE": str(toml), "TEMPORAL_PROFILE": "nobody"})


def test_an_address_in_the_file_that_is_wrong_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.default]\naddress = "nonsense"\n')
    with pytest.raises(ConfigError, match=rf"nonsense.*profile default of {file}"):
        config.load({"TEMPORAL_CONFIG_FILE": str(file)})


def test_moving_to_another_address_keeps_the_rest() -> None:
    settings = config.load({"TEMPORAL_NAMESPACE": "n", "TEMPORAL_API_KEY": SECRET})
    moved = settings.at("127.0.0.1:9", config.Origin("test"))
    assert (moved.address, moved.namespace) == ("127.0.0.1:9", "n")
    assert str(moved.origin("address")) == "test"
    assert str(settings.origin("address")) == "default"
    assert moved.api_key and moved.api_key.get_secret_value() == SECRET


def test_the_state_folder_stands_in_the_project(tmp_path: Path) -> None:
    inner = tmp_path / "project" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").write_text("")
    assert default_state_dir(inner) == str(tmp_path / "project" / ".temporal-ops")
