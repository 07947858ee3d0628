"""The cluster: the same results as the embedded home, and nothing lost whichever plug is pulled.

The tests follow one another on one cluster: each lands what it needs on top of what is there, and
compares all that there is.
"""

import json
import re
import shutil
from contextlib import closing
from datetime import date
from pathlib import Path
from urllib.request import urlopen

import psycopg2
import pytest
from harness import TRANSACTIONS, Warehouse, assert_same_state, ordered
from mail_server import PASSWORD, USER, MailServer
from small_shop import sale
from stack import (
    AS_SHIPPED,
    IN_ONE_EXECUTOR,
    IN_THE_DRIVER,
    IN_TWO_EXECUTORS,
    PROJECT,
    WRAPPERS,
    Stack,
    assert_a_run_makes_it_as_embedded,
    one_line,
)

from generators.synthetic import generate

START, DAYS = date(2011, 1, 28), 6
PRUNING = """
import json
from warehouse.config import load
from warehouse.session import build_session
spark = build_session(load(), "pruning", "test")
spark.conf.set("spark.sql.adaptive.enabled", "false")
def read(condition):
    frame = spark.sql(f"select sum(total_amount), count(*) from ecommerce_dw.fact_transactions where {condition}")
    rows = frame.collect()
    plan = frame._jdf.queryExecution().executedPlan()
    scan = plan.collectLeaves().head()
    metrics = {name: scan.metrics().apply(name).value() for name in ("resultDataFiles", "skippedDataFiles")}
    return {"rows": int(rows[0][1]), "plan": plan.toString(), **metrics}
month = "year = 2011 and month = 1"
files = spark.sql(f"select distinct input_file_name() from ecommerce_dw.fact_transactions where {month}").collect()
print(json.dumps({"month": read(month), "all": read("true"), "files": [row[0] for row in files]}))
"""
EVENT_LOGS = """
import json, sys
from warehouse.config import load
from warehouse.session import build_session
secrets = sys.stdin.read().split()
spark = build_session(load(), "scan", "test")
jvm = spark._jvm
folder = jvm.org.apache.hadoop.fs.Path("hdfs://namenode:8020/spark-logs")
system = folder.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
paths = [s.getPath() for s in system.listStatus(folder) if not s.getPath().getName().endswith(".inprogress")]
logs = [
    jvm.org.apache.commons.io.IOUtils.toString(
        jvm.org.apache.spark.deploy.history.EventLogFileReader.openEventLog(path, system), "UTF-8"
    )
    for path in paths
]
print(json.dumps({
    "logs_of_this_kind": len(logs) > 5 and all("SparkListenerApplicationStart" in log for log in logs),
    "secrets": [secret for secret in secrets if any(secret in log for log in logs)],
}))
"""


def sell(stack: Stack, window: str, *lines: str) -> None:
    """Land one more transaction file, here and there."""
    file = stack.landing / "transactions" / f"transactions_{window}.csv"
    file.write_text("".join(f"{line}\n" for line in (TRANSACTIONS, *lines)))
    stack.land(file)


def a_sale(key: str, quantity: int = 1) -> str:
    return sale(key, "S-NOT-SOLD", quantity, "2011-02-04 10:00:00", "C-NEW", "GB", order=f"O-{key}")


def assert_as_embedded(stack: Stack, embedded: Warehouse) -> None:
    """Gold, Bronze's dimensions and the star hold what the embedded warehouse makes of the same files."""
    embedded.run()
    assert_same_state(stack.state(), embedded.state())


def test_the_wrappers_make_of_the_days_what_the_embedded_home_makes(stack: Stack, embedded: Warehouse) -> None:
    truth = generate(stack.landing, seed=11, start=START, days=DAYS, rows_per_day=300, products=60, faults=True)
    held = [stack.landing / path for path in truth.held_back]
    for path in held:
        path.rename(path.with_name("." + path.name))
    stack.land_new()
    executors = {
        "run_ingest_transactions.sh": IN_ONE_EXECUTOR,
        "run_fact_postgres.sh": AS_SHIPPED,
        "run_star_schema.sh": IN_TWO_EXECUTORS,
    }
    said = {w: stack.script(w, SPARK_SUBMIT_OPTIONS=executors.get(w, IN_THE_DRIVER)) for w in WRAPPERS}
    assert {wrapper: done.returncode for wrapper, done in said.items()} == dict(
        zip(WRAPPERS, (3, 0, 3, 0, 0, 0), strict=True)
    ), said
    assert all(done.stdout.count("\n") == 1 and one_line(done.stderr) for done in said.values()), said
    embedded.run()

    for path in held:
        path.with_name("." + path.name).rename(path)
    stack.land_new()
    assert stack.script("run_ingest_products.sh").returncode == 0
    gold = stack.script("run_fact_postgres.sh", WAREHOUSE_RUN_ID="late-price", SPARK_SUBMIT_OPTIONS=IN_ONE_EXECUTOR)
    assert re.search(r"\d+ repriced", gold.stdout), gold
    assert_a_run_makes_it_as_embedded(stack, embedded)
    assert stack.gold("select job, status from ops.etl_runs where run_id = 'late-price'") == [("gold", "DONE")]


def test_stewards_are_told_by_a_mail_server_on_the_network(stack: Stack, tmp_path: Path) -> None:
    gateway = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
    address = stack.docker("network", "inspect", "-f", gateway, "warehouse-test_people").strip()
    server = MailServer(tmp_path, address)
    for name, text in [("ca", server.ca_file.read_text()), ("password", PASSWORD)]:
        stack.inside("spark-client", "bash", "-c", f"cat >/tmp/smtp_{name}", stdin=text)
    variables = {
        "SMTP_HOST": address,
        "SMTP_PORT": str(server.port),
        "SMTP_USER": USER,
        "SMTP_PASSWORD_FILE": "/tmp/smtp_password",
        "SMTP_CA_FILE": "/tmp/smtp_ca",
        "ALERT_TO": "anna@shop.example",
    }
    [(cases, untold)] = stack.gold(
        "select count(*), count(*) filter (where alerted_at is null) from anomalies where tier <> 'notice'"
    )
    assert cases == untold > 0
    said = stack.execute("spark-client", "scripts/run_send_alerts.sh", **variables)
    server.stop()
    assert said.stdout == "alerts: 1 mail sent\n" and one_line(said.stderr), said
    [mail] = server.taken
    assert f"{cases} unusual order line" in mail["Subject"]
    assert stack.gold("select count(*) from anomalies where tier <> 'notice' and alerted_at is null") == [(0,)]


def test_the_sla_is_told_by_its_wrapper_and_history_alone_has_no_deadline(stack: Stack) -> None:
    said = stack.script("check_sla.sh", "--json")
    assert (said.returncode, said.stderr) == (0, ""), said
    assert {view["state"] for view in json.loads(said.stdout)} <= {"NOT_DUE", "NOT_A_BUSINESS_DAY"}
    wrong = stack.script("check_sla.sh", "--at", "ten")
    assert wrong.returncode == 2 and "'ten' is not a time" in wrong.stderr


def test_past_runs_are_in_the_history_by_job_and_run_id(stack: Stack) -> None:
    port = stack.settings["SPARK_HISTORY_PORT"]

    def shown() -> bool:
        with urlopen(f"http://127.0.0.1:{port}/api/v1/applications", timeout=10) as page:
            return "gold late-price" in {application["name"] for application in json.load(page)}

    stack.wait_for("the history server shows the run", shown, every=1)


def executor_logs(stack: Stack) -> str:
    workers = stack.containers("spark-worker")
    read = ("find", "/opt/spark/work", "-name", "stderr", "-exec", "cat", "{}", "+")
    return "".join(stack.docker("exec", worker, *read) for worker in workers)


def test_lines_of_spark_s_log_carry_run_id_and_job(stack: Stack) -> None:
    logs = executor_logs(stack)
    assert re.search(r"^\S+ \w+ \[late-price gold\] \w+: ", logs, re.MULTILINE), logs[-2000:]
    unnamed = re.findall(r"^\S+T\d{2}:\d{2}:\d{2} [A-Z]+ (?:\[- |\[\S+ -\]).*", logs, re.MULTILINE)
    assert not unnamed


def test_a_month_s_sum_reads_only_that_month_s_files(stack: Stack) -> None:
    read = json.loads(stack.inside("spark-client", "python", "-", stdin=PRUNING).splitlines()[-1])
    assert "year" in read["month"]["plan"] and "month" in read["month"]["plan"]
    assert 0 < read["month"]["rows"] < read["all"]["rows"]
    assert 0 < read["month"]["resultDataFiles"] < read["all"]["resultDataFiles"]
    assert read["month"]["resultDataFiles"] == len(read["files"])
    assert all("/year=2011/month=1/" in file for file in read["files"])


def test_setup_is_harmless_on_a_warehouse_in_use_by_the_wrapper_and_by_the_plain_tools(
    stack: Stack, embedded: Warehouse
) -> None:
    assert stack.script("run_setup.sh").stdout == "init: created or upgraded\n"
    stack.inside("spark-client", "spark-sql", "-f", "hive/init_hive.sql")
    psql = "psql -h gold -U postgres -v ON_ERROR_STOP=1 -q"
    password = "export PGPASSWORD=$(cat /run/secrets/gold_admin_password)"
    for database in ("ecommerce_gold", "made_anew"):
        script = f"{psql} -d {database} -f postgres/init_gold.sql 2>&1 >/dev/null"
        create = f"{psql} -c 'create database made_anew'" if database == "made_anew" else "true"
        stack.inside("spark-client", "bash", "-euc", f"{password}; {create}; {script}")
    columns = "select table_schema, table_name, column_name, data_type from information_schema.columns order by 1, 2, 3"
    with closing(stack.connect("made_anew")) as connection, connection.cursor() as cursor:
        cursor.execute(columns)
        assert ordered(cursor.fetchall()) == ordered(stack.gold(columns))
    assert_as_embedded(stack, embedded)


def test_a_worker_killed_in_the_middle_of_copy_leaves_no_row_twice_and_none_missing(
    stack: Stack, embedded: Warehouse, tmp_path: Path
) -> None:
    generate(tmp_path, seed=11, start=date(2011, 2, 7), days=1, rows_per_day=60_000, products=60, faults=False)
    for file in (tmp_path / "transactions").iterdir():
        shutil.copy(file, stack.landing / "transactions")
    stack.land_new()
    assert stack.script("run_ingest_transactions.sh").returncode == 0
    [(before,)] = stack.gold("select count(*) from fact_transactions")
    gold = stack.start("run_fact_postgres.sh", SPARK_SUBMIT_OPTIONS=IN_TWO_EXECUTORS)
    copying = (
        "select host(a.client_addr) from pg_stat_progress_copy as c inner join pg_stat_activity as a using (pid)"
        " where c.tuples_processed > 0"
    )
    with closing(stack.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def address() -> str:
            cursor.execute(copying)
            row = cursor.fetchone()
            return str(row[0]) if row else ""

        found = stack.wait_for("a worker copies rows", address, every=0.01)
    workers = stack.containers("spark-worker")
    networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    [worker] = [id for id in workers if stack.docker("inspect", "--format", networks, id).strip() == found]
    stack.docker("kill", worker)
    out, err = gold.communicate(timeout=300)
    assert gold.returncode == 0, (out, err)
    assert stack.gold("select count(*) - %s from fact_transactions", [before]) == [(60_000,)]
    stack.heal()
    assert_a_run_makes_it_as_embedded(stack, embedded)


AWAY = {
    "hive-metastore": ("run_ingest_transactions.sh", "the metastore at hive-metastore:9083 is away"),
    "namenode": ("run_ingest_products.sh", "HDFS at namenode:8020 is away"),
    "datanode": ("run_ingest_transactions.sh", "HDFS at namenode:8020: no datanode is there"),
    "spark-master": ("run_fact_postgres.sh", "spark-master:7077 is away"),
    "gold": ("run_fact_postgres.sh", "gold:5432 is away"),
}


def test_a_service_that_is_away_is_named_and_the_next_run_completes(
    stack: Stack, embedded: Warehouse, tmp_path: Path
) -> None:
    sell(stack, "2011-02-09T00_away", a_sale("away"))
    for service, (wrapper, told) in AWAY.items():
        stack.compose("stop", service)
        said = stack.script(wrapper, SPARK_SUBMIT_OPTIONS=IN_ONE_EXECUTOR)
        if service == "datanode":
            assert_nothing_lands(stack, tmp_path)
        stack.heal()
        assert said.returncode == 1, said
        assert told in said.stderr and said.stderr.count("\n") == 1, said
    assert_a_run_makes_it_as_embedded(stack, embedded)


def assert_nothing_lands(stack: Stack, folder: Path) -> None:
    """Where no block can be written, an upload leaves nothing behind."""
    file = folder / "countries_2011-03-02.csv"
    file.write_text("country_id,country_name\nGB,United Kingdom\n")
    said = stack.script("land.sh", file)
    assert said.returncode == 1 and "nothing has landed" in said.stderr, said
    assert not {name for name in landed(stack, "countries") if "2011-03-02" in name}


def landed(stack: Stack, source: str) -> list[str]:
    """The names of files in the landing zone, the hidden ones too."""
    url = f"http://namenode:9870/webhdfs/v1/landing/{source}?op=LISTSTATUS"
    return re.findall(r'"pathSuffix":"([^"]*)"', stack.inside("spark-client", "curl", "-sf", url))


def test_a_service_that_is_restarted_during_a_run_costs_at_most_that_run(stack: Stack, embedded: Warehouse) -> None:
    during = {
        "hive-metastore": "ingest transactions",
        "datanode": "ingest transactions",
        "gold": "gold",
    }
    for hour, (service, job) in enumerate(during.items()):
        sell(stack, f"2011-02-10T{4 * hour:02d}_restart", a_sale(f"restart-{service}"))
        options = f"PYSPARK_SUBMIT_ARGS={IN_ONE_EXECUTOR} pyspark-shell"
        run = stack.start("compose.sh", "exec", "-T", "-e", options, "spark-client", "warehouse", "run")
        stack.wait_for_job(job)
        stack.docker("restart", "-t", "1", stack.container(service))
        out, err = run.communicate(timeout=300)
        stack.heal()
        assert run.returncode in (0, 1) and one_line(err), (service, out, err)
    assert_a_run_makes_it_as_embedded(stack, embedded)


def test_a_driver_that_is_killed_or_interrupted_and_two_wrappers_at_once(stack: Stack, embedded: Warehouse) -> None:
    sell(stack, "2011-02-11T00_driver", a_sale("driver"))
    in_one = {"SPARK_SUBMIT_OPTIONS": IN_ONE_EXECUTOR}
    killed = stack.start("run_ingest_transactions.sh", **in_one)
    stack.wait_for_job("ingest transactions")
    shown = stack.docker("top", stack.container("spark-client"), "-eo", "pid,args")
    assert "ingest_transactions.py" in shown and not [secret for secret in stack.secrets() if secret in shown]
    stack.inside("spark-client", "pkill", "-9", "-f", "ingest_transactions.py")
    assert killed.wait(timeout=120) != 0

    interrupted = stack.start("run_ingest_transactions.sh", WAREHOUSE_RUN_ID="interrupted", **in_one)
    stack.wait_for_job("ingest transactions", "interrupted")
    interrupted.terminate()
    out, err = interrupted.communicate(timeout=120)
    assert interrupted.returncode == 1 and err.startswith("warehouse: interrupted"), (out, err)
    assert "ingest_transactions.py" not in stack.docker("top", stack.container("spark-client"), "-eo", "pid,args")

    both = [stack.start("run_ingest_transactions.sh", **in_one) for _ in range(2)]
    for wrapper in both:
        out, err = wrapper.communicate(timeout=300)
        assert wrapper.returncode == 0, (out, err)
    newest = "select started_at, finished_at from ops.etl_runs order by started_at desc limit 2"
    second, first = stack.gold(newest)
    assert first[1] <= second[0], "they ran at the same time"
    assert_a_run_makes_it_as_embedded(stack, embedded)


def test_down_and_up_keep_everything(stack: Stack, embedded: Warehouse) -> None:
    sell(stack, "2011-02-12T00_down", a_sale("down"))
    maintained = stack.script("run_maintenance.sh", SPARK_SUBMIT_OPTIONS=IN_ONE_EXECUTOR)
    assert maintained.returncode == 0 and "files rewritten" in maintained.stdout, maintained
    assert stack.script("stack.sh", "down").returncode == 0
    assert stack.script("stack.sh", "down", "--volumes", stdin="no\n").returncode == 2
    up = stack.script("stack.sh", "up")
    assert up.returncode == 0, up
    assert_a_run_makes_it_as_embedded(stack, embedded)


def test_reset_asks_and_then_works_on_what_is_half_gone(stack: Stack, embedded: Warehouse) -> None:
    before = stack.gold("select count(*) from fact_transactions")
    refused = stack.script("run_setup.sh", "--reset", stdin="ecommerce\n")
    assert refused.returncode == 2 and "nothing was changed" in refused.stderr
    assert stack.gold("select count(*) from fact_transactions") == before

    rubble = (
        "curl -sfX DELETE '{0}/warehouse/ecommerce_db.db/products?op=DELETE&recursive=true&user.name=spark' &&"
        " curl -sfX PUT '{0}/warehouse/ecommerce_dw.db/fact_transactions/data/orphan?op=MKDIRS&user.name=spark'"
    ).format("http://namenode:9870/webhdfs/v1")
    stack.inside("spark-client", "bash", "-c", rubble)
    with closing(stack.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("drop schema ops cascade")
        connection.commit()
    idle = stack.connect()
    done = stack.script("run_setup.sh", "--reset", stdin="ecommerce_gold\n")
    assert (done.returncode, done.stdout) == (0, "init: dropped and created\n"), done
    with pytest.raises(psycopg2.OperationalError):
        idle.cursor().execute("select 1")
    left = stack.inside(
        "spark-client", "curl", "-s", "http://namenode:9870/webhdfs/v1/warehouse/ecommerce_dw.db?op=LISTSTATUS"
    )
    assert '"pathSuffix":"fact_transactions"' in left and "orphan" not in left
    embedded.reset()
    assert_a_run_makes_it_as_embedded(stack, embedded, IN_ONE_EXECUTOR)  # of which the next test reads the logs


def test_no_secret_is_in_images_containers_command_lines_logs_or_history(stack: Stack, tmp_path: Path) -> None:
    secrets = stack.secrets()
    assert len(secrets) == 6 and all(len(secret) >= 24 for secret in secrets)
    containers = stack.containers()
    places = {
        "docker inspect": stack.docker("inspect", *containers),
        "logs": stack.compose("logs", "--no-color").stdout,
        "logs of executors": executor_logs(stack),
        "history": stack.output("git", "-C", PROJECT, "log", "-p", "--no-color"),
        "command lines": "".join(stack.docker("top", container, "-eo", "pid,args") for container in containers),
    }
    assert "ecommerce_gold" in places["docker inspect"]
    for place, text in places.items():
        assert len(text) > 1000
        assert not [secret for secret in secrets if secret in text], place
    scanned = stack.inside("spark-client", "python", "-c", EVENT_LOGS, stdin="\n".join(secrets))
    assert json.loads(scanned) == {"logs_of_this_kind": True, "secrets": []}
    image = tmp_path / "image"
    image.mkdir()
    stack.output("bash", "-euo", "pipefail", "-c", f"docker save warehouse-platform:0.1.0 | tar -xC {image}")
    in_layers = f"find {image} -type f -exec zcat -f {{}} ';' | grep -a -o -F -f {tmp_path / 'patterns'} | sort -u"
    for pattern, found in [("What a container of the platform image is", True), ("\n".join(secrets), False)]:
        (tmp_path / "patterns").write_text(pattern + "\n")
        assert bool(stack.output("bash", "-c", in_layers)) is found


def test_no_container_runs_as_root_or_listens_to_the_world(stack: Stack) -> None:
    for container in stack.containers():
        [facts] = json.loads(stack.docker("inspect", container))
        assert facts["Config"]["User"] not in ("", "0", "root"), facts["Name"]
        assert stack.docker("exec", container, "id", "-u").strip() != "0"
        for bindings in (facts["NetworkSettings"]["Ports"] or {}).values():
            assert all(binding["HostIp"] == "127.0.0.1" for binding in bindings or ())
        assert facts["HostConfig"]["Memory"] > 0
    total = sum(
        json.loads(stack.docker("inspect", container))[0]["HostConfig"]["Memory"] for container in stack.containers()
    )
    assert total <= 10 << 30


def test_files_land_whole_or_not_at_all(stack: Stack, tmp_path: Path) -> None:
    wrong = tmp_path / "sales.csv"
    wrong.write_text("x\n")
    good = tmp_path / "countries_2011-03-01.csv"
    good.write_text("country_id,country_name\n")
    for files, reason in [
        ((good, wrong), "sales.csv: a landing file is called"),
        ((good, tmp_path / "no.csv"), "no.csv"),
    ]:
        said = stack.script("land.sh", *files)
        assert said.returncode == 2 and reason in said.stderr, said
    assert not [name for name in landed(stack, "countries") if "2011-03-01" in name or name.endswith(".tmp")]


def test_an_unknown_job_is_refused_with_those_that_there_are(stack: Stack) -> None:
    said = stack.script("submit.sh", "no_such_job")
    assert said.returncode == 2 and "ingest_products" in said.stderr, said
