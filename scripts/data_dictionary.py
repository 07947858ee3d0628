"""Write docs/data-dictionary.md: every table, view and column of Gold and the lake, from their comments.

    python -m scripts.data_dictionary            write the file
    python -m scripts.data_dictionary --print    print it

It creates a warehouse of its own in a temporary folder, reads the catalogs and removes it.
"""

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from jobs import init_warehouse
from warehouse import embedded, lake
from warehouse.config import PROJECT, load
from warehouse.session import CATALOG, GOLD_DATABASE, Context

FILE = PROJECT / "docs" / "data-dictionary.md"
SCHEMAS = ("public", "ops", "bi", "shop")

_INTRODUCTION = """\
# Data dictionary

Made by `python -m scripts.data_dictionary` from the comments in `postgres/` and `hive/`: change a
comment there and run it again. Times named `*_at` are instants; `invoice_date` and dates are UTC;
money is GBP.
"""

# a returned row is a column, with its relation
_GOLD = """
with keys as (
    select
        k.conrelid,
        u.attnum,
        string_agg(
            case k.contype when 'p' then 'primary' when 'u' then 'unique' else 'to ' || k.confrelid::regclass::text end
            || case when cardinality(k.conkey) > 1 then ' ' || u.position || '/' || cardinality(k.conkey) else '' end,
            ', ' order by k.contype <> 'p', k.conname
        ) as key
    from pg_constraint as k
    cross join lateral unnest(k.conkey) with ordinality as u (attnum, position)
    where k.contype in ('p', 'u', 'f')
    group by k.conrelid, u.attnum
)

select
    n.nspname || '.' || c.relname as relation,
    case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end as kind,
    coalesce(obj_description(c.oid, 'pg_class'), '') as about,
    a.attname as name,
    format_type(a.atttypid, a.atttypmod) as type,
    not a.attnotnull as nullable,
    coalesce(k.key, '') as key,
    coalesce(col_description(c.oid, a.attnum), '') as comment
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
inner join pg_attribute as a on c.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
left join keys as k on c.oid = k.conrelid and a.attnum = k.attnum
where c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition and n.nspname = any(%s)
order by array_position(%s, n.nspname::text), c.relkind in ('v', 'm'), c.relname, a.attnum
"""


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    nullable: bool
    key: str
    comment: str


@dataclass(frozen=True)
class Relation:
    """A table or view; `about` is its comment."""

    name: str
    kind: str
    about: str
    columns: tuple[Column, ...]


def gold_relations(context: Context) -> list[Relation]:
    """The tables and views of Gold, from pg_catalog."""
    with closing(context.connect(admin=True)) as connection, connection.cursor() as cursor:
        cursor.execute(_GOLD, (list(SCHEMAS), list(SCHEMAS)))
        rows = cursor.fetchall()
    columns: dict[tuple[str, str, str], list[Column]] = {}
    for relation, kind, about, *column in rows:
        columns.setdefault((relation, kind, about), []).append(Column(*column))
    return [Relation(*relation, tuple(its)) for relation, its in columns.items()]


def lake_relations(context: Context) -> list[Relation]:
    """The Iceberg tables, as their catalog describes them."""
    return [
        _iceberg_table(context, f"{namespace}.{table}") for namespace, tables in lake.TABLES.items() for table in tables
    ]


def _iceberg_table(context: Context, name: str) -> Relation:
    spark, table = context.spark, f"{CATALOG}.{name}"
    described = [(row["col_name"], row["data_type"]) for row in spark.sql(f"describe table extended {table}").collect()]
    partitions = [what for part, what in described if part.startswith("Part ")]
    about = next((what for part, what in reversed(described) if part == "Comment"), "")
    columns = tuple(
        Column(
            field.name,
            field.dataType.simpleString(),
            field.nullable,
            "",
            field.metadata.get("comment", ""),
        )
        for field in spark.read.table(table).schema
    )
    kind = f"table, partitioned by {', '.join(partitions)}" if partitions else "table"
    return Relation(name, kind, about, columns)


def without_comment(relations: Iterable[Relation]) -> list[str]:
    """What of these relations nobody has explained."""
    return [
        name
        for relation in relations
        for name, comment in [
            (relation.name, relation.about),
            *[(f"{relation.name}.{column.name}", column.comment) for column in relation.columns],
        ]
        if not comment.strip()
    ]


def dictionary(context: Context) -> str:
    """The whole document, from a live warehouse."""
    sections = [
        (f"Gold: Postgres database `{GOLD_DATABASE}`", gold_relations(context)),
        ("Lake: Iceberg tables", lake_relations(context)),
    ]
    parts = [_INTRODUCTION]
    for title, relations in sections:
        parts.append(f"\n## {title}\n")
        for relation in relations:
            parts += _described(relation)
    return "".join(parts)


def _described(relation: Relation) -> Iterator[str]:
    yield f"\n### {relation.name}\n\n{_text(relation.about)} ({relation.kind})\n\n"
    keyed = any(column.key for column in relation.columns)
    yield from _line(["column", "type", "null", *(["key"] if keyed else []), "meaning"])
    yield from _line(["---"] * (5 if keyed else 4))
    for column in relation.columns:
        key = [column.key] if keyed else []
        null = "yes" if column.nullable else "no"
        if relation.kind.endswith("view"):
            null = ""
        yield from _line([f"`{column.name}`", column.type, null, *key, _text(column.comment)])


def _line(cells: Sequence[str]) -> Iterator[str]:
    yield "| " + " | ".join(cells) + " |\n"


def _text(comment: str) -> str:
    """A comment as text of a Markdown table."""
    text = " ".join(comment.split()).replace("\\", "\\\\")
    for character in "|<*":
        text = text.replace(character, f"\\{character}")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="data_dictionary", description="Write docs/data-dictionary.md.")
    parser.add_argument("--print", action="store_true", help="print it instead")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        environment = {
            "WAREHOUSE_HOME": str(home),
            "SPARK_MASTER": "local[1]",
            "WAREHOUSE_SPARK_OPTIONS": "spark.driver.memory=1g",
        }
        context = Context(load(environment, home))
        try:
            init_warehouse.run(context)
            text = dictionary(context)
        finally:
            context.close()
            embedded.stop_gold(home)
    if options.print:
        print(text, end="")
    else:
        FILE.write_text(text, encoding="utf-8")
        print(f"{FILE.relative_to(PROJECT)} written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
