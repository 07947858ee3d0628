"""Back up Gold and the lake's catalog as they fit each other, while no job writes."""

from warehouse import backups, ledger
from warehouse.ledger import Outcome, counted
from warehouse.session import Context


def run(context: Context) -> Outcome:
    with ledger.job(context, "backup", apart_from=backups.WRITERS) as outcome:
        made = backups.make(context)
        removed = backups.remove_old(context)
        sizes = {name: made.manifest["files"][name]["bytes"] for name in ("gold.dump", "metastore.dump")}
        outcome.numbers |= {"backup": made.name, "bytes": sum(sizes.values()), "removed": removed}
        outcome.line = f"{made.name}, " + ", ".join(f"{name} {_megabytes(size)}" for name, size in sizes.items())
        outcome.line += f"; {counted(removed, 'old one')} removed" if removed else ""
    return outcome


def pending(context: Context) -> Outcome:
    """What `run` would do; nothing is written, and nobody waits."""
    databases = [backups.gold_database(context), backups.catalog_database(context)]
    parts = [f"{database.name} ({_megabytes(database.size())} in Postgres)" for database in databases]
    removed = max(len(backups.existing(context)) + 1 - context.config.backups_kept, 0)
    line = f"would dump {' and '.join(parts)} to {context.config.backups}"
    return Outcome("backup", line + (f" and remove {counted(removed, 'old back-up')}" if removed else ""))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("backup"))
