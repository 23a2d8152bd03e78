"""Which types are loaded when, and that reading an item late says what reading it early would."""

import ast
import builtins
import inspect
import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

import converge
from converge import AnyResource, File, Package, resources
from converge.resource import Resource
from converge.resources import BY_KEY
from converge.resources.item import OneOf
from converge.resources.late import Types

ITEMS = TypeAdapter(list[AnyResource])
SPEC = (
    "[{'package': 'nginx'}, {'file': '/etc/motd', 'mode': '644'}, {'service': 'x', 'running': 1}]"
)
LOADED = "; import sys; print(*(m.rpartition('.')[2] for m in sys.modules if m in PLACES))"


def loaded(code):
    """Of the modules that hold types, those that `code` loads."""
    places = {BY_KEY[key].__module__ for key in BY_KEY}
    run = [sys.executable, "-c", f"PLACES = {places!r}; {code}{LOADED}"]
    return set(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())


def told():
    """What type checkers are told: (module, class) of each import."""
    tree = ast.parse(inspect.getsource(resources))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {(node.module, name.asname) for node in block.body for name in node.names}


def test_the_table_says_where_each_type_is_and_type_checkers_are_told_the_same():
    for key, kind in BY_KEY.items():
        assert kind.key == key
    assert {(kind.__module__, kind.__name__) for kind in BY_KEY.values()} == told()
    assert set(BY_KEY.names) <= set(converge.__all__)


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import converge", ""),
        ("import converge.engine", ""),
        ("from converge.resources import BY_KEY; list(BY_KEY); 'file' in BY_KEY; len(BY_KEY)", ""),
        ("from converge import File, Host; import converge; converge.Package", "file package"),
        ("from converge.resources import Locale", "identity"),
        (
            "from pydantic import TypeAdapter; from converge import AnyResource;"
            f"TypeAdapter(list[AnyResource]).validate_python({SPEC})",
            "package file service",
        ),
        (
            "from pydantic import TypeAdapter; from converge import AnyResource;"
            "from converge.graph import arrange; from converge.resource import Context;"
            "from converge.survey import probes;"
            f"made = TypeAdapter(list[AnyResource]).validate_python({SPEC});"
            "probes(arrange(made), Context())",
            "package file service",
        ),
    ],
)
def test_only_those_types_are_loaded_that_are_used(code, modules):
    assert loaded(code) == set(modules.split())


def test_all_can_be_loaded_and_built_ahead():
    code = (
        "from converge.resources import BY_KEY, item, load_all; load_all();"
        "assert all(kind.__pydantic_complete__ for kind in BY_KEY.values());"
        "assert set(item._readers) == set(BY_KEY.values())"
    )
    assert loaded(code) == {kind.__module__.rpartition(".")[2] for kind in BY_KEY.values()}


def test_what_there_is_not_is_no_attribute():
    with pytest.raises(AttributeError, match="'converge' has no attribute 'Fil'"):
        converge.Fil  # noqa: B018
    with pytest.raises(AttributeError, match=r"'converge\.resources' has no attribute 'Fil'"):
        resources.Fil  # noqa: B018
    assert {"File", "plan", "Host"} <= set(dir(converge))
    assert "File" in dir(resources)
    with pytest.raises(KeyError):
        BY_KEY["fil"]


def test_a_type_is_asked_of_whoever_decides_on_imports(monkeypatch):
    """As in Temporal's sandbox: it passes converge through there, and other ways would miss it."""
    asked = []
    original = builtins.__import__

    def recording(name, *args, **more):
        asked.append(name)
        return original(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", recording)
    types = Types("converge.resources", {"file": "file.File"})
    assert types["file"] is File
    assert "converge.resources.file" in asked


def test_an_error_stands_where_the_item_is_and_names_its_type():
    with pytest.raises(ValidationError) as caught:
        ITEMS.validate_python([{"package": "nginx"}, {"file": "/x", "mode": "999", "bogus": 1}])
    assert [error["loc"] for error in caught.value.errors()] == [
        (1, "file", "mode"),
        (1, "file", "bogus"),
    ]


def test_a_resource_passes_as_it_is():
    package = Package("nginx")
    assert ITEMS.validate_python([package])[0] is package


def test_each_is_written_by_its_own_class():
    made = [Package("nginx", hold=True), File("/x", content="a")]
    assert ITEMS.dump_python(made, exclude_unset=True) == [
        {"package": "nginx", "hold": True},
        {"file": "/x", "content": "a"},
    ]
    assert ITEMS.validate_json(ITEMS.dump_json(made)) == made


def test_the_json_schema_has_all_types():
    schema = ITEMS.json_schema()
    refs = {choice["$ref"] for choice in schema["items"]["oneOf"]}
    assert refs == {f"#/$defs/{name}" for name in BY_KEY.names}


def test_a_validator_of_a_whole_resource_gets_the_context(tmp_path, monkeypatch):
    place = tmp_path / "types_of_my_own"
    place.mkdir()
    (place / "door.py").write_text(
        "from typing import ClassVar\n"
        "from pydantic import ValidationInfo, model_validator\n"
        "from converge.resource import Resource\n"
        "class Door(Resource):\n"
        "    key: ClassVar[str] = 'door'\n"
        "    door: str\n"
        "    @model_validator(mode='after')\n"
        "    def _locked(self, info: ValidationInfo) -> 'Door':\n"
        "        # Resources make themselves in their __init__, and pydantic hands that no context.\n"
        "        if info.context is not None and self.door in info.context:\n"
        "            raise ValueError('it is locked')\n"
        "        return self\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = Annotated[Resource, OneOf(Types("types_of_my_own", {"door": "door.Door"}))]
    items = TypeAdapter(list[mine])
    (door,) = items.validate_python([{"door": "a"}], context={"b"})
    assert door.name == "a"
    with pytest.raises(ValidationError, match="it is locked"):
        items.validate_python([{"door": "a"}], context={"a"})
