"""One landing file: what its bytes become, row by row, and for what it is refused."""

import contextlib
import csv
import gzip
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warehouse.errors import Rejected
from warehouse.parsing import Column, Parsed, check_snapshot, complain, decode, parse

TWO = (Column("id", "code", True), Column("note", "text", False))
PRODUCTS = (
    Column("stock_code", "code", True),
    Column("description", "text", True),
    Column("category", "text", False),
    Column("unit_price", "money", True),
    Column("stock_quantity", "integer", False),
)
PRODUCT_HEADER = "stock_code,description,category,unit_price,stock_quantity\n"


def rows(text: str, columns: tuple[Column, ...] = TWO) -> list[tuple[str | None, ...]]:
    """The values of a text's rows, none of which has a problem."""
    parsed = parse(text, columns)
    assert set(parsed.problems) <= {None}
    return list(zip(*parsed.values, strict=True))


def records(text: str) -> list[tuple[int, str | None, str]]:
    """Line, problem and text of each record of a file of two columns."""
    parsed = parse(text, TWO)
    return list(zip(parsed.lines, parsed.problems, parsed.records, strict=True))


def refusal(text: str, columns: tuple[Column, ...] = TWO) -> tuple[str, str]:
    with pytest.raises(Rejected) as refused:
        parse(text, columns)
    return refused.value.reason, refused.value.detail


def undecodable(data: bytes, compressed: bool = False, limit: int = 1 << 20) -> tuple[str, str]:
    with pytest.raises(Rejected) as refused:
        decode(data, compressed, limit)
    return refused.value.reason, refused.value.detail


# --- Bytes ---


def test_plain_utf8_is_read_as_it_is():
    assert decode("id,note\n1,Käse ☃\n".encode(), False) == "id,note\n1,Käse ☃\n"


def test_a_byte_order_mark_is_no_part_of_the_first_column_name():
    assert decode(b"\xef\xbb\xbfid,note\n", False) == "id,note\n"


def test_a_compressed_file_is_read_like_a_plain_one():
    assert decode(gzip.compress(b"\xef\xbb\xbfid,note\n1,a\n"), True) == "id,note\n1,a\n"


def test_a_compressed_file_counts_as_large_as_it_unpacks_to():
    text = b"id,note\n1," + b"a" * 90
    assert decode(gzip.compress(text), True, len(text)).encode() == text
    assert undecodable(gzip.compress(text), True, len(text) - 1) == (
        "TOO_LARGE",
        f"over {len(text) - 1} bytes when unpacked",
    )


def test_a_compressed_file_in_several_members_is_read_whole():
    assert decode(gzip.compress(b"id,note\n") + gzip.compress(b"1,a\n"), True) == "id,note\n1,a\n"


@pytest.mark.parametrize(
    "data",
    [
        b"id,note\n1,a\n",
        gzip.compress(b"id,note\n1,a\n", mtime=0)[:-9],
        gzip.compress(b"id,note\n1,a\n", mtime=0)[:12],
        gzip.compress(b"id,note\n1,a\n", mtime=0)[:-8] + b"\0\0\0\0\0\0\0\0",
        gzip.compress(b"id,note\n1,a\n", mtime=0) + b"more",
        b"\x1f\x8b",
    ],
    ids=["not compressed", "cut short", "cut in the header", "wrong checksum", "bytes after the end", "two bytes"],
)
def test_broken_compression_refuses_the_file(data):
    assert undecodable(data, compressed=True)[0] == "BROKEN_GZIP"


@pytest.mark.parametrize(
    ("data", "line", "byte"),
    [
        (b"\xe9,note\n1,a\n", 1, "0xe9"),
        (b"id,note\n1,a\n2,caf\xe9\n", 3, "0xe9"),
        (b"id,note\r\n1,a\r\n2,caf\xe9\r\n", 3, "0xe9"),
        (b"id,note\r1,a\r2,caf\xe9\r", 3, "0xe9"),
        (b"\xef\xbb\xbfid,note\n1,a\n\xe9,b\n", 3, "0xe9"),
        (b"\xef\xbb\xbfid,note\n1,a\n2,\xfcber\n", 3, "0xfc"),
        ("id,note\n1,a\n".encode("utf-16"), 1, "0xff"),
        ("id,note\n1,a\n".encode("utf-16-be") + b"\xe9", 3, "0xe9"),
        (b"id,note\n1,\xc3", 2, "0xc3"),
        (b"id,note\n1,\xed\xa0\x80\n", 2, "0xed"),
    ],
)
def test_a_wrong_encoding_is_told_with_its_line_and_byte(data, line, byte):
    assert undecodable(data) == ("WRONG_ENCODING", f"line {line} is not UTF-8 (byte {byte})")


def test_a_wrong_encoding_inside_a_compressed_file_is_told_with_its_line():
    assert undecodable(gzip.compress(b"id,note\n1,\xe9\n"), True) == (
        "WRONG_ENCODING",
        "line 2 is not UTF-8 (byte 0xe9)",
    )


@pytest.mark.parametrize("text", ["", "\n", "\r\n\r\n", " \t \n\n", "\ufeff", "\ufeff \n"])
def test_a_file_without_any_text_is_empty(text):
    assert undecodable(text.encode()) == ("EMPTY", "the file has no header line")
    assert undecodable(gzip.compress(text.encode()), True) == ("EMPTY", "the file has no header line")


def test_a_compressed_file_of_no_bytes_is_empty():
    assert undecodable(b"", compressed=True) == ("EMPTY", "the file has no header line")


# --- The header ---


def test_columns_are_found_by_name_in_any_order():
    assert rows("note,id\na,1\n") == [("1", "a")]


def test_spaces_around_a_column_name_do_not_matter():
    assert rows(" id ,\tnote\n1,a\n") == [("1", "a")]


def test_a_quoted_column_name_is_that_name():
    assert rows('"id","note"\n1,a\n') == [("1", "a")]


def test_unknown_columns_are_ignored_and_named():
    parsed = parse("extra,note,id,more\nx,a,1,y\n", TWO)
    assert list(parsed.unknown_columns) == ["extra", "more"]
    assert list(parsed.values) == [("1",), ("a",)]


def test_an_unknown_column_may_come_twice_or_without_a_name():
    assert rows("id,x,x,,note\n1,2,3,4,a\n") == [("1", "a")]


def test_a_column_that_may_be_left_out_reads_as_empty():
    assert rows("id\n1\n2\n") == [("1", None), ("2", None)]


def test_a_column_left_out_stays_empty_where_a_record_has_fields_too_many():
    parsed = parse("id,x\n1,2,3,4\n", TWO)
    assert list(parsed.values) == [("1",), (None,)]
    assert list(parsed.problems) == ["4 fields, not 2"]


def test_a_header_alone_is_a_file_of_no_rows():
    assert parse("id,note\n", TWO) == Parsed([], [], [], [(), ()], [])


def test_a_header_without_a_line_end_is_a_header():
    assert rows("id,note") == []


def test_blank_lines_above_the_header_are_passed_over():
    assert rows("\n  \n\r\nid,note\n1,a\n") == [("1", "a")]


@pytest.mark.parametrize(
    "text", ["1,a\n2,b\n", "ID,Note\n1,a\n", "id;note\n1;a\n", "id\tnote\n", '"id,note\n1,a\n', ""]
)
def test_a_first_line_that_names_no_column_is_no_header(text):
    assert refusal(text) == ("NO_HEADER", "the first line names none of id, note")


def test_a_known_column_named_twice_refuses_the_file():
    assert refusal("id,note,id,note\n1,a,2,b\n") == ("DUPLICATE_COLUMN", "id, note")


def test_a_required_column_that_is_missing_refuses_the_file():
    assert refusal("note\na\n") == ("MISSING_COLUMN", "id")
    assert refusal("category\nx\n", PRODUCTS) == ("MISSING_COLUMN", "stock_code, description, unit_price")


# --- Rows ---


def test_an_empty_field_is_none_quoted_or_not():
    assert rows('id,note\n1,\n2,""\n') == [("1", None), ("2", None)]


def test_outer_spaces_of_a_value_stay_as_landed():
    assert rows("id,note\n 1 , a \n") == [(" 1 ", " a ")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ('"a"', "a"),
        ('"a,b"', "a,b"),
        ('"a""b"', 'a"b'),
        ('""""', '"'),
        ('""""""', '""'),
        ('"a\nb"', "a\nb"),
        ('"a\r\nb"', "a\r\nb"),
        ('"a\rb"', "a\rb"),
        ('"\n\n"', "\n\n"),
        ('"  "', "  "),
        ('a"b', 'a"b'),
        ('a"b"', 'a"b"'),
        (' "a"', ' "a"'),
        ("'a'", "'a'"),
        ("a\\nb", "a\\nb"),
        ('"\\"', "\\"),
        ("a\u2028b\x85c\x0bd\x0ce\x1cf", "a\u2028b\x85c\x0bd\x0ce\x1cf"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_quoting_is_that_of_rfc_4180(field, value, end):
    assert rows(f"id,note\n1,{field}{end}") == [("1", value)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_will_do(end):
    text = end.join(["id,note", "1,a", "", "2,b", ""])
    assert rows(text) == [("1", "a"), ("2", "b")]
    assert list(parse(text, TWO).lines) == [2, 4]


def test_line_ends_may_be_mixed():
    assert records("id,note\r\n1,a\n2,b\r3,c") == [(2, None, "1,a\n"), (3, None, "2,b\r"), (4, None, "3,c")]


@pytest.mark.parametrize("blank", ["\n", "   \n", "\t\n", "\x0b\n", "\u3000\n"])
def test_a_blank_line_is_no_record(blank):
    assert records(f"id,note\n1,a\n{blank}2,b\n") == [(2, None, "1,a\n"), (4, None, "2,b\n")]


def test_a_line_of_empty_fields_is_a_record():
    assert rows('id,note\n,\n"",""\n') == [(None, None), (None, None)]


def test_a_quoted_nothing_is_a_record_even_where_there_is_one_column():
    assert rows('id\n""\n') == [(None, None)]


def test_a_record_over_several_lines_has_the_number_of_its_first():
    assert records('id,note\n1,"a\n\nb"\n2,c\n') == [(2, None, '1,"a\n\nb"\n'), (5, None, "2,c\n")]


@pytest.mark.parametrize(("record", "count"), [("1", 1), ("1,a,b", 3), ("1,a,", 3), ('"1,a"', 1)])
def test_fields_too_many_or_too_few_are_a_problem_of_the_row_alone(record, count):
    assert records(f"id,note\n{record}\n2,b\n") == [
        (2, f"{count} fields, not 2", f"{record}\n"),
        (3, None, "2,b\n"),
    ]


def test_the_fields_that_are_there_are_kept_where_their_number_is_wrong():
    assert list(parse("id,note\n1\n2,b,c\n", TWO).values) == [("1", "2"), (None, "b")]


@pytest.mark.parametrize("record", ['1,"a"b', '"1"x,a', '"1" ,a', '1,"a""b"c', '1,"never closed'])
def test_broken_quoting_is_a_problem_of_its_line_alone(record):
    text = f"id,note\n0,z\n{record}\n2,b\n3,c\n"
    assert records(text) == [
        (2, None, "0,z\n"),
        (3, "a quote is opened or closed in the wrong place", f"{record}\n"),
        (4, None, "2,b\n"),
        (5, None, "3,c\n"),
    ]
    assert list(parse(text, TWO).values) == [("0", None, "2", "3"), ("z", None, "b", "c")]


def test_a_quote_never_closed_on_the_last_line_is_a_problem_of_that_line():
    assert records('id,note\n1,a\n2,"b') == [
        (2, None, "1,a\n"),
        (3, "a quote is opened or closed in the wrong place", '2,"b'),
    ]


def test_quoting_broken_far_down_sends_the_reader_back_to_the_line_after_the_opening():
    problem = "a quote is opened or closed in the wrong place"
    assert records('id,note\n1,"a\n2,b\n3,"c"\n4,d\n') == [
        (2, problem, '1,"a\n'),
        (3, None, "2,b\n"),
        (4, None, '3,"c"\n'),
        (5, None, "4,d\n"),
    ]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("line", ['1,"a\n', 'a","b\n', 'a",b,"c\n'])
def test_the_time_for_broken_lines_grows_with_their_number_and_not_its_square(line):
    text = "id,note\n" + line * 100_001
    assert sum(problem is not None for problem in parse(text, TWO).problems) == 100_001


def test_a_nul_character_is_a_problem_of_the_row_whose_values_are_kept():
    parsed = parse("id,note\n1,a\0b\n2,b\n", TWO)
    assert list(parsed.problems) == ["the record has a NUL character", None]
    assert list(parsed.values) == [("1", "2"), ("a\0b", "b")]


def test_a_field_of_many_megabytes_is_one_field():
    huge = "x" * 20_000_000
    assert rows(f"id,note\n1,{huge}\n") == [("1", huge)]
    assert rows(f'id,note\n1,"{huge}"\n') == [("1", huge)]


# --- Promises for any text ---

line_parts = st.sampled_from(['"', ",", "\n", "\r", "\r\n", "\0", " ", "a", "1", "é", "\x85", "\u2028", "id", '""'])
messy = st.one_of(st.text(), st.lists(line_parts).map("".join))


def csv_text(table: list[list[str]], **dialect: object) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, **dialect).writerows(table)  # type: ignore[arg-type]
    return out.getvalue()


@given(
    st.lists(st.lists(messy.filter(lambda text: "\0" not in text), min_size=5, max_size=5)),
    st.permutations([column.name for column in PRODUCTS]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_a_csv_writer_wrote_comes_back_exactly(table, header, quoting):
    order = [header.index(column.name) for column in PRODUCTS]
    assert rows(csv_text([header, *table], quoting=quoting), PRODUCTS) == [
        tuple(row[i] or None for i in order) for row in table
    ]


@given(messy)
@example("")
@example("\0")
@example("\ufeff")
def test_no_text_makes_the_parser_fail_otherwise_than_by_a_refusal(text):
    for whole in (text, "id,note\n" + text):
        try:
            parsed = parse(whole, TWO)
            check_snapshot(parsed, TWO, "id")
        except Rejected:
            pass


@given(st.one_of(st.binary(), messy.map(str.encode)), st.booleans())
def test_no_bytes_make_the_decoder_fail_otherwise_than_by_a_refusal(data, compressed):
    with contextlib.suppress(Rejected):
        assert decode(data, compressed).strip()


@given(messy)
@example('1,"a\n2,"b"x\n\n3,c')
@example('1,"a\r\n\r\n')
def test_every_line_below_the_header_is_in_a_record_or_blank(text):
    parsed = parse("id,note\n" + text, TWO)
    lines = list(io.StringIO(text, newline=""))
    following = 0
    for line, record in zip(parsed.lines, parsed.records, strict=True):
        start = line - 2
        assert all(not blank.strip() for blank in lines[following:start])
        following = start + len(list(io.StringIO(record, newline="")))
        assert record == "".join(lines[start:following])
    assert all(not blank.strip() for blank in lines[following:])


# --- Snapshots ---


def complaint(*lines: str, columns: tuple[Column, ...] = PRODUCTS, header: str = PRODUCT_HEADER) -> tuple[str, str]:
    with pytest.raises(Rejected) as refused:
        check_snapshot(parse(header + "".join(f"{line}\n" for line in lines), columns), columns, columns[0].name)
    return refused.value.reason, refused.value.detail


@pytest.mark.parametrize(
    "line",
    [
        "A,Apple,Fruit,10.5,5",
        "A,Apple,,0,",
        "A,Apple,Fruit,+10,+5",
        "A,Apple,Fruit,-0,-5",
        "A,Apple,Fruit,99999999.9999,2147483647",
        "A,Apple,Fruit,000000000001.50000,-2147483648",
        'A,"<b>Apple</b>",=1+1,1,1',
    ],
)
def test_a_whole_snapshot_is_accepted(line):
    check_snapshot(parse(f"{PRODUCT_HEADER}{line}\n", PRODUCTS), PRODUCTS, "stock_code")


def test_a_snapshot_without_rows_is_whole():
    check_snapshot(parse(PRODUCT_HEADER, PRODUCTS), PRODUCTS, "stock_code")


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (",Apple,,1,", "line 2 (no stock_code): stock_code is empty"),
        ("\u00a0 ,Apple,,1,", "line 2 (no stock_code): stock_code is empty"),
        ("A,,,1,", "line 2 (A): description is empty"),
        ("A, ,,1,", "line 2 (A): description is empty"),
        (" A ,,,1,", "line 2 (A): description is empty"),
        ("A,Apple,,,", "line 2 (A): unit_price is empty"),
        ("A,Apple,,ten,", "line 2 (A): unit_price 'ten' is not a decimal number"),
        ("A,Apple,,1e3,", "line 2 (A): unit_price '1e3' is not a decimal number"),
        ("A,Apple,,NaN,", "line 2 (A): unit_price 'NaN' is not a decimal number"),
        ("A,Apple,,1.,", "line 2 (A): unit_price '1.' is not a decimal number"),
        ("A,Apple,, 1,", "line 2 (A): unit_price ' 1' is not a decimal number"),
        ("A,Apple,,١,", "line 2 (A): unit_price '١' is not a decimal number"),
        ('A,Apple,,"1,5",', "line 2 (A): unit_price '1,5' is not a decimal number"),
        ("A,Apple,,1.00001,", "line 2 (A): unit_price '1.00001' does not fit DECIMAL(12,4)"),
        ("A,Apple,,100000000,", "line 2 (A): unit_price '100000000' does not fit DECIMAL(12,4)"),
        (f"A,Apple,,{'9' * 70},", f"line 2 (A): unit_price '{'9' * 60}…' does not fit DECIMAL(12,4)"),
        ("A,Apple,,1,many", "line 2 (A): stock_quantity 'many' is not a whole number of 32 bits"),
        ("A,Apple,,1,1.0", "line 2 (A): stock_quantity '1.0' is not a whole number of 32 bits"),
        ("A,Apple,,1,2147483648", "line 2 (A): stock_quantity '2147483648' is not a whole number of 32 bits"),
        ("A,Apple,,1,-2147483649", "line 2 (A): stock_quantity '-2147483649' is not a whole number of 32 bits"),
        (f"A,Apple,,1,{'9' * 5000}", f"line 2 (A): stock_quantity '{'9' * 60}…' is not a whole number of 32 bits"),
        ("A,Apple,,1", "line 2 (A): 4 fields, not 5"),
        ("A,Apple,,1,5,6", "line 2 (A): 6 fields, not 5"),
        ('A,"Apple"s,,1,5', "line 2 (no stock_code): a quote is opened or closed in the wrong place"),
        ("A,App\0le,,1,5", "line 2 (A): the record has a NUL character"),
        (",,,ten,", "line 2 (no stock_code): stock_code is empty; line 2 (no stock_code): description is empty; "
         "line 2 (no stock_code): unit_price 'ten' is not a decimal number"),
    ],
)  # fmt: skip
def test_a_row_that_does_not_parse_refuses_the_snapshot_with_line_and_key(line, detail):
    assert complaint(line) == ("BAD_ROWS", detail)


@pytest.mark.parametrize(
    ("type", "value", "good"),
    [
        ("latitude", "90", True),
        ("latitude", "-90.0", True),
        ("latitude", "90.1", False),
        ("latitude", "north", False),
        ("latitude", "inf", False),
        ("latitude", "9" * 400, False),
        ("longitude", "-180", True),
        ("longitude", "180.01", False),
        ("longitude", None, True),
    ],
)
def test_degrees_are_numbers_within_their_bounds(type, value, good):
    shown = value if value is None or len(value) <= 60 else value[:60] + "…"
    expected = None if good else f"place '{shown}' is not a number of degrees"
    assert complain(Column("place", type, False), value) == expected


def test_a_key_twice_refuses_the_snapshot_with_key_and_lines():
    assert complaint("A,Apple,,1,", "B,Beer,,2,", "A,Apricot,,3,", "A,Ale,,3,") == (
        "DUPLICATE_KEY",
        "A on lines 2 and 4; A on lines 2 and 5",
    )


def test_keys_that_differ_in_outer_spaces_alone_are_one_key():
    assert complaint("A,Apple,,1,", "\u3000A\u00a0,Apricot,,3,") == ("DUPLICATE_KEY", "A on lines 2 and 3")


def test_keys_that_differ_in_case_are_two_keys():
    check_snapshot(parse(PRODUCT_HEADER + "85123a,x,,1,\n85123A,y,,1,\n", PRODUCTS), PRODUCTS, "stock_code")


def test_a_negative_price_refuses_the_snapshot_with_line_and_key():
    assert complaint("A,Apple,,1,", "B,Beer,,-0.0001,") == ("NEGATIVE_PRICE", "line 3 (B): unit_price -0.0001")


def test_rows_that_do_not_parse_are_told_before_keys_and_prices():
    assert complaint("A,Apple,,-1,", "A,Apple,,1,", "B,,,1,") == ("BAD_ROWS", "line 4 (B): description is empty")
    assert complaint("A,Apple,,-1,", "A,Apple,,1,") == ("DUPLICATE_KEY", "A on lines 2 and 3")


def test_ten_complaints_are_shown_and_the_others_counted():
    lines = [f"P{i},,,1," for i in range(1, 13)]
    shown = [f"line {i + 1} (P{i}): description is empty" for i in range(1, 11)]
    assert complaint(*lines) == ("BAD_ROWS", "; ".join([*shown, "and 2 more"]))
    assert complaint(*lines[:10]) == ("BAD_ROWS", "; ".join(shown))
