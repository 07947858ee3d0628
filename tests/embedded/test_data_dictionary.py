"""docs/data-dictionary.md is what the catalogs say, and they explain everything."""

import pytest

from scripts.data_dictionary import FILE, dictionary, gold_relations, lake_relations, without_comment
from warehouse import lake


@pytest.fixture
def context(warehouse):
    context = warehouse.context()
    yield context
    context.close()


def test_the_data_dictionary_is_what_the_script_makes_of_a_new_warehouse(context):
    made = dictionary(context)
    assert FILE.read_text(encoding="utf-8") == made, "run `python -m scripts.data_dictionary`"


def test_every_table_view_and_column_of_gold_has_a_comment(context):
    relations = gold_relations(context)
    assert without_comment(relations) == []
    names = {relation.name for relation in relations}
    assert {"public.fact_transactions", "public.transactions_error", "ops.etl_runs", "ops.star_feed"} <= names


def test_every_table_and_column_of_the_lake_has_a_comment(context):
    relations = lake_relations(context)
    assert without_comment(relations) == []
    assert [relation.name for relation in relations] == [
        f"{namespace}.{table}" for namespace, tables in lake.TABLES.items() for table in tables
    ]


def test_a_comment_that_is_missing_is_found(context):
    with context.connect(admin=True) as connection, connection.cursor() as cursor:
        cursor.execute("create table ops.unexplained (known int, unknown int)")
        cursor.execute("comment on column ops.unexplained.known is 'Known.'")
    connection.close()
    assert without_comment(gold_relations(context)) == ["ops.unexplained", "ops.unexplained.unknown"]
