"""The settings of a run: config/warehouse.yaml, .env and the environment, read once, then frozen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from dotenv import dotenv_values

from warehouse.errors import UsageError
from warehouse.parsing import Column

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """A kind of landing file: transactions, products or countries."""

    name: str
    columns: tuple[Column, ...]
    key: str | None
    scd: Mapping[str, tuple[str, ...]]
    window_hours: tuple[int, ...]


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its data.

    `gold_url` and `gold_admin_url` are None in the embedded home, whose server is started on demand.
    `failpoint` names a place in the code at which tests end the run, `spark` extra Spark settings.
    """

    home: Path
    landing_uri: str
    sources: Mapping[str, Source]
    gold_url: str | None
    gold_admin_url: str | None
    timezone: ZoneInfo
    spark_master: str
    spark: Mapping[str, str]
    lock_wait_seconds: float
    file_bytes: int
    keep_snapshots_days: int
    target_file_bytes: int
    failpoint: str

    @property
    def embedded(self) -> bool:
        """Whether the warehouse brings its own Postgres and keeps its lake in `home`."""
        return self.gold_url is None


def load(environ: Mapping[str, str] | None = None, directory: Path | None = None) -> Config:
    """Read the settings. The environment wins over `.env` in `directory`. Raises UsageError."""
    directory = directory or Path.cwd()
    environment = {**_dotenv(directory / ".env"), **(os.environ if environ is None else environ)}
    path = Path(environment.get("WAREHOUSE_CONFIG") or PROJECT / "config" / "warehouse.yaml")
    try:
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        home = Path(environment.get("WAREHOUSE_HOME") or directory / ".warehouse").expanduser().absolute()
        gold_url = environment.get("GOLD_URL") or None
        return Config(
            home=home,
            landing_uri=(environment.get("LANDING_URI") or f"{home.as_uri()}/landing").rstrip("/"),
            sources={name: _source(name, source) for name, source in rules["sources"].items()},
            gold_url=gold_url,
            gold_admin_url=environment.get("GOLD_ADMIN_URL") or gold_url,
            timezone=ZoneInfo(environment.get("WAREHOUSE_TIMEZONE") or "Europe/London"),
            spark_master=environment.get("SPARK_MASTER") or "local[*]",
            spark={key: str(value) for key, value in rules.get("spark", {}).items()}
            | _spark_options(environment.get("WAREHOUSE_SPARK_OPTIONS", "")),
            lock_wait_seconds=float(environment.get("WAREHOUSE_LOCK_WAIT") or rules["locks"]["wait_seconds"]),
            file_bytes=int(rules["limits"]["file_bytes"]),
            keep_snapshots_days=int(rules["maintenance"]["keep_snapshots_days"]),
            target_file_bytes=int(rules["maintenance"]["target_file_bytes"]),
            failpoint=environment.get("WAREHOUSE_FAILPOINT", ""),
        )
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ZoneInfoNotFoundError as error:
        raise UsageError(f"WAREHOUSE_TIMEZONE: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} or the environment has a wrong setting: {error!r}") from None


def _dotenv(path: Path) -> dict[str, str]:
    return {key: value for key, value in dotenv_values(path).items() if value is not None}


def _source(name: str, rules: Mapping[str, Any]) -> Source:
    return Source(
        name=name,
        columns=tuple(
            Column(column, rule["type"], rule.get("required", False)) for column, rule in rules["columns"].items()
        ),
        key=rules.get("key"),
        scd={kind: tuple(columns) for kind, columns in rules.get("scd", {}).items()},
        window_hours=tuple(rules.get("window_hours", ())),
    )


def _spark_options(text: str) -> dict[str, str]:
    """`key=value` pairs separated by spaces."""
    return dict(pair.split("=", 1) for pair in text.split())
