"""Create or upgrade Gold, Bronze and the star schema; destroy only when told to."""

import zlib

from warehouse import gold, lake, ledger, monitor
from warehouse.ledger import Outcome
from warehouse.session import Context


def run(context: Context, reset: bool = False) -> Outcome:
    gold.create_databases(context)
    if reset:
        lake.drop(context.spark)
        gold.drop(context)
    gold.create(context)
    found = lake.create(context.spark)
    for source in context.config.sources:
        lake.make_folder(context.spark, f"{context.config.landing_uri}/{source}")
    ledger.move_watermark(context.gold, "init", fingerprint())
    monitor.follow_rules(context)
    line = "dropped and created" if reset else "created or upgraded"
    return Outcome("init", f"{line}; the catalog had lost {', '.join(found)}, and has them again" if found else line)


def fingerprint() -> int:
    """Tells the scripts that made a warehouse from those of another version."""
    return zlib.crc32((gold.script("init_gold.sql") + lake.SCRIPT.read_text(encoding="utf-8")).encode())


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("init"))
