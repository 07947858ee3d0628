"""Create or upgrade Gold, Bronze and the star schema; destroy only when told to."""

import zlib
from pathlib import Path

from warehouse import gold, lake, ledger
from warehouse.ledger import Outcome
from warehouse.session import Context


def run(context: Context, reset: bool = False) -> Outcome:
    scheme, _, path = context.config.landing_uri.rpartition("://")
    if scheme in ("", "file"):
        landing = Path(path.removeprefix("file:"))
        for source in context.config.sources:
            (landing / source).mkdir(parents=True, exist_ok=True)
    gold.create(context)
    if reset:
        lake.drop(context.spark)
        gold.drop(context)
        gold.create(context)
    lake.create(context.spark)
    ledger.move_watermark(context.gold, "init", fingerprint())
    context.gold.commit()
    return Outcome("init", "dropped and created" if reset else "created or upgraded")


def fingerprint() -> int:
    """Tells the scripts that made a warehouse from those of another version."""
    return zlib.crc32((gold.script("init_gold.sql") + lake.SCRIPT.read_text(encoding="utf-8")).encode())


if __name__ == "__main__":
    from warehouse.cli import job_main

    raise SystemExit(job_main("init"))
