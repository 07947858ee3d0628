"""Back-up and restore on the cluster, as the runbook has them. On top of what the tests before have left there."""

import re
from contextlib import closing

import psycopg2
import pytest
from harness import TRANSACTIONS, Warehouse
from small_shop import sale
from stack import Stack, assert_a_run_makes_it_as_embedded, one_line

from warehouse import lake

TABLES = [f"{namespace}.{table}" for namespace, tables in lake.TABLES.items() for table in tables]
DECISIONS = "select count(*) from ops.error_verdicts"


def sell(stack: Stack, window: str, key: str) -> None:
    """Land a transaction file with a sale and a row that does not parse, here and there."""
    file = stack.landing / "transactions" / f"transactions_{window}.csv"
    lines = (
        TRANSACTIONS,
        sale(key, "S-NOT-SOLD", 1, "2011-02-04 10:00:00", "C-NEW", "GB", order=f"O-{key}"),
        sale(f"{key}-wrong", "S-NOT-SOLD", "many", "2011-02-04 10:00:00", "C-NEW", "GB", order=f"O-{key}"),
    )
    file.write_text("".join(f"{line}\n" for line in lines))
    stack.land(file)


def test_what_is_restored_and_run_again_is_what_never_was_restored(stack: Stack, embedded: Warehouse) -> None:
    sell(stack, "2011-02-14T00_before", "before-backup")
    assert stack.warehouse("run").returncode in (0, 3)
    [(facts,)], decisions = stack.gold("select count(*) from fact_transactions"), stack.gold(DECISIONS)
    made = stack.script("run_backup.sh", WAREHOUSE_RUN_ID="nightly")
    assert made.returncode == 0 and one_line(made.stderr), made
    found = re.fullmatch(r"backup: (\S+Z), gold.dump \S+ MB, metastore.dump \S+ MB\n", made.stdout)
    assert found, made
    assert stack.gold("select job, status from ops.etl_runs where run_id = 'nightly'") == [("backup", "DONE")]
    listed = stack.inside("spark-client", "bash", "-c", f"stat -c '%a %U %n' /backups/{found[1]} /backups/{found[1]}/*")
    assert re.search(r"^700 spark ", listed) and listed.count("\n600 spark ") == 4, listed
    assert stack.inside("spark-client", "ls", "-A", "/backups").split()[-1] == found[1]

    sell(stack, "2011-02-15T00_after", "after-backup")
    [(error,)] = stack.gold("select error_id from transactions_error where transaction_id = 'before-backup-wrong'")
    with closing(stack.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute("select discard_error(%s, 'a test')", [error])
    assert stack.warehouse("run").returncode in (0, 3)

    refused = stack.script("run_restore.sh", "latest", stdin="ecommerce\n")
    assert refused.returncode == 2 and "not confirmed, nothing was changed" in refused.stderr, refused
    unknown = stack.script("run_restore.sh", "yesterday", stdin="ecommerce_gold\n")
    assert unknown.returncode == 2 and found[1] in unknown.stderr, unknown
    idle = stack.connect()
    restored = stack.script("run_restore.sh", "latest", stdin="ecommerce_gold\n")
    assert (restored.returncode, restored.stdout) == (
        0,
        f"restore: Gold and the lake's catalog as of {found[1]}; `scripts/rerun.sh all` loads what came since\n",
    ), restored
    assert "Lost for good: 1 decision on errors and 0 verdicts on cases." in restored.stderr
    with closing(idle), pytest.raises(psycopg2.OperationalError):
        idle.cursor().execute("select")
    assert stack.gold("select count(*) from fact_transactions") == [(facts,)]
    assert stack.gold(DECISIONS) == decisions
    assert_a_run_makes_it_as_embedded(stack, embedded)


def test_gold_and_the_metastore_s_database_lost_with_their_volumes_come_back(stack: Stack, embedded: Warehouse) -> None:
    stack.compose("rm", "-sf", "gold", "metastore-db")
    stack.docker("volume", "rm", "warehouse-test_gold_data", "warehouse-test_hive_metastore_db")
    stack.compose("up", "-d", "--no-build", "gold", "metastore-db")
    stack.compose("restart", "hive-metastore")
    stack.heal()
    setup = stack.script("run_setup.sh")
    assert setup.returncode == 0 and f"the catalog had lost {', '.join(TABLES)}, and has them again" in setup.stdout, (
        setup
    )
    restored = stack.script("run_restore.sh", "latest", "--gold-only", stdin="ecommerce_gold\n")
    assert restored.returncode == 0 and restored.stdout.startswith("restore: Gold as of "), restored
    assert_a_run_makes_it_as_embedded(stack, embedded)
