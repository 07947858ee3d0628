"""The settings of a run: config/warehouse.yaml, .env and the environment, read once, then frozen."""

import math
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

import yaml
from dotenv import dotenv_values

from warehouse.errors import UsageError
from warehouse.parsing import COLUMN_TYPES, Column
from warehouse.rules import anomalies

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = ("transactions", "products", "countries")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """A kind of landing file: transactions, products or countries."""

    name: str
    columns: tuple[Column, ...]
    key: str | None
    scd: Mapping[str, tuple[str, ...]]
    window_hours: tuple[int, ...]


@dataclass(frozen=True)
class Mail:
    """How stewards are told. Without a `host` mails become files in `outbox` of the home.

    `tls` is starttls, tls (from the first byte) or none; `ca_file` holds the authority that the server's certificate
    comes from, where the machine does not trust it anyway. `case_url` has {case} where the case's number belongs;
    `digest` is the weekday of the weekly mail (Monday 0), None for no such mail.
    """

    host: str | None
    port: int
    tls: str
    user: str | None
    password: str
    ca_file: str | None
    sender: str
    recipients: tuple[str, ...]
    at_most: int
    case_url: str
    retry_seconds: tuple[float, ...]
    digest: int | None


@dataclass(frozen=True)
class Sla:
    """By when the views must be fresh (`deadline` and `masters_due` are local times of day).

    `business_days`: weekday (1 is Monday) → first hours (UTC) of the windows that bring a file.
    """

    deadline: time
    masters_due: time
    lead_minutes: int
    look_back_days: int
    business_days: Mapping[int, tuple[int, ...]]
    holidays: tuple[date, ...]


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on besides its data.

    `gold_url` and `gold_admin_url` are None in the embedded home, whose server is started on demand. `metastore_url` is
    the database behind the Hive metastore, where there is one. `backups` is a folder, in which `backups_kept` stay.
    `run_id` is what a scheduler, or scripts/submit.sh, calls this run; empty where nobody did.
    `failpoint` names a place in the code at which tests end the run, `spark` extra Spark settings.
    """

    home: Path
    landing_uri: str
    sources: Mapping[str, Source]
    gold_url: str | None
    gold_admin_url: str | None
    metastore_url: str | None
    backups: Path
    backups_kept: int
    timezone: ZoneInfo
    spark_master: str
    spark: Mapping[str, str]
    lock_wait_seconds: float
    file_bytes: int
    anomaly_method: anomalies.Method
    lookback_days: int
    mail: Mail
    sla: Sla
    keep_snapshots_days: int
    keep_resolved_days: int
    target_file_bytes: int
    error_share: float
    run_id: str
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
    rules = _rules(path)

    def rule(name: str, convert: Callable[[Any], T]) -> T:
        value = rules
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise UsageError(f"{path}: {name} is missing")
            value = value[part]
        return _setting(f"{path}: {name}", convert, value)

    def variable(name: str, convert: Callable[[Any], T], default: object) -> T:
        return _setting(name, convert, environment.get(name) or default)

    home = variable("WAREHOUSE_HOME", _folder, directory / ".warehouse")

    def database(prefix: str, default: str | None) -> str | None:
        """A URL, and its password where that is in a file of its own, as secrets of containers are."""
        url = variable(f"{prefix}_URL", _postgres_url, default)
        password = variable(f"{prefix}_PASSWORD_FILE", _secret, "")
        return _with_password(url, password) if url and password else url

    gold_url = database("GOLD", None)
    sources = {name: rule(f"sources.{name}", partial(_source, name)) for name in SOURCES}
    return Config(
        home=home,
        landing_uri=(environment.get("LANDING_URI") or f"file://{home}/landing").rstrip("/"),
        sources=sources,
        gold_url=gold_url,
        gold_admin_url=database("GOLD_ADMIN", gold_url),
        metastore_url=database("METASTORE_DB", None),
        backups=variable("WAREHOUSE_BACKUPS", _folder, home / "backups"),
        backups_kept=rule("backup.keep", _whole_number),
        timezone=variable("WAREHOUSE_TIMEZONE", ZoneInfo, "Europe/London"),
        spark_master=variable("SPARK_MASTER", _spark_master, "local[*]"),
        spark=(rule("spark", _texts) if "spark" in rules else {})
        | variable("WAREHOUSE_SPARK_OPTIONS", _spark_options, ""),
        lock_wait_seconds=variable("WAREHOUSE_LOCK_WAIT", _seconds, rule("locks.wait_seconds", _seconds)),
        file_bytes=variable("WAREHOUSE_FILE_BYTES", _whole_number, rule("limits.file_bytes", _whole_number)),
        anomaly_method=rule("anomaly", _anomaly_method),
        lookback_days=rule("anomaly.lookback_days", _whole_number),
        mail=Mail(
            host=environment.get("SMTP_HOST") or None,
            port=variable("SMTP_PORT", _whole_number, 587),
            tls=variable("SMTP_TLS", _tls, "starttls"),
            user=environment.get("SMTP_USER") or None,
            password=variable("SMTP_PASSWORD_FILE", _secret, ""),
            ca_file=variable("SMTP_CA_FILE", _certificates, None),
            sender=variable("ALERT_FROM", _address, "warehouse@localhost"),
            recipients=variable("ALERT_TO", _addresses, "stewards@localhost"),
            at_most=rule("alerts.at_most", _whole_number),
            case_url=rule("alerts.case_url", str),
            retry_seconds=rule("alerts.retry_seconds", lambda waits: tuple(map(_seconds, waits))),
            digest=rule("alerts.digest", _weekday),
        ),
        sla=Sla(
            deadline=rule("sla.deadline", _time_of_day),
            masters_due=rule("sla.masters_due", _time_of_day),
            lead_minutes=rule("sla.lead_minutes", _whole_number),
            look_back_days=rule("sla.look_back_days", _whole_number),
            business_days=rule("sla.business_days", partial(_business_days, sources["transactions"].window_hours)),
            holidays=rule("sla.holidays", _dates),
        ),
        keep_snapshots_days=rule("maintenance.keep_snapshots_days", _whole_number),
        keep_resolved_days=rule("maintenance.keep_resolved_days", _whole_number),
        target_file_bytes=rule("maintenance.target_file_bytes", _whole_number),
        error_share=rule("report.error_share", _share),
        run_id=variable("WAREHOUSE_RUN_ID", identifier, ""),
        failpoint=environment.get("WAREHOUSE_FAILPOINT", ""),
    )


def _dotenv(path: Path) -> dict[str, str]:
    try:
        return {key: value for key, value in dotenv_values(path).items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None


def _rules(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read {path}: it is not UTF-8") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from None


def _setting(name: str, convert: Callable[[Any], T], value: object) -> T:
    """A setting in its own type. Raises UsageError naming it."""
    try:
        return convert(value)
    except (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"{name} is wrong: {error}") from None


def _folder(path: str | Path) -> Path:
    return Path(path).expanduser().absolute()


def _postgres_url(url: str | None) -> str | None:
    if url is None:
        return None
    form = "it has to be postgresql://user:password@host:port/database"  # what it is may hold a password
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("postgresql", "postgres") and parts.hostname and parts.port != 0 and parts.path[1:]
    except ValueError:
        whole = None
    if not whole:
        raise ValueError(form)
    return url


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or 'postgres'}:{quote(password, safe='')}@{address}").geturl()


def _secret(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").strip() if path else ""


def identifier(text: str) -> str:
    """What a run can be called. Raises ValueError."""
    if not re.fullmatch(r"[\w.:-]{0,100}", text, re.ASCII):
        raise ValueError(f"{text!r} is not up to 100 letters, digits and .:_-")
    return text


def _seconds(value: object) -> float:
    seconds = float(str(value))
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{value} is no time to wait, in seconds")
    return seconds


def _whole_number(value: object) -> int:
    number = int(str(value))
    if number < 1:
        raise ValueError(f"{value} is less than 1")
    return number


def _source(name: str, rules: Mapping[str, Any]) -> Source:
    columns = tuple(
        Column(column, rule["type"], rule.get("required", False)) for column, rule in rules["columns"].items()
    )
    unknown = sorted({str(column.type) for column in columns} - set(COLUMN_TYPES))
    if unknown:
        raise ValueError(f"type {', '.join(unknown)} is none of {', '.join(COLUMN_TYPES)}")
    return Source(
        name=name,
        columns=columns,
        key=rules.get("key"),
        scd={kind: tuple(names) for kind, names in rules.get("scd", {}).items()},
        window_hours=tuple(int(hour) for hour in rules.get("window_hours", ())),
    )


def _anomaly_method(rules: Mapping[str, Any]) -> anomalies.Method:
    min_orders = _whole_number(rules["min_orders"])
    if rules["method"] == "zscore":
        return anomalies.ZScore(min_orders, _positive(rules["z_threshold"]), _tiers(rules["tiers"]))
    if rules["method"] == "robust":
        own = rules["robust"]
        return anomalies.Robust(
            min_orders,
            _positive(own["z_threshold"]),
            _tiers(own["tiers"]),
            _positive(own["scale_floor"]),
            _factor(own["order_allowance"]),
        )
    raise ValueError(f"method {rules['method']} is neither zscore nor robust")


def _tiers(tiers: Mapping[str, Any]) -> dict[str, float]:
    if set(tiers) != {"critical", "warning"}:
        raise ValueError("tiers are critical and warning, each with its least z")
    least = {tier: _positive(z) for tier, z in tiers.items()}
    if least["critical"] < least["warning"]:
        raise ValueError("what is critical has to be a warning too: its z is less")
    return least


def _positive(value: object) -> float:
    number = float(str(value))
    if not 0 < number < math.inf:
        raise ValueError(f"{value} is not a number greater than 0")
    return number


def _share(value: object) -> float:
    share = float(str(value))
    if not 0 <= share <= 1:
        raise ValueError(f"{value} is not a share between 0 and 1")
    return share


def _certificates(path: str | None) -> str | None:
    """A file of certificates; an empty one, as a container's secret that nobody filled, is none."""
    return path if path and Path(path).stat().st_size else None


def _weekday(name: object) -> int | None:
    if name == "never":
        return None
    if name not in WEEKDAYS:
        raise ValueError(f"{name!r} is neither never nor one of {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(str(name))


def _time_of_day(value: object) -> time:
    if not isinstance(value, str) or not re.fullmatch(r"\d\d:\d\d", value, re.ASCII):
        raise ValueError(f'{value} is not a time of day such as "10:00", in quotes')
    return time.fromisoformat(value)


def _business_days(window_hours: tuple[int, ...], days: Mapping[str, Any]) -> dict[int, tuple[int, ...]]:
    if not days:
        raise ValueError("there is no weekday in it")
    unknown = sorted({str(day) for day in days} - set(WEEKDAYS))
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is none of {', '.join(WEEKDAYS)}")
    for day, hours in days.items():
        if not isinstance(hours, list) or not set(hours) <= set(window_hours):
            raise ValueError(f"{day}: {hours} is not a list of hours at which windows start, {list(window_hours)}")
    return {WEEKDAYS.index(day) + 1: tuple(sorted(set(hours))) for day, hours in days.items()}


def _dates(values: object) -> tuple[date, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{values} is not a list of dates")
    for value in values:
        if not isinstance(value, date) or isinstance(value, datetime):
            raise ValueError(f"{value} is not a date such as 2026-12-25")
    return tuple(sorted(set(values)))


def _factor(value: object) -> float:
    number = _positive(value)
    if number < 1:
        raise ValueError(f"{value} is not a factor of at least 1")
    return number


def _spark_master(text: str) -> str:
    if not re.fullmatch(r"local(\[.+\])?|local-cluster\[.+\]|yarn|(spark|k8s)://.+", text):
        raise ValueError(f"{text!r} is no master such as local[2] or spark://HOST:7077")
    return text


def _tls(text: str) -> str:
    if text not in ("starttls", "tls", "none"):
        raise ValueError(f"{text!r} is neither starttls, tls nor none")
    return text


def _address(text: str) -> str:
    if not re.fullmatch(r"[^\s@<>,;:\"()\\]+@[^\s@<>,;:\"()\\]+", text):
        raise ValueError(f"{text!r} is not a mail address such as steward@shop.example")
    return text


def _addresses(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(_address(part.strip()) for part in text.split(",") if part.strip()))
    if not found:
        raise ValueError("there is no address in it")
    return found


def _texts(options: Mapping[str, object] | None) -> dict[str, str]:
    return {key: str(value) for key, value in (options or {}).items()}


def _spark_options(text: str) -> dict[str, str]:
    """`key=value` pairs separated by spaces; what has spaces in it is quoted as in a shell."""
    pairs = [pair.partition("=") for pair in shlex.split(text)]
    if wrong := [key for key, equals, _ in pairs if not (key and equals)]:
        raise ValueError(f"'{wrong[0]}' is not key=value")
    return {key: value for key, _, value in pairs}
