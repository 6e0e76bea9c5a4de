"""A PDF of text and rules, written by hand: two standard fonts, no library, opened by its own cross-reference table."""

from collections.abc import Iterable
from dataclasses import dataclass, field

WIDTH, HEIGHT, MARGIN = 595, 842, 56  # A4 in points
# How wide the characters are from space to tilde, in thousandths: what stands at the right needs it.
# fmt: off
REGULAR_WIDTHS = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
)
BOLD_WIDTHS = (
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556, 611,
    556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389,
    280, 389, 584,
)
OTHER_WIDTHS = {"…": 1000, "·": 278}
# fmt: on


@dataclass
class PdfPage:
    commands: list[bytes] = field(default_factory=list)

    def draw_text(
        self, x: float, y: float, text: str, *, size: float = 10, bold: bool = False, grey: float = 0
    ) -> None:
        self.commands.append(
            b"BT %.2f g /%b %g Tf %.2f %.2f Td (%b) Tj ET"
            % (grey, b"B" if bold else b"R", size, x, y, _escape_text(text))
        )

    def draw_right_aligned(
        self, x: float, y: float, text: str, *, size: float = 10, bold: bool = False, grey: float = 0
    ) -> None:
        """Ends at `x`."""
        self.draw_text(x - measure_width(text, size, bold=bold), y, text, size=size, bold=bold, grey=grey)

    def draw_rule(self, y: float, *, start: float = MARGIN) -> None:
        self.commands.append(b"0.85 G 0.7 w %.2f %.2f m %.2f %.2f l S" % (start, y, WIDTH - MARGIN, y))


def measure_width(text: str, size: float, *, bold: bool = False) -> float:
    table = BOLD_WIDTHS if bold else REGULAR_WIDTHS
    return (
        sum(
            table[ord(char) - 32] if " " <= char <= "~" else OTHER_WIDTHS.get(char, 556)
            for char in _replace_minus(text)
        )
        * size
        / 1000
    )


def shorten_to_width(text: str, points: float, size: float = 10) -> str:
    """Shortened where it would run into the next column."""
    if measure_width(text, size) <= points:
        return text
    while text and measure_width(text + "…", size) > points:
        text = text[:-1]
    return text.rstrip() + "…"


def build_document(pages: Iterable[PdfPage], *, title: str) -> bytes:
    pages = list(pages)
    numbers = [6 + 2 * index for index in range(len(pages))]
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R /Lang (en) >>",
        b"<< /Type /Pages /Count %d /Kids [%b] >>"
        % (len(pages), b" ".join(b"%d 0 R" % number for number in numbers)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
        b"<< /Title (%b) /Producer (Bulkhead stand-in) >>" % _escape_text(title),
    ]
    for number, page in zip(numbers, pages, strict=True):
        content = b"\n".join(page.commands)
        bodies += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents %d 0 R"
            b" /Resources << /Font << /R 3 0 R /B 4 0 R >> >> >>" % (WIDTH, HEIGHT, number + 1),
            b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
        ]
    return _add_xref_table(bodies)


def _add_xref_table(bodies: list[bytes]) -> bytes:
    """Readers start at the end: there is written where the table is, and in the table where every object is."""
    content = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    starts = []
    for number, body in enumerate(bodies, 1):
        starts.append(len(content))
        content += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    count = len(bodies) + 1
    return content + (
        b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R /Info 5 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (count, table, count, len(content))
    )


def _replace_minus(text: str) -> str:
    return text.replace("−", "-")  # the standard fonts have no minus


def _escape_text(text: str) -> bytes:
    raw = _replace_minus(text).encode("cp1252", "replace")
    return (
        raw.replace(b"\\", rb"\\")
        .replace(b"(", rb"\(")
        .replace(b")", rb"\)")
        .replace(b"\r", b" ")
        .replace(b"\n", b" ")
    )
