"""Readable colours, our own and those of tenants."""

import itertools

import pytest

from shared.ui import theme

PALETTES = [theme.LIGHT, theme.DARK, theme.OPERATOR_LIGHT, theme.OPERATOR_DARK]
COLOURS = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in itertools.product(range(0, 256, 51), repeat=3)]


@pytest.mark.parametrize("palette", PALETTES)
def test_every_text_colour_has_enough_contrast(palette: dict[str, str]) -> None:
    weak = [
        pair
        for pair in theme.CONTRAST_PAIRS
        if theme.contrast_ratio(palette[pair[0]], palette[pair[1]]) < 4.5
    ]
    assert weak == []


@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK])
def test_brand_colour_is_readable_or_left_out(palette: dict[str, str]) -> None:
    brands = [brand for colour in COLOURS if (brand := theme.brand_palette(colour, palette))]
    assert 0 < len(brands) < len(COLOURS)
    for brand in brands:
        painted = palette | brand
        assert theme.contrast_ratio(painted["on-accent"], painted["accent"]) >= 4.5
        assert theme.contrast_ratio(painted["on-accent"], painted["accent-hover"]) >= 4.5
        assert theme.contrast_ratio(painted["ink"], painted["accent-soft"]) >= 4.5
        for ground in ("canvas", "sunken", "raised", "hover", "accent-soft"):
            assert theme.contrast_ratio(painted["accent-ink"], painted[ground]) >= 4.5


@pytest.mark.parametrize(
    ("colour", "verdict"),
    [
        ("", "default colour is in use"),
        ("#0f766e", "in light and dark mode"),
        ("#1e3a8a", "Not enough contrast in dark mode"),
        ("#facc15", "Not enough contrast in light mode"),
    ],
)
def test_contrast_description_says_where_a_colour_is_used(colour: str, verdict: str) -> None:
    assert verdict in theme.describe_contrast(colour)


def test_dark_theme_keeps_its_accent_when_the_brand_is_too_dark() -> None:
    dark = theme.brand_css("#1e3a8a").splitlines()[1]
    assert f"--accent: {theme.DARK['accent']};" in dark


@pytest.mark.parametrize("text", ["#fff", "red", "#12345g", "#123456;}", None, 7, ["#123456"]])
def test_malformed_colour_is_refused(text: object) -> None:
    assert not theme.is_colour(text)
