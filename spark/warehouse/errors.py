"""What can go wrong, as the person who must act reads it."""


class WarehouseError(Exception):
    """A run failed and wrote nothing by halves. Exit code 1."""

    exit_code = 1


class UsageError(WarehouseError):
    """Wrong usage or configuration. Exit code 2."""

    exit_code = 2


class Rejected(Exception):  # noqa: N818 - a verdict on a file, not a fault of the program
    """A landing file is refused as a whole. `reason` is one word, `detail` names lines and keys."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
