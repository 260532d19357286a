import io

from rich.console import Console

from scripts.load.verdicts import Verdict, none_of, tell, within


def test_each_goal_is_told_with_its_figure_and_the_missed_ones_are_returned() -> None:
    out = io.StringIO()
    verdicts = [
        none_of("R10", "orders are lost", 0, 1234),
        none_of("R12", "answers are 500", 2, 9),
        within("R11", "healthy", [1.26, 5.0], 5),
        within("R11", "answered", [5.04], 5),
        within("R11", "answered", [], 5),
        Verdict("R15", "workers ended with [0, 0]", is_met=True),
    ]

    missed = tell(verdicts, console=Console(file=out, width=40))

    assert out.getvalue().splitlines() == [
        "R10 met: 0 of 1,234 orders are lost",
        "R11 met: healthy after 5.00 s at the latest, of 2 (goal 5 s)",
        "R11 met: answered after 0.00 s at the latest, of 0 (goal 5 s)",
        "R15 met: workers ended with [0, 0]",
    ]
    assert missed == [
        "R12 MISSED: 2 of 9 answers are 500",
        "R11 MISSED: answered after 5.04 s at the latest, of 1 (goal 5 s)",
    ]
