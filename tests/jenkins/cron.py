"""Jenkins' cron lines, as far as this project uses them: TZ=, numbers, ranges, steps, lists."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

FIELDS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
# all clocks of the world change, and differ from UTC, by multiples of this
BLOCK = timedelta(minutes=15)


@dataclass(frozen=True)
class Schedule:
    """When a trigger fires: at each minute whose reading in the zone is in all five sets. Unlike in other crons,
    both day and weekday have to be."""

    zone: ZoneInfo
    minute: frozenset[int]
    hour: frozenset[int]
    day: frozenset[int]
    month: frozenset[int]
    weekday: frozenset[int]  # 0 is Sunday

    def times(self, year: int) -> list[datetime]:
        """Every time of a year (of UTC) at which it fires, in UTC."""
        found = []
        block = datetime(year, 1, 1, tzinfo=UTC)
        while block.year == year:
            here = block.astimezone(self.zone)
            if (
                here.hour in self.hour
                and here.day in self.day
                and here.month in self.month
                and here.isoweekday() % 7 in self.weekday
            ):
                found += [
                    block + timedelta(minutes=minute - here.minute)
                    for minute in sorted(self.minute)
                    if here.minute <= minute < here.minute + 15
                ]
            block += BLOCK
        return found


def read(spec: str, default: ZoneInfo | None = None) -> Schedule:
    """Raises ValueError for what is not cron, and for what does not say a time: H (Jenkins picks one) and @daily."""
    lines = spec.split("\n")
    zone = default or ZoneInfo("UTC")
    if lines[0].startswith("TZ="):
        zone = ZoneInfo(lines.pop(0).removeprefix("TZ="))
    if len(lines) != 1 or len(fields := lines[0].split()) != len(FIELDS):
        raise ValueError(f"{spec!r} is not one line of five fields")
    sets = {name: _values(name, text) for (name, _), text in zip(FIELDS.items(), fields, strict=True)}
    sets["weekday"] = frozenset(day % 7 for day in sets["weekday"])
    return Schedule(zone, **sets)


def _values(name: str, text: str) -> frozenset[int]:
    least, greatest = FIELDS[name]
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(?:(\*)|(\d+)(?:-(\d+))?)(?:/(\d+))?", part, re.ASCII)
        if not match:
            raise ValueError(f"{name}: {part!r} is no number, range or step")
        every, first, last, step = match[1], match[2], match[3], int(match[4] or 1)
        low = least if every else int(first)
        high = greatest if every else int(last or first)
        if not least <= low <= high <= greatest or step < 1 or (match[4] and not (every or last)):
            raise ValueError(f"{name}: {part!r} is not within {least}-{greatest}")
        found |= set(range(low, high + 1, step))
    return frozenset(found)
