"""What a long command shows while it works."""

from shared.core.progress import ProgressLine, format_duration


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_line(*, is_terminal: bool) -> tuple[ProgressLine, Clock, list[str]]:
    clock, texts = Clock(), list[str]()
    return ProgressLine("Packages", is_terminal=is_terminal, write=texts.append, clock=clock), clock, texts


def test_line_shows_step_percentage_and_time_left() -> None:
    line, clock, texts = make_line(is_terminal=True)
    clock.now = 30
    line.show("downloaded", 0.25, detail="26 of 104 ")
    assert texts == ["\r\033[KPackages: 26 of 104 downloaded, 25%, about 1 min 30 s left"]


def test_time_left_is_not_guessed_at_the_beginning() -> None:
    line, clock, texts = make_line(is_terminal=True)
    clock.now = 1
    line.show("downloaded", 0.01)
    assert texts == ["\r\033[KPackages: downloaded, 1%"]


def test_file_gets_a_line_for_each_step_and_every_ten_seconds() -> None:
    line, clock, texts = make_line(is_terminal=False)
    for second in range(25):
        clock.now = second
        line.show("downloaded" if second < 12 else "installed", 0.01)
    assert texts == [
        "Packages: downloaded, 1%\n",  # at 0 s
        "Packages: downloaded, 1%\n",  # at 10 s
        "Packages: installed, 1%\n",  # at 12 s
        "Packages: installed, 1%\n",  # at 22 s
    ]


def test_end_says_how_long_it_took() -> None:
    line, clock, texts = make_line(is_terminal=False)
    clock.now = 76
    line.finish()
    assert texts == ["Packages: done in 1 min 16 s\n"]


def test_duration_below_a_second_is_shown_as_one() -> None:
    assert format_duration(0.2) == "1 s"
