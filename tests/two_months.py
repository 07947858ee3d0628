"""Two months of a very small shop, and how it goes on."""

from harness import COUNTRIES, PRODUCTS, TRANSACTIONS, Warehouse


def land_masters(warehouse: Warehouse, day: str, price: str, countries: tuple[str, ...] = ("GB",)) -> None:
    warehouse.land(f"products/products_{day}.csv", [f"A,Mug,Home,{price},5", "B,Plate,Home,4,5"], PRODUCTS)
    rows = [f"{code},Country {code},Europe,1.5,2.5" for code in countries]
    warehouse.land(f"countries/countries_{day}.csv", rows, COUNTRIES)


def land_window(warehouse: Warehouse, window: str, rows: int = 2) -> None:
    """Sales of one window, and one row whose country nobody knows yet."""
    day, hour = window.split("T")
    lines = [
        f"{window}-{n},O{window},{'AB'[n % 2]},{n + 1},{day} {hour}:0{n}:00,C{n},{'FR' if n == rows else 'GB'}"
        for n in range(rows + 1)
    ]
    warehouse.land(f"transactions/transactions_{window}.csv", lines, TRANSACTIONS)


def land_shop(warehouse: Warehouse) -> None:
    """Two months of a very small shop."""
    land_masters(warehouse, "2011-01-01", "2")
    for window in ("2011-01-03T08", "2011-01-03T12", "2011-01-04T08"):
        land_window(warehouse, window)
    land_masters(warehouse, "2011-01-04", "3")
    land_masters(warehouse, "2011-02-01", "5", ("GB", "FR"))
    land_window(warehouse, "2011-02-01T20")


def run_shop(warehouse: Warehouse) -> None:
    land_shop(warehouse)
    warehouse.run()
