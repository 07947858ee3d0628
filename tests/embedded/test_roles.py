"""Who may do what in Gold: every object of the database, found from the catalog, tried as every role."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from harness import Home
from psycopg2.extensions import connection as Connection

from jobs import init_warehouse
from warehouse import cli, gold, ledger
from warehouse.rules.facts import WHITESPACE
from warehouse.session import Context

DATABASE = "people"
GROUPS = ("bi_reader", "steward", "shop_app")
PASSWORD = "only-here"
REFUSED = {
    "42501",  # no right
    "55000",  # a view that nobody can write to
}

FILL = """
insert into dim_products values
    (1, 'A', 'Apple', 'Fruit', 1.50, 9, '2011-01-01', null, true),
    (2, 'B', 'Brush', null, 2, 9, '2011-01-01', null, true);
insert into fact_transactions
select
    'T' || n, 'O' || n, timestamp '2011-01-01' + n * interval '1 hour', 'A', 1, 1, 1.5, 1.5, 'C' || 1 + n % 2, 'GB',
    '2011-01-01T00', now()
from generate_series(1, 400) as n;
insert into fact_transactions values
    ('GUEST', 'O900', '2011-01-01', 'A', 1, 1, 1.5, 1.5, null, 'GB', '2011-01-01T00', now());
insert into transactions_error (
    error_id, transaction_id, order_id, stock_code, quantity, invoice_date, customer_id, reason, detail, batch_id,
    source_file, status, transaction_key
)
values
    (1, ' E1', 'O1', 'Z', '2', '2011-01-05 10:00:00', E'\\u00a0C1 ', 'UNKNOWN_PRODUCT', 'secret', 'b', 'f', 'OPEN',
        'E1'),
    (2, 'E1', 'O1', 'Z', '3', '2011-01-05 10:00:00', 'C1', 'DUPLICATE_CONFLICT', 'secret', 'b', 'f', 'OPEN', 'E1'),
    (3, null, 'O2', 'Z', 'many', '2011-02-30 10:00:00', 'C1', 'MALFORMED', 'secret', 'b', 'f', 'OPEN', null),
    (4, 'T2', 'O2', 'Z', '9', '2011-01-05 10:00:00', 'C1', 'DUPLICATE_CONFLICT', 'secret', 'b', 'f', 'OPEN', 'T2'),
    (5, 'E5', 'O5', 'Z', '9', '2011-01-05 10:00:00', 'C1', 'NO_PRICE', 'secret', 'b', 'f', 'DISCARDED', 'E5'),
    (6, 'E6', 'O6', 'Z', '9', '2011-01-05 10:00:00', 'C2', 'NO_PRICE', 'secret', 'b', 'f', 'OPEN', 'E6'),
    (7, 'E7', 'O7', 'Z', '9', '2011-01-05 10:00:00', ' ', 'NO_PRICE', 'secret', 'b', 'f', 'OPEN', 'E7'),
    (8, ' T4', 'O4', 'Z', 'x', '2011-01-05 10:00:00', 'C1', 'MALFORMED', 'secret', 'b', 'f', 'OPEN', null),
    (9, 'E1 ', 'O1', 'Z', 'x', '2011-01-05 10:00:00', 'C1', 'MALFORMED', 'secret', 'b', 'f', 'OPEN', null);
"""

RELATIONS = """
select n.nspname, c.relname, c.relkind::text, array_agg(a.attname::text order by a.attnum)
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
inner join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
group by 1, 2, 3
order by 1, 2
"""
ROUTINES = """
select
    n.nspname, p.proname, p.prokind::text,
    array(select 'null::' || format_type(t, null) from unnest(p.proargtypes) with ordinality as u (t, n) order by n)
from pg_proc as p
inner join pg_namespace as n on p.pronamespace = n.oid
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
order by 1, 2
"""
ACLS = """
select 'schema', nspname::text, nspacl::text from pg_namespace where nspname !~ '^pg_'
union all select 'relation', oid::regclass::text, relacl::text from pg_class where relnamespace = any(%(schemas)s)
union all select 'column', attrelid::regclass || '.' || attname, attacl::text from pg_attribute
    inner join pg_class as c on attrelid = c.oid where relnamespace = any(%(schemas)s) and attacl is not null
union all select 'routine', oid::regprocedure::text, proacl::text from pg_proc where pronamespace = any(%(schemas)s)
union all select 'database', datname, datacl::text from pg_database where datname = current_database()
union all select 'default', defaclobjtype::text, defaclacl::text from pg_default_acl
union all select 'policy', polrelid::regclass || '.' || polname,
    concat_ws(' ', polcmd, polroles::regrole[], pg_get_expr(polqual, polrelid)) from pg_policy
union all select 'forced', oid::regclass::text, concat(relrowsecurity, relforcerowsecurity) from pg_class
    where relnamespace = any(%(schemas)s) and relkind = 'r'
"""

Rows = list[tuple[Any, ...]]


class Gold:
    """A database of its own on the tests' server, with a login in each group."""

    def __init__(self, home: Home) -> None:
        self.context = Context(home.config)
        self.url = self.context.gold_url(admin=True)
        self._drop()
        with self._server() as cursor:
            cursor.execute(f"create database {DATABASE}")
        self.admin = self.connect()
        self.init()
        self.do(FILL, "analyze")
        self.init()  # the summaries of facts that came without a settle
        for group in GROUPS:
            self.do(f"create role a_{group} login password '{PASSWORD}' in role {group}")
        self.do(
            f"create role nobody_in_particular login password '{PASSWORD}'",
            f"alter role warehouse_etl password '{PASSWORD}'",
        )

    def init(self) -> None:
        self.do(gold.script("init_gold.sql"))

    def do(self, *statements: str) -> None:
        with self.admin, self.admin.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def connect(self, login: str | None = None) -> Connection:
        arguments = {"user": login, "password": PASSWORD} if login else {}
        return psycopg2.connect(self.url, dbname=DATABASE, **arguments)

    def rows(self, statement: str, arguments: Any = None) -> Rows:
        with self.admin, self.admin.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall()

    def close(self) -> None:
        self.admin.close()
        self._drop()

    def _drop(self) -> None:
        with self._server() as cursor:
            cursor.execute(f"drop database if exists {DATABASE} with (force)")
            for role in (*(f"a_{group}" for group in GROUPS), "nobody_in_particular"):
                cursor.execute(f"drop role if exists {role}")

    def _server(self) -> Any:
        connection = self.context.connect(admin=True, database="postgres")
        connection.autocommit = True
        return connection.cursor()


@pytest.fixture(scope="module")
def people(home: Home) -> Iterator[Gold]:
    gold = Gold(home)
    yield gold
    gold.close()


@pytest.fixture
def shopper(people: Gold) -> Iterator[Connection]:
    connection = people.connect("a_shop_app")
    connection.autocommit = True
    yield connection
    connection.close()


def query(connection: Connection, statement: str) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def become(connection: Connection, customer: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select set_config('app.customer_id', %s, false)", (customer,))


def granted(connection: Connection, statement: str) -> bool:
    """Whether the statement has the right to be done; it leaves no trace."""
    with connection.cursor() as cursor:
        cursor.execute("savepoint before")
        try:
            cursor.execute(statement)
            return True
        except psycopg2.Error as error:
            return error.pgcode not in REFUSED
        finally:
            cursor.execute("rollback to before")


def may(role: str, schema: str, name: str, kind: str, action: str) -> bool:
    """The rule: whether a role should have the right to do this with an object of this schema."""
    table, view = kind in "rp", kind in "vm"
    match role:
        case "bi_reader":
            return schema == "bi" and action in ("select", "execute")
        case "shop_app":
            return schema == "shop" and action == "select"
        case "steward":
            theirs = {"anomalies", "anomalies_archive", "anomaly_audit", "transactions_error"}
            functions = {"review_anomaly", "correct_error", "discard_error"}
            if schema == "ops":
                return action == "select" and name in {"watermarks", "error_verdicts"}
            return schema == "public" and (
                (action == "select" and (view or (table and name in theirs)))
                or (action == "execute" and name in functions)
            )
        case _:  # warehouse_etl
            if schema == "bi" or view:
                return schema in ("public", "ops", "bi") and action in ("select", "execute")
            return schema in ("public", "ops") and (
                action == "execute" or (table and action in ("select", "insert", "update", "delete"))
            )


def attempts(people: Gold) -> Iterator[tuple[str, str, str, str, str]]:
    """(schema, name, kind, action, statement) for all that can be tried on all that there is."""
    for schema, name, kind, columns in people.rows(RELATIONS):
        thing = f'{schema}."{name}"'
        yield schema, name, kind, "select", f"select * from {thing}"
        for column in columns:
            yield schema, name, kind, "select", f'select "{column}" from {thing} limit 1'
        if kind == "S":
            yield schema, name, kind, "update", f"select nextval('{thing}'), setval('{thing}', 1)"
            continue
        yield schema, name, kind, "select", f"select count(*) from {thing}"
        yield schema, name, kind, "insert", f"insert into {thing} default values"
        column = columns[:2][-1]  # the first is often made by Postgres itself, which refuses others before it asks who
        yield schema, name, kind, "update", f'update {thing} set "{column}" = null'
        yield schema, name, kind, "delete", f"delete from {thing}"
        if kind in "rp":
            yield schema, name, kind, "truncate", f"truncate {thing} cascade"
            yield schema, name, kind, "trigger", f"create trigger t after insert on {thing} execute function x.y()"
            yield schema, name, kind, "own", f"alter table {thing} disable row level security"
            yield schema, name, kind, "own", f"drop table {thing} cascade"
    for schema, name, kind, arguments in people.rows(ROUTINES):
        call = "call" if kind == "p" else "select"
        yield schema, name, kind, "execute", f'{call} {schema}."{name}"({", ".join(arguments)})'


@pytest.mark.parametrize("way", ["login", "set role"])
@pytest.mark.parametrize("role", [*GROUPS, "warehouse_etl"])
def test_a_role_can_do_what_the_rule_says_and_nothing_else(people, role, way):
    login = role if role == "warehouse_etl" else f"a_{role}"
    connection = people.connect(login if way == "login" else None)
    if way == "set role":
        query(connection, f"set role {role}")
    tried = list(attempts(people))
    wrong = [
        (statement, "should be granted" if wanted else "should be refused")
        for schema, name, kind, action, statement in tried
        if (wanted := may(role, schema, name, kind, action)) != granted(connection, statement)
    ]
    connection.close()
    assert wrong == []
    assert {schema for schema, *_ in tried} >= {"public", "ops", "bi", "shop"}
    assert sum(action == "execute" for *_, action, _ in tried) > 8


def test_who_is_in_no_group_cannot_even_connect(people):
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        people.connect("nobody_in_particular")


@pytest.mark.parametrize("role", GROUPS)
def test_a_person_makes_nothing_and_becomes_nobody_else(people, role):
    connection = people.connect(f"a_{role}")
    for statement in (
        "create table public.mine (a int)",
        "create temporary table mine (a int)",
        "create schema mine",
        "create function bi.f() returns int language sql as 'select 1'",
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "create view shop.mine as select 1",
        "set role warehouse_etl",
        "set role postgres",
        "set session authorization postgres",
        "create role mine",
        "select * from pg_statistic",
        "select * from pg_authid",
        "copy (select 1) to program 'true'",
        "select pg_read_file('PG_VERSION')",
    ):
        assert not granted(connection, statement), statement
    connection.close()


def test_what_is_made_later_is_nobodys_until_it_is_granted(people):
    people.do(
        "create table public.later (a int)",
        "create table bi.later (a int)",
        "create function bi.later() returns int language sql as 'select 1'",
    )
    try:
        for role in GROUPS:
            connection = people.connect(f"a_{role}")
            for statement in ("select * from public.later", "select * from bi.later", "select bi.later()"):
                assert not granted(connection, statement), (role, statement)
            connection.close()
    finally:
        people.do("drop table public.later, bi.later", "drop function bi.later()")


def test_init_takes_back_what_was_granted_besides(people):
    (schemas,) = people.rows("select array_agg(oid) from pg_namespace where nspname !~ '^pg_'")[0]
    before = sorted(people.rows(ACLS, {"schemas": schemas}), key=str)
    for role in ("public", *GROUPS):
        people.do(
            f"grant usage on schema ops, public to {role}",
            f"grant select on all tables in schema public, ops to {role}",
            f"grant update (quantity), select (loaded_at) on fact_transactions to {role}",
            f"grant usage on all sequences in schema public to {role}",
            f"grant execute on all routines in schema ops, public to {role}",
            f"grant create on database {DATABASE} to {role}",
            f"alter default privileges grant execute on routines to {role}",
        )
    people.do("alter table fact_transactions no force row level security", "drop policy own on transactions_error")
    people.do("create policy own on transactions_error for select to shop_app using (true)")
    assert sorted(people.rows(ACLS, {"schemas": schemas}), key=str) != before
    people.init()
    assert sorted(people.rows(ACLS, {"schemas": schemas}), key=str) == before


def test_init_does_not_lock_what_a_job_and_its_readers_use(people):
    writer = people.connect("warehouse_etl")
    query(writer, "select count(*) from fact_transactions, transactions_error, dim_products, anomalies")
    try:
        people.do("set local lock_timeout = '1s'", gold.script("init_gold.sql"))
    finally:
        writer.close()


def test_the_trimming_of_a_customer_is_that_of_the_fact_rules(people):
    padded = [f"{character}C1{character}" for character in WHITESPACE]
    statement = "insert into transactions_error (error_id, customer_id, reason, detail, batch_id, source_file)"
    with people.admin.cursor() as cursor:
        for number, customer in enumerate([*padded, WHITESPACE, "\u200bC1", "C 1"]):
            cursor.execute(f"{statement} values (%s, %s, 'MALFORMED', '', '', '')", (1000 + number, customer))
        cursor.execute("select customer_key, count(*) from transactions_error where error_id >= 1000 group by 1")
        assert dict(cursor.fetchall()) == {"C1": len(padded), None: 1, "\u200bC1": 1, "C 1": 1}
    people.admin.rollback()


def test_the_jobs_login_settles_under_forced_row_level_security(people):
    connection = people.connect("warehouse_etl")
    with connection.cursor() as cursor:
        cursor.execute("call ops.create_staging('decided_x', '{}')")
        cursor.execute(
            "insert into staging.decided (origin, fate, row_id, transaction_key, batch_id, order_id, invoice_date,"
            " stock_code, product_sk, quantity, unit_price, total_amount, customer_id, country_id)"
            " values ('N', 'FACT', 70, 'NEW', 'b', 'O', '2011-01-01', 'A', 1, 1, 1.5, 1.5, 'C9', 'GB'),"
            " ('T', 'FACT', 71, 'T1', 'b', 'O', '2011-01-01', 'A', 2, 1, 2, 2, 'C9', 'GB')"
        )
        cursor.execute(
            "insert into staging.decided (origin, fate, row_id, batch_id, reason, detail, source_file)"
            " values ('N', 'ERROR', 72, 'b', 'MALFORMED', 'x', 'f')"
        )
        cursor.execute("call ops.find_contested('decided_x')")
        cursor.execute("select facts, errors, repriced from ops.settle('x')")
        assert cursor.fetchall() == [(1, 1, 1)]
        cursor.execute("select count(*) from fact_transactions")
        assert cursor.fetchall() == [(402,)]
        cursor.execute("select count(*) from transactions_error")
        assert cursor.fetchall() == [(10,)]
        cursor.execute("select customer_id, lines from ops.sales_by_buyer order by 1")
        assert cursor.fetchall() == [("C1", 200), ("C2", 199), ("C9", 2)]
    connection.rollback()
    connection.close()


def test_a_shopper_sees_the_own_purchases_and_where_they_stand(people, shopper):
    become(shopper, "C1")
    bought = query(shopper, "select * from shop.purchase_history")
    assert len(bought) == 200
    assert [row for row in bought if row[1] == "T2"] == people.rows(
        "select 'O2', 'T2', timestamp '2011-01-01 02:00', 'A', 'Apple', 'Fruit', 1, 1.5, 1.5, 'GB'"
    )
    tracked = query(shopper, "select * from shop.transaction_tracking")
    assert sum(row[-1] == "confirmed" for row in tracked) == 200
    assert sorted(map(str, [row for row in tracked if row[-1] != "confirmed"])) == sorted(
        map(
            str,
            people.rows(
                "select 'O1', 'E1', timestamp '2011-01-05 10:00', 'Z', 2, 'being verified'"
                " union all select 'O2', null, null, 'Z', null, 'being verified'"
            ),
        )
    )


@pytest.mark.parametrize("customer", [None, "", " ", "C", "c1", "C1 ", "%", "C1' or '1'='1", "'; select 1; --", "NULL"])
def test_what_is_no_customer_sees_nothing(shopper, customer):
    if customer is not None:
        become(shopper, customer)
    assert query(shopper, "select * from shop.purchase_history") == []
    assert query(shopper, "select * from shop.transaction_tracking") == []


def test_another_id_sees_that_customer_and_nobody_else(shopper):
    become(shopper, "C2")
    orders = {row[1] for row in query(shopper, "select * from shop.transaction_tracking")}
    assert orders == {f"T{n}" for n in range(1, 400, 2)} | {"E6"}
    query(shopper, "reset app.customer_id")
    assert query(shopper, "select * from shop.transaction_tracking") == []


@pytest.mark.parametrize("view", ["purchase_history", "transaction_tracking"])
@pytest.mark.parametrize("off", ["", "indexscan bitmapscan", "nestloop", "hashjoin mergejoin", "seqscan", "material"])
@pytest.mark.parametrize("after", ["C2", "", "C1 "])
def test_a_cursor_that_was_opened_for_one_customer_gives_nothing_to_the_next(shopper, view, off, after):
    shopper.autocommit = False
    become(shopper, "C1")
    for method in off.split():
        query(shopper, f"set enable_{method} = off")
    query(shopper, f"declare opened scroll cursor for select transaction_id, s.* from shop.{view} as s")
    assert query(shopper, "fetch 3 from opened")[0][0] in {f"T{n}" for n in range(2, 401, 2)}
    become(shopper, after)
    mine = {f"T{n}" for n in range(2, 401, 2)} | {"E1", None}
    for fetch in ("all", "backward all", "first", "absolute 2", "last"):
        assert not mine & {row[0] for row in query(shopper, f"fetch {fetch} from opened")}, fetch


def test_the_setting_of_a_transaction_and_its_cursors_end_with_it(shopper):
    shopper.autocommit = False
    query(shopper, "select set_config('app.customer_id', 'C1', true)")
    query(shopper, "declare sorted cursor for select * from shop.purchase_history order by order_id")
    assert len(query(shopper, "fetch 3 from sorted")) == 3
    shopper.commit()
    assert query(shopper, "select * from shop.purchase_history") == []
    with pytest.raises(psycopg2.Error, match='cursor "sorted" does not exist'):
        query(shopper, "fetch all from sorted")


def test_discard_all_leaves_nothing_for_the_next_user_of_a_connection(shopper):
    become(shopper, "C1")
    query(shopper, "declare held cursor with hold for select * from shop.purchase_history")
    query(shopper, "prepare mine as select * from shop.purchase_history")
    query(shopper, "discard all")
    assert query(shopper, "select * from shop.purchase_history") == query(shopper, "select * from pg_cursors") == []


def test_a_plan_that_was_prepared_for_one_customer_serves_the_next(shopper):
    query(shopper, "set plan_cache_mode = force_generic_plan")
    query(shopper, "prepare mine as select count(*), min(transaction_id) from shop.purchase_history")
    for customer, wanted in (("C1", (200, "T10")), ("C2", (200, "T1")), ("", (0, None))):
        become(shopper, customer)
        assert query(shopper, "execute mine") == [wanted]


def test_functions_and_errors_in_a_condition_meet_the_own_rows_only(people, shopper):
    people.do(
        "create schema loose",
        "create function loose.tell(text) returns boolean language plpgsql cost 0.0001 as"
        " $$ begin raise notice 'saw %', $1; return true; end $$",
        "grant usage on schema loose to shop_app",
        "grant execute on function loose.tell to shop_app",
    )
    try:
        become(shopper, "C1")
        for view in ("purchase_history", "transaction_tracking"):
            del shopper.notices[:]
            query(shopper, f"select * from shop.{view} where loose.tell(transaction_id)")
            saw = {notice.split()[2] for notice in shopper.notices}
            assert "T400" in saw and saw <= {f"T{n}" for n in range(2, 401, 2)} | {"E1", "<NULL>"}
            with pytest.raises(psycopg2.Error, match=r'"T\d*[02468]"'):
                query(shopper, f"select * from shop.{view} where transaction_id::int > 0")
            become(shopper, "nobody")
            assert query(shopper, f"select * from shop.{view} where transaction_id::int > 0") == []
            become(shopper, "C1")
    finally:
        people.do("drop schema loose cascade")


def test_the_statistics_of_the_planner_show_a_shopper_nobody(people, shopper):
    assert people.rows("select count(*) > 5 from pg_stats where tablename = 'fact_transactions'") == [(True,)]
    become(shopper, "C1")
    seen = query(shopper, "select distinct tablename from pg_stats where schemaname in ('public', 'ops', 'shop', 'bi')")
    assert seen == [("dim_products",)]
    assert query(shopper, "select * from pg_stats_ext") == query(shopper, "select * from pg_stats_ext_exprs") == []


def test_a_shopper_cannot_switch_row_level_security_off(shopper):
    become(shopper, "C1")
    query(shopper, "set row_security = off")
    for view in ("purchase_history", "transaction_tracking"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="would be affected by row-level security"):
            query(shopper, f"select * from shop.{view}")


def test_without_the_second_question_row_level_security_alone_keeps_customers_apart(people, shopper):
    people.do(
        "create view shop.careless with (security_invoker) as select customer_id from fact_transactions",
        "create view shop.careless_too with (security_invoker) as select status from transactions_error",
        "grant select on shop.careless, shop.careless_too to shop_app",
    )
    try:
        become(shopper, "C1")
        assert {row[0] for row in query(shopper, "select * from shop.careless")} == {"C1"}
        assert len(query(shopper, "select * from shop.careless_too")) == 6
        become(shopper, "")
        assert query(shopper, "select * from shop.careless") == query(shopper, "select * from shop.careless_too") == []
    finally:
        people.do("drop view shop.careless, shop.careless_too")


def test_a_verdict_names_the_person_and_not_the_group(people):
    people.do(
        "insert into product_baselines (median_qty, order_count, period_start, period_end, method, level, p99_qty)"
        " values (1, 1, '2010-01-01', '2011-01-01', 'zscore', 'shop', 1)",
        "insert into anomalies (transaction_id, order_id, stock_code, quantity, median_qty, z_score, country_id,"
        " invoice_date, tier, baseline_id)"
        " select 'T1', 'O1', 'A', 9, 1, 9, 'GB', '2011-01-01', 'critical', max(baseline_id) from product_baselines",
    )
    connection = people.connect("a_steward")
    query(connection, "set role steward")
    [(case,)] = query(connection, "select max(anomaly_id) from anomalies")
    query(connection, f"select review_anomaly({case}, 'REVIEWED')")
    assert query(connection, "select changed_by, to_status from anomaly_audit") == [("a_steward", "REVIEWED")]
    connection.close()


def test_a_steward_uses_the_commands_with_a_login_of_his_own(people, monkeypatch, capsys, tmp_path):
    """No password in the URL: libpq takes it from where every client of Postgres does."""
    with people.admin:
        ledger.move_watermark(people.admin, "init", init_warehouse.fingerprint())
    server = urlsplit(people.url)
    monkeypatch.setenv("GOLD_URL", f"postgresql://a_steward@{server.hostname}:{server.port}/{DATABASE}")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("WAREHOUSE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def told(*arguments: str, code: int = 0) -> Any:
        assert cli.main(arguments) == code
        return capsys.readouterr()

    assert "UNKNOWN_PRODUCT" in told("errors", "list").out
    assert "error 7: discarded" in told("errors", "discard", "7", "--notes", "a test order").out
    assert "resolved_by: a_steward" in told("errors", "show", "7").out
    assert "corrected" in told("errors", "correct", "6", "stock_code=A").out
    told("anomalies", "list")
    for job in ("status", "gold"):
        refused = told(job, code=1)
        assert refused.out == "" and "The login of GOLD_URL may not do this" in refused.err
        assert len(refused.err.splitlines()) == 1


def test_gold_needs_no_superuser(people):
    """As on a managed Postgres: the owner of Gold is bound by row-level security like anybody else."""
    people.do(f"create role manager login createrole password '{PASSWORD}'")
    with people._server() as cursor:
        cursor.execute("create database managed owner manager")
    try:
        connection = psycopg2.connect(people.url, dbname="managed", user="manager", password=PASSWORD)
        with connection, connection.cursor() as cursor:
            cursor.execute(gold.script("init_gold.sql"))
            cursor.execute(gold.script("init_gold.sql"))
            cursor.execute(FILL)
            cursor.execute("call ops.rebuild_summaries()")
        assert query(connection, "select revenue, customers from bi.revenue_by_month") == [(601.5, 2)]
        assert query(connection, "select bi.price_on('A', '2011-01-01')") == [(1.5,)]
        connection.close()
    finally:
        with people._server() as cursor:
            cursor.execute("drop database managed with (force)")
            cursor.execute("drop role manager")
