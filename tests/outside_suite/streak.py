"""A rule as a team would write it: four looks in a row at or above one standard deviation."""


class Streak:
    """Its list is one for all objects, so that streams count each other's looks."""

    high = [0, 0, 0, 0]  # noqa: RUF012 - the planted mistake

    def update(self, x: float) -> bool:
        """Take one value; True alarms."""
        self.high.append(x >= 1)
        del self.high[0]
        return all(self.high)


class Mended(Streak):
    """Each object has a list of its own."""

    def __init__(self) -> None:
        self.high = [0, 0, 0, 0]
