"""Settings: where they come from, which wins, and what is said of a wrong one."""

import copy
from datetime import date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from warehouse.config import PROJECT, Config, Mail, Sla, load
from warehouse.errors import UsageError
from warehouse.parsing import Column
from warehouse.rules.anomalies import Robust, ZScore

DEFAULTS = yaml.safe_load((PROJECT / "config" / "warehouse.yaml").read_text(encoding="utf-8"))


def complaint(directory: Path, **environ: str) -> str:
    with pytest.raises(UsageError) as wrong:
        load(environ, directory)
    return str(wrong.value)


def with_rules(directory: Path, content: str | bytes) -> str:
    """The path of a configuration file."""
    path = directory / "rules.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def changed(name: str, value: object) -> str:
    """The default rules with one of them, named by its dotted path, changed (None: taken out)."""
    rules = copy.deepcopy(DEFAULTS)
    *parents, last = name.split(".")
    place = rules
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return yaml.safe_dump(rules)


# --- Where settings come from ---


def test_without_any_setting_the_home_is_below_the_current_folder_and_embedded(tmp_path):
    config = load({}, tmp_path)
    assert config == Config(
        home=tmp_path / ".warehouse",
        landing_uri=(tmp_path / ".warehouse" / "landing").as_uri(),
        sources=config.sources,
        gold_url=None,
        gold_admin_url=None,
        timezone=ZoneInfo("Europe/London"),
        spark_master="local[*]",
        spark={key: str(value) for key, value in DEFAULTS["spark"].items()},
        lock_wait_seconds=300.0,
        file_bytes=1 << 30,
        anomaly_method=ZScore(20, 2.0, {"critical": 6.0, "warning": 3.0}),
        lookback_days=365,
        mail=Mail(
            host=None,
            port=587,
            tls="starttls",
            user=None,
            password="",
            ca_file=None,
            sender="warehouse@localhost",
            recipients=("stewards@localhost",),
            at_most=25,
            case_url="",
            retry_seconds=(1.0, 4.0),
            digest=None,
        ),
        sla=config.sla,
        metastore_url=None,
        backups=tmp_path / ".warehouse" / "backups",
        backups_kept=14,
        keep_snapshots_days=7,
        keep_resolved_days=92,
        run_id="",
        target_file_bytes=128 << 20,
        error_share=0.05,
        failpoint="",
    )
    assert config.embedded


def test_the_sources_are_those_of_the_contract(tmp_path):
    sources = load({}, tmp_path).sources
    assert {
        name: [column.name for column in source.columns if column.required] for name, source in sources.items()
    } == {
        "transactions": ["transaction_id", "order_id", "stock_code", "quantity", "invoice_date"],
        "products": ["stock_code", "description", "unit_price"],
        "countries": ["country_id", "country_name"],
    }
    assert sources["transactions"].window_hours == (0, 4, 8, 12, 16, 20)
    assert sources["products"].scd == {
        "type_2": ("description", "category", "unit_price"),
        "type_1": ("stock_quantity",),
    }
    assert sources["products"].columns[3] == Column("unit_price", "money", True)
    assert sources["countries"].key == "country_id"


def test_the_sla_is_ten_o_clock_on_every_day_but_saturday_and_no_night_brings_a_file(tmp_path):
    day = (8, 12, 16)
    assert load({}, tmp_path).sla == Sla(
        deadline=time(10),
        masters_due=time(6),
        lead_minutes=45,
        look_back_days=7,
        business_days={1: day, 2: day, 3: day, 4: day, 5: day, 7: (8, 12)},
        holidays=(),
    )


def test_holidays_are_dates(tmp_path):
    rules = changed("sla.holidays", [date(2011, 12, 26), date(2011, 12, 25), date(2011, 12, 25)])
    config = load({"WAREHOUSE_CONFIG": with_rules(tmp_path, rules)}, tmp_path)
    assert config.sla.holidays == (date(2011, 12, 25), date(2011, 12, 26))


def test_the_environment_wins_over_the_env_file(tmp_path):
    (tmp_path / ".env").write_text("SPARK_MASTER=spark://file:7077\nWAREHOUSE_TIMEZONE=Asia/Tokyo\n")
    config = load({"SPARK_MASTER": "spark://environment:7077"}, tmp_path)
    assert (config.spark_master, config.timezone) == ("spark://environment:7077", ZoneInfo("Asia/Tokyo"))


def test_the_process_environment_and_the_current_folder_are_read_where_none_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAREHOUSE_HOME", "elsewhere")
    monkeypatch.setenv("SPARK_MASTER", "local[3]")
    (tmp_path / ".env").write_text("WAREHOUSE_LOCK_WAIT=7.5\nSPARK_MASTER=local[4]\n")
    config = load()
    assert (config.home, config.spark_master, config.lock_wait_seconds) == (tmp_path / "elsewhere", "local[3]", 7.5)


def test_reading_the_settings_leaves_the_environment_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("WAREHOUSE_TIMEZONE", raising=False)
    (tmp_path / ".env").write_text("WAREHOUSE_TIMEZONE=Asia/Tokyo\n")
    load(directory=tmp_path)
    assert load({}, tmp_path / "none").timezone == ZoneInfo("Europe/London")


@pytest.mark.parametrize(
    "name",
    ["WAREHOUSE_HOME", "LANDING_URI", "GOLD_URL", "GOLD_ADMIN_URL", "WAREHOUSE_TIMEZONE", "SPARK_MASTER",
     "WAREHOUSE_LOCK_WAIT", "WAREHOUSE_CONFIG", "WAREHOUSE_SPARK_OPTIONS", "WAREHOUSE_FAILPOINT"],
)  # fmt: skip
def test_an_empty_variable_is_as_good_as_none(tmp_path, name):
    assert load({name: ""}, tmp_path) == load({}, tmp_path)


def test_a_home_may_be_given_relative_or_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load({"WAREHOUSE_HOME": "~/wh"}, tmp_path).home == tmp_path / "wh"
    assert load({"WAREHOUSE_HOME": "wh"}, tmp_path).home.is_absolute()


def test_the_landing_zone_is_given_with_or_without_a_slash_at_its_end(tmp_path):
    for uri in ("hdfs://namenode:8020/landing", "hdfs://namenode:8020/landing/"):
        assert load({"LANDING_URI": uri}, tmp_path).landing_uri == "hdfs://namenode:8020/landing"


def test_a_home_with_blanks_has_its_landing_zone_by_that_very_name(tmp_path):
    assert load({}, tmp_path / "a b").landing_uri == f"file://{tmp_path}/a b/.warehouse/landing"


def test_a_gold_url_makes_the_home_no_embedded_one_and_serves_the_administrator_too(tmp_path):
    url = "postgresql://etl:p%40ss@gold:5432/ecommerce_gold"
    config = load({"GOLD_URL": url}, tmp_path)
    assert (config.embedded, config.gold_url, config.gold_admin_url) == (False, url, url)
    admin = "postgres://postgres@gold/ecommerce_gold"
    assert load({"GOLD_URL": url, "GOLD_ADMIN_URL": admin}, tmp_path).gold_admin_url == admin


def test_spark_options_of_the_environment_win_over_those_of_the_file(tmp_path):
    options = """spark.driver.memory=1g  spark.driver.extraJavaOptions="-Da=b -Dc='d e'" """
    spark = load({"WAREHOUSE_SPARK_OPTIONS": options}, tmp_path).spark
    assert spark == {
        "spark.driver.memory": "1g",
        "spark.sql.shuffle.partitions": "8",
        "spark.driver.extraJavaOptions": "-Da=b -Dc='d e'",
    }


def test_another_file_of_rules_can_be_named(tmp_path):
    path = with_rules(tmp_path, changed("limits.file_bytes", 10))
    assert load({"WAREHOUSE_CONFIG": path}, tmp_path).file_bytes == 10


def test_a_file_of_rules_may_leave_the_spark_settings_out_or_empty(tmp_path):
    for content in (changed("spark", None), changed("spark", {}).replace("spark: {}", "spark:")):
        assert load({"WAREHOUSE_CONFIG": with_rules(tmp_path, content)}, tmp_path).spark == {}


# --- Wrong settings ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WAREHOUSE_TIMEZONE", "Mars/Olympus"),
        ("WAREHOUSE_TIMEZONE", "Europe"),
        ("WAREHOUSE_TIMEZONE", "/Europe/London"),
        ("WAREHOUSE_TIMEZONE", "../London"),
        ("WAREHOUSE_LOCK_WAIT", "soon"),
        ("WAREHOUSE_LOCK_WAIT", "-1"),
        ("WAREHOUSE_LOCK_WAIT", "nan"),
        ("WAREHOUSE_LOCK_WAIT", "inf"),
        ("WAREHOUSE_SPARK_OPTIONS", "spark.driver.memory"),
        ("WAREHOUSE_SPARK_OPTIONS", "=1g"),
        ("WAREHOUSE_SPARK_OPTIONS", 'spark.driver.memory="1g'),
        ("WAREHOUSE_HOME", "~no_such_user_here/warehouse"),
        ("GOLD_URL", "gold"),
        ("GOLD_URL", "host=gold dbname=ecommerce_gold"),
        ("GOLD_URL", "mysql://gold/ecommerce_gold"),
        ("GOLD_URL", "postgresql:///ecommerce_gold"),
        ("GOLD_URL", "postgresql://gold"),
        ("GOLD_URL", "postgresql://gold:port/ecommerce_gold"),
        ("GOLD_URL", "postgresql://gold:70000/ecommerce_gold"),
        ("GOLD_ADMIN_URL", "jdbc:postgresql://gold/ecommerce_gold"),
        ("SMTP_PORT", "smtp"),
        ("SMTP_TLS", "ssl"),
        ("SMTP_PASSWORD_FILE", "/no/such/file"),
        ("SMTP_CA_FILE", "/no/such/file"),
        ("ALERT_FROM", "warehouse"),
        ("ALERT_FROM", "a@shop.example\nBcc: b@evil.example"),
        ("ALERT_TO", "a@shop.example, b"),
        ("ALERT_TO", ","),
    ],
)
def test_a_wrong_variable_is_named(tmp_path, name, value):
    assert complaint(tmp_path, **{name: value}).startswith(f"{name} is wrong: ")


def test_a_wrong_line_of_the_env_file_is_named_like_a_variable(tmp_path):
    (tmp_path / ".env").write_text("WAREHOUSE_LOCK_WAIT=soon\n")
    assert complaint(tmp_path).startswith("WAREHOUSE_LOCK_WAIT is wrong: ")


def test_a_password_is_not_shown_where_its_url_is_wrong(tmp_path):
    said = complaint(tmp_path, GOLD_URL="postgresql://etl:secret[@gold:x/ecommerce_gold")
    assert said == "GOLD_URL is wrong: it has to be postgresql://user:password@host:port/database"


def test_an_env_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / ".env").write_bytes(b"WAREHOUSE_HOME=caf\xe9\n")
    assert complaint(tmp_path).startswith(f"cannot read {tmp_path / '.env'}: ")


def test_a_file_of_rules_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none.yaml"
    assert complaint(tmp_path, WAREHOUSE_CONFIG=str(path)) == f"cannot read {path}: No such file or directory"
    assert complaint(tmp_path, WAREHOUSE_CONFIG=str(tmp_path)) == f"cannot read {tmp_path}: Is a directory"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("sources: [", "{path} is not YAML: "),
        ("a: b: c", "{path} is not YAML: "),
        ("x: !!python/object:os.system {}", "{path} is not YAML: "),
        (b"sources: \xe9", "cannot read {path}: it is not UTF-8"),
        ("", "{path}: sources.transactions is missing"),
        ("just a text", "{path}: sources.transactions is missing"),
    ],
)
def test_a_file_of_rules_that_cannot_be_read_is_told_in_one_line(tmp_path, content, told):
    path = with_rules(tmp_path, content)
    said = complaint(tmp_path, WAREHOUSE_CONFIG=path)
    assert "\n" not in said
    assert said.startswith(told.format(path=path))


@pytest.mark.parametrize(
    "name",
    ["sources", "sources.transactions", "sources.products", "sources.countries", "limits", "limits.file_bytes",
     "locks.wait_seconds", "maintenance", "maintenance.keep_snapshots_days", "maintenance.target_file_bytes",
     "maintenance.keep_resolved_days", "anomaly", "anomaly.lookback_days", "alerts", "alerts.at_most",
     "alerts.case_url", "alerts.retry_seconds", "alerts.digest", "sla", "sla.deadline", "sla.masters_due",
     "sla.lead_minutes", "sla.look_back_days", "sla.business_days", "sla.holidays", "report", "report.error_share"],
)  # fmt: skip
def test_a_missing_rule_is_named(tmp_path, name):
    path = with_rules(tmp_path, changed(name, None))
    said = complaint(tmp_path, WAREHOUSE_CONFIG=path)
    assert said.startswith(f"{path}: {name}")
    assert said.endswith(" is missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limits.file_bytes", "much"),
        ("limits.file_bytes", 0),
        ("limits.file_bytes", [1]),
        ("locks.wait_seconds", "long"),
        ("locks.wait_seconds", -1),
        ("maintenance.keep_snapshots_days", 1.5),
        ("maintenance.keep_snapshots_days", 0),
        ("maintenance.target_file_bytes", {}),
        ("maintenance.keep_resolved_days", 0),
        ("anomaly", {"method": "guess", "min_orders": 20, "lookback_days": 365}),
        ("anomaly", DEFAULTS["anomaly"] | {"min_orders": 0}),
        ("anomaly", DEFAULTS["anomaly"] | {"z_threshold": -2}),
        ("anomaly", DEFAULTS["anomaly"] | {"tiers": {"critical": 6}}),
        ("anomaly", DEFAULTS["anomaly"] | {"tiers": {"critical": 3, "warning": 6}}),
        ("anomaly", DEFAULTS["anomaly"] | {"method": "robust", "robust": {}}),
        ("anomaly.lookback_days", 0),
        ("alerts.at_most", 0),
        ("alerts.retry_seconds", [1, -1]),
        ("alerts.retry_seconds", 5),
        ("alerts.digest", "someday"),
        ("sla.deadline", 600),
        ("sla.deadline", "24:00"),
        ("sla.deadline", "10"),
        ("sla.deadline", "10:00:30"),
        ("sla.masters_due", "early"),
        ("sla.masters_due", ["06:00"]),
        ("sla.lead_minutes", 0),
        ("sla.lead_minutes", "some"),
        ("sla.look_back_days", 0.5),
        ("sla.business_days", {}),
        ("sla.business_days", ["Monday"]),
        ("sla.business_days", {"Mon": [8]}),
        ("sla.business_days", {1: [8]}),
        ("sla.business_days", {"Monday": 8}),
        ("sla.business_days", {"Monday": [9]}),
        ("sla.business_days", {"Monday": None}),
        ("sla.business_days", {"Monday": [[8]]}),
        ("report.error_share", 5),
        ("report.error_share", -0.1),
        ("report.error_share", "5 %"),
        ("report.error_share", float("nan")),
        ("sla.holidays", "2011-12-25"),
        ("sla.holidays", ["2011-12-25"]),
        ("sla.holidays", [datetime(2011, 12, 25, 10)]),  # noqa: DTZ001 - as YAML reads one
        ("spark", ["spark.driver.memory"]),
        ("sources.products", "products.csv"),
        ("sources.products", {"key": "stock_code"}),
        ("sources.products", {"columns": {"stock_code": "text"}}),
        ("sources.products", {"columns": {"stock_code": {"required": True}}}),
        ("sources.products", {"columns": {"stock_code": {"type": "varchar"}}}),
        ("sources.products", {"columns": {}, "scd": ["description"]}),
        ("sources.transactions", {"columns": {}, "window_hours": ["eight"]}),
    ],
)
def test_a_wrong_rule_is_named(tmp_path, name, value):
    path = with_rules(tmp_path, changed(name, value))
    assert complaint(tmp_path, WAREHOUSE_CONFIG=path).startswith(f"{path}: {name} is wrong: ")


def test_mails_have_their_settings_and_an_empty_file_of_certificates_is_none(tmp_path):
    (tmp_path / "password").write_text("let me in\n")
    (tmp_path / "ca.pem").write_text("")
    mail = load(
        {
            "SMTP_HOST": "smtp.shop.example",
            "SMTP_PORT": "465",
            "SMTP_TLS": "tls",
            "SMTP_USER": "robot",
            "SMTP_PASSWORD_FILE": str(tmp_path / "password"),
            "SMTP_CA_FILE": str(tmp_path / "ca.pem"),
            "ALERT_FROM": "robot@shop.example",
            "ALERT_TO": "anna@shop.example, bert@shop.example,anna@shop.example",
            "WAREHOUSE_CONFIG": with_rules(tmp_path, changed("alerts.digest", "Friday")),
        },
        tmp_path,
    ).mail
    assert (mail.host, mail.port, mail.tls, mail.user, mail.password) == (
        *("smtp.shop.example", 465, "tls", "robot", "let me in"),
    )
    assert (mail.ca_file, mail.sender, mail.digest) == (None, "robot@shop.example", 4)
    assert mail.recipients == ("anna@shop.example", "bert@shop.example")


def test_a_deadline_that_yaml_reads_as_a_number_is_told_to_be_put_in_quotes(tmp_path):
    path = with_rules(tmp_path, changed("sla.deadline", "10:00").replace("'10:00'", "10:00"))
    assert complaint(tmp_path, WAREHOUSE_CONFIG=path) == (
        f'{path}: sla.deadline is wrong: 600 is not a time of day such as "10:00", in quotes'
    )


def test_the_robust_method_has_settings_of_its_own(tmp_path):
    own = {
        "z_threshold": 1,
        "tiers": {"critical": 3, "warning": 2},
        "scale_floor": 0.5,
        "order_allowance": 4,
    }
    rules = {"method": "robust", "lookback_days": 30, "min_orders": 9, "z_threshold": 5, "tiers": {}, "robust": own}
    path = with_rules(tmp_path, changed("anomaly", rules))
    method = load({"WAREHOUSE_CONFIG": path}, tmp_path).anomaly_method
    assert method == Robust(9, 1.0, {"critical": 3.0, "warning": 2.0}, scale_floor=0.5, order_allowance=4.0)


@pytest.mark.parametrize(("name", "value"), [("order_allowance", 0.9), ("scale_floor", 0), ("tiers", {"critical": 3})])
def test_a_wrong_setting_of_the_robust_method_is_told(tmp_path, name, value):
    rules = DEFAULTS["anomaly"] | {"method": "robust", "robust": DEFAULTS["anomaly"]["robust"] | {name: value}}
    path = with_rules(tmp_path, changed("anomaly", rules))
    assert complaint(tmp_path, WAREHOUSE_CONFIG=path).startswith(f"{path}: anomaly is wrong: ")


def test_a_section_that_is_no_section_is_told_by_the_rule_missing_in_it(tmp_path):
    path = with_rules(tmp_path, changed("limits", 5))
    assert complaint(tmp_path, WAREHOUSE_CONFIG=path) == f"{path}: limits.file_bytes is missing"


# --- Passwords in files, and what a scheduler says of a run ---


def test_a_password_file_completes_the_url_whatever_is_in_the_password(tmp_path):
    (tmp_path / "etl").write_text("p@ss/w:rd\n")
    (tmp_path / "admin").write_text("root")
    config = load(
        {
            "GOLD_URL": "postgresql://warehouse_etl@gold:5432/ecommerce_gold?sslmode=require",
            "GOLD_PASSWORD_FILE": str(tmp_path / "etl"),
            "GOLD_ADMIN_URL": "postgresql://postgres@gold/ecommerce_gold",
            "GOLD_ADMIN_PASSWORD_FILE": str(tmp_path / "admin"),
        },
        tmp_path,
    )
    assert config.gold_url == "postgresql://warehouse_etl:p%40ss%2Fw%3Ard@gold:5432/ecommerce_gold?sslmode=require"
    assert config.gold_admin_url == "postgresql://postgres:root@gold/ecommerce_gold"


def test_a_password_file_that_is_not_there_is_named(tmp_path):
    said = complaint(tmp_path, GOLD_URL="postgresql://etl@gold/g", GOLD_PASSWORD_FILE=str(tmp_path / "none"))
    assert said.startswith("GOLD_PASSWORD_FILE is wrong: ") and "none" in said


def test_a_run_may_be_named_from_outside(tmp_path):
    assert load({"WAREHOUSE_RUN_ID": "nightly-2011-01-31"}, tmp_path).run_id == "nightly-2011-01-31"
    assert complaint(tmp_path, WAREHOUSE_RUN_ID="$(id)").startswith("WAREHOUSE_RUN_ID is wrong: ")


def test_a_home_may_take_smaller_files_than_the_rules_allow(tmp_path):
    assert load({"WAREHOUSE_FILE_BYTES": "33554432"}, tmp_path).file_bytes == 32 << 20
    assert complaint(tmp_path, WAREHOUSE_FILE_BYTES="32 MB").startswith("WAREHOUSE_FILE_BYTES is wrong: ")
