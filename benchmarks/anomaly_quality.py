"""How good the alerts are: real months out of sample, with faults whose truth is known.

    python -m benchmarks.anomaly_quality [--data FOLDER] [--seed 5]

Month by month as the pipeline does it: what is typical is learnt from the sales of the 365 days before the
month's first instant, those left out that were flagged in earlier months; then the month's sales are judged.
The first month is history only. `zscore` and `robust` are the warehouse's own rules in Spark, with the
settings of config/warehouse.yaml; beside them two that users know, for products with as many sales: mean + 3
standard deviations, and scikit-learn's IsolationForest (10 trees, contamination 0.01), asked above the
product's median only.

Faults: of the sale lines of the months judged a seeded share has its quantity multiplied by 10 or by 100, a
digit doubled or appended (12 → 112, 122, 12d), or pieces taken for packs (× 12, 24 or 144), a quarter each.
Right are these and the cancelled orders: real sales of at least 100 units and 10 times the median of the
product's other sales in all months (of all sales where it has none), whose customer later returned just as many.
They are few, and most are wholesalers' returns; giants are those of 1,000 units and more. Every other alert counts
as false, also where a real order was odd and a steward would have liked to know: precision is a lower bound.

Alerts are what the mail tells (critical and warning); an entry is an order with all its lines. Days are those with
sales. A fault that is found is an alert, too: with 2 % of the lines wrong there are 26 a day to be found.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import yaml
from sklearn.ensemble import IsolationForest

from benchmarks.common import PROJECT, REAL_DATA, Stopwatch, show, throwaway_warehouse
from benchmarks.real_months import by_duckdb
from generators.online_retail import replay
from warehouse.config import load
from warehouse.rules.anomalies import BASELINE, Robust
from warehouse.session import Context

RATES = (0.0, 0.001, 0.005, 0.02)
METHODS = ("zscore", "robust", "mean + 3σ", "IsolationForest")
KINDS = ("× 10", "× 100", "digit", "units")
PACKS = (12, 24, 144)
CANCELLED_UNITS, CANCELLED_MEDIANS, GIANT_UNITS = 100, 10, 1_000
LOOKBACK = pd.Timedelta(days=365)
LEAST_Z = 0.5  # from here on `robust` tells its z, for the frontier
SIZES = {"1": (1, 1), "2 to 5": (2, 5), "6 to 11": (6, 11), "12 to 23": (12, 23), "24 and more": (24, 10**9)}

Judge = Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]
"""The history and a month's sales → those that stand out: transaction_id, z, tier (None: not flagged)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=REAL_DATA)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--methods", default=",".join(METHODS), help="some of them, comma-separated")
    options = parser.parse_args()
    methods = options.methods.split(",")
    clock = Stopwatch()
    with throwaway_warehouse() as context:
        sales = real_sales(options.data, context.config.home)
        judges: dict[str, Judge] = {name: Rule(context, name) for name in ("zscore", "robust")}
        judges |= {"mean + 3σ": three_sigma, "IsolationForest": Forest()}
        judged: dict[tuple[str, float], pd.DataFrame] = {}
        for rate in RATES:
            faulty = with_faults(sales, rate, np.random.default_rng(options.seed))
            for name in methods:
                with clock.time(f"{name}, {rate:.1%}"):
                    judged[name, rate] = month_by_month(faulty, judges[name])
    any_run = judged[methods[0], 0.0]
    lines, days = len(any_run), trading_days(any_run)
    measures = ("entries a day", "lines a day", "false entries a day", "precision", *KINDS, "cancelled", "giants")
    show(
        f"{lines:,} real sale lines judged in {any_run.month.nunique()} months, {days} trading days",
        ["method", "faults", *measures],
        [row for name in methods for rate in RATES for row in quality(name, rate, judged[name, rate])],
    )
    if "robust" in methods:
        frontier(judged["robust", 0.0], judged["robust", RATES[-1]])
        by_size(judged["robust", RATES[-1]])
    show("Seconds", ["run", "seconds"], list(clock.seconds.items()))


def real_sales(data: Path, home: Path) -> pd.DataFrame:
    """The facts of quantity > 0 with their product's newest category, and whether it was cancelled later."""
    landing = home / "landing"
    replay([data], landing)
    with duckdb.connect(str(home / "facts.duckdb")) as connection:
        by_duckdb(connection, landing)
        sales = connection.execute(f"""
            with category as (select stock_code, arg_max(category, day) as category from product_raw group by all)
            select
                f.transaction_id, f.order_id, f.stock_code, c.category, f.quantity, f.invoice_date,
                date_trunc('month', f.invoice_date) as month,
                f.quantity >= {CANCELLED_UNITS} and exists (
                    from fact as r
                    where r.customer_id = f.customer_id and r.stock_code = f.stock_code
                        and r.quantity = -f.quantity and r.invoice_date >= f.invoice_date
                ) and f.quantity >= {CANCELLED_MEDIANS} * coalesce(
                    (
                        select median(o.quantity) from fact as o
                        where o.stock_code = f.stock_code and o.quantity > 0 and o.transaction_id <> f.transaction_id
                    ),
                    (select median(quantity) from fact where quantity > 0)
                ) as cancelled
            from fact as f left join category as c using (stock_code)
            where f.quantity > 0
            order by f.transaction_id
        """).df()
    return sales.assign(kind="")


def with_faults(sales: pd.DataFrame, rate: float, draw: np.random.Generator) -> pd.DataFrame:
    """The sales with a share of the lines of all months but the first gone wrong; `kind` says how."""
    sales = sales.assign(sold=sales.quantity)
    eligible = np.flatnonzero((sales.month > sales.month.min()) & ~sales.cancelled)
    chosen = draw.choice(eligible, round(rate * len(eligible)), replace=False)
    quantity, kind = sales.quantity.to_numpy(copy=True), sales.kind.to_numpy(dtype=object, copy=True)
    for place, row in enumerate(chosen):
        kind[row] = KINDS[place % len(KINDS)]
        quantity[row] = _wrong(int(quantity[row]), kind[row], draw)
    return sales.assign(quantity=quantity, kind=kind)


def _wrong(quantity: int, kind: str, draw: np.random.Generator) -> int:
    digits = str(quantity)
    place = int(draw.integers(len(digits)))
    slip = digits[place] if draw.integers(2) else str(draw.integers(10))
    place = place if slip == digits[place] else len(digits)
    return {
        "× 10": quantity * 10,
        "× 100": quantity * 100,
        "digit": int(digits[:place] + slip + digits[place:]),
        "units": quantity * int(draw.choice(PACKS)),
    }[kind]


def month_by_month(sales: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    """The sales of all months but the first with `z` and `tier` as judged by those before."""
    flagged: set[str] = set()
    months = []
    for month in sorted(sales.month.unique())[1:]:
        past = (sales.invoice_date < month) & (sales.invoice_date >= month - LOOKBACK)
        history, now = sales[past & ~sales.transaction_id.isin(flagged)], sales[sales.month == month]
        found = now.merge(judge(history, now), on="transaction_id", how="left")
        flagged |= set(found.transaction_id[found.tier.notna()])
        months.append(found)
    return pd.concat(months, ignore_index=True)


@dataclass
class Rule:
    """One of the warehouse's own rules, as the config has it, on its own Spark session."""

    context: Context
    name: str

    def __post_init__(self) -> None:
        rules = yaml.safe_load((PROJECT / "config" / "warehouse.yaml").read_text(encoding="utf-8"))
        rules["anomaly"]["method"] = self.name
        config = self.context.config.home / f"{self.name}.yaml"
        config.write_text(yaml.safe_dump(rules), encoding="utf-8")
        self.method: Any = load({"WAREHOUSE_CONFIG": str(config)}, self.context.config.home).anomaly_method

    def __call__(self, history: pd.DataFrame, month: pd.DataFrame) -> pd.DataFrame:
        made = self.method.baselines(self._frame("history", history).select("stock_code", "category", "quantity"))
        baselines = made.selectExpr("monotonically_increasing_id() as baseline_id", *BASELINE)
        baselines = self._frame("baselines", baselines.toPandas())
        telling = replace(self.method, threshold=LEAST_Z) if isinstance(self.method, Robust) else self.method
        scores = telling.scores(self._frame("month", month), baselines)
        found = scores.select("transaction_id", "z_score", "tier").toPandas().rename(columns={"z_score": "z"})
        found["tier"] = found.tier.where(found.z > self.method.threshold, None)
        return found

    def _frame(self, name: str, rows: pd.DataFrame) -> Any:
        path = self.context.config.home / f"{name}.parquet"
        rows.drop(columns=["month", "invoice_date"], errors="ignore").to_parquet(path, index=False)
        self.context.spark.catalog.clearCache()
        return self.context.spark.read.parquet(f"file://{path}")


def three_sigma(history: pd.DataFrame, month: pd.DataFrame) -> pd.DataFrame:
    of = history.groupby("stock_code").quantity.agg(["mean", "std", "size"])
    of = month[["transaction_id", "quantity", "stock_code"]].join(of[of["size"] >= 20], on="stock_code")
    found = of[of.quantity > of["mean"] + 3 * of["std"]]
    return pd.DataFrame({"transaction_id": found.transaction_id, "z": np.nan, "tier": "warning"})


@dataclass
class Forest:
    """An IsolationForest a product; the same history makes the same trees, so they are kept."""

    fitted: dict[bytes, IsolationForest] = field(default_factory=dict)

    def __call__(self, history: pd.DataFrame, month: pd.DataFrame) -> pd.DataFrame:
        learnt = {code: np.sort(rows.to_numpy()) for code, rows in history.groupby("stock_code").quantity}
        found = []
        for code, rows in month.groupby("stock_code"):
            typical = learnt.get(code, ())
            if len(typical) < 20:
                continue
            high = rows[rows.quantity > typical[len(typical) // 2]]
            if len(high):
                sizes, place = np.unique(high.quantity, return_inverse=True)
                found += list(high.transaction_id[(self._of(typical).predict(sizes[:, None]) < 0)[place]])
        return pd.DataFrame({"transaction_id": found, "z": np.nan, "tier": "warning"})

    def _of(self, typical: np.ndarray) -> IsolationForest:
        key = typical.tobytes()
        if key not in self.fitted:
            forest = IsolationForest(n_estimators=10, contamination=0.01, random_state=0, n_jobs=1)
            self.fitted[key] = forest.fit(typical[:, None])
        return self.fitted[key]


def quality(name: str, rate: float, judged: pd.DataFrame) -> list[list[object]]:
    """The table's rows of a method: what the mail tells, and with its notices where it has any."""
    mailed, flagged = judged.tier.isin(["critical", "warning"]), judged.tier.notna()
    rows = [_measured(name, rate, judged, mailed)]
    return rows + ([_measured(f"{name}, with notices", rate, judged, flagged)] if (flagged & ~mailed).any() else [])


def _measured(name: str, rate: float, judged: pd.DataFrame, alert: pd.Series) -> list[object]:
    right = (judged.kind != "") | judged.cancelled
    giant = judged.cancelled & (judged.quantity >= GIANT_UNITS)
    days = trading_days(judged)
    return [
        name,
        f"{rate:.1%}",
        entries(judged[alert]) / days,
        int(alert.sum()) / days,
        entries(judged[alert & ~right]) / days,
        _share(right[alert]),
        *(_share(alert[judged.kind == kind]) for kind in KINDS),
        *(f"{alert[these].sum()} of {these.sum()}" for these in (judged.cancelled, giant)),
    ]


def frontier(as_sold: pd.DataFrame, faulty: pd.DataFrame) -> None:
    """What `robust` would find, were the mail's least z such that real sales alone made so many entries a day."""
    worst = as_sold.groupby("order_id").z.max().dropna().sort_values(ascending=False).to_numpy()
    rows = []
    for a_day in (1, 2, 3, 4, 5, 6, 8, 12, 24):
        least = worst[min(a_day * trading_days(as_sold), len(worst) - 1)]
        found = [_share(faulty.z[faulty.kind == kind] > least) for kind in KINDS]
        rows.append([a_day, float(least), *found])
    show(
        "Frontier of robust: least z for so many entries a day of the sales as they were, and what it finds at"
        f" {RATES[-1]:.0%} faults",
        ["entries a day", "least z", *KINDS],
        rows,
    )


def by_size(faulty: pd.DataFrame) -> None:
    """What is found of what, and which × 10 are hidden: no more than 1 % of the product's real sales are."""
    alert = faulty.tier.isin(["critical", "warning"])
    hidden = faulty.quantity <= faulty.groupby("stock_code").sold.transform("quantile", 0.99)
    rows = []
    for size, (least, most) in {**SIZES, "all": (1, 10**9)}.items():
        sold = faulty.sold.between(least, most)
        found = [_share(alert[sold & (faulty.kind == kind)]) for kind in KINDS]
        rows.append([size, f"{sold.mean():.0%}", *found, _share(hidden[sold & (faulty.kind == KINDS[0])])])
    show(
        f"What the mail of robust tells at {RATES[-1]:.0%} faults, by what was sold, and the share of the × 10 that"
        " stay within 99 % of the product's real sales",
        ["units", "lines", *KINDS, "× 10 within"],
        rows,
    )


def trading_days(sales: pd.DataFrame) -> int:
    return int(sales.invoice_date.dt.date.nunique())


def entries(sales: pd.DataFrame) -> int:
    return int(sales.order_id.nunique())


def _share(these: pd.Series) -> str:
    return f"{these.mean():.1%}" if len(these) else "–"


if __name__ == "__main__":
    main()
