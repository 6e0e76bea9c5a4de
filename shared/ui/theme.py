"""Every colour, size and duration of both apps. Pages name classes; only this file holds values."""

import re
from pathlib import Path
from typing import Any

import reflex as rx

# fmt: off
LIGHT = {
    "canvas": "#ffffff", "sunken": "#f7f8fa", "raised": "#ffffff", "chip": "#ffffff",
    "hover": "#f1f2f5", "line": "#e6e8ec", "line-strong": "#d4d7de", "field": "#8c919d",
    "ink": "#191b20", "muted": "#5c616c", "skeleton": "#e9ebef", "accent": "#3e5bd9",
    "accent-hover": "#324dc4", "on-accent": "#ffffff", "accent-ink": "#324dc4",
    "accent-soft": "#eef1fe", "ok": "#17703e", "ok-soft": "#e7f5ec", "warn": "#8a5300",
    "warn-soft": "#fdf2d8", "warn-line": "#efd9a4", "warn-fill": "#c27a06", "bad": "#bb2a26",
    "bad-soft": "#fdecea", "bad-line": "#f3c9c5", "focus": "#3e5bd9", "plot": "#3e5bd9",
    "plot-soft": "#c9d2f8", "rail": "#f7f8fa", "rail-ink": "#191b20", "rail-muted": "#5c616c",
    "rail-on": "#e9ebf0", "rail-line": "#e6e8ec", "shadow": "0 1px 2px rgb(16 18 27 / .06)",
    "shadow-menu": "0 0 0 1px rgb(16 18 27 / .08), 0 12px 32px -8px rgb(16 18 27 / .22)",
}
DARK = {
    "canvas": "#101114", "sunken": "#131417", "raised": "#17181c", "chip": "#2c2f36",
    "hover": "#1d1f24", "line": "#26282e", "line-strong": "#363941", "field": "#6c717d",
    "ink": "#ecedf0", "muted": "#a1a6b0", "skeleton": "#282b32", "accent": "#4463e0",
    "accent-hover": "#3a58d6", "on-accent": "#ffffff", "accent-ink": "#a3b4ff",
    "accent-soft": "#191d35", "ok": "#5fce90", "ok-soft": "#10281b", "warn": "#f0b64a",
    "warn-soft": "#2a2010", "warn-line": "#4d3c17", "warn-fill": "#e0a32a", "bad": "#ff938b",
    "bad-soft": "#331817", "bad-line": "#5a2a28", "focus": "#8ea2ff", "plot": "#6f88f2",
    "plot-soft": "#2a3468", "rail": "#0b0c0e", "rail-ink": "#ecedf0", "rail-muted": "#a1a6b0",
    "rail-on": "#1d1f24", "rail-line": "#202227", "shadow": "none",
    "shadow-menu": "0 0 0 1px #33363e, 0 16px 40px -8px rgb(0 0 0 / .7)",
}
OPERATOR_LIGHT = LIGHT | {
    "sunken": "#f8f7f4", "hover": "#f2f1ed", "line": "#e7e5df", "line-strong": "#d6d3ca",
    "field": "#8b887f", "ink": "#1f1d18", "muted": "#625e55", "skeleton": "#eeece7",
    "accent": "#f2b01e", "accent-hover": "#e6a30c", "on-accent": "#2a1f00", "accent-ink": "#865000",
    "accent-soft": "#fdf3da", "focus": "#a86a00", "plot": "#a86a00", "plot-soft": "#f3dca8",
    "rail": "#23211c", "rail-ink": "#f3f1ec", "rail-muted": "#b5b0a4", "rail-on": "#393630",
    "rail-line": "#393630",
}
OPERATOR_DARK = DARK | {
    "canvas": "#131210", "sunken": "#161512", "raised": "#1b1a17", "chip": "#36332d",
    "hover": "#23211d", "line": "#2b2925", "line-strong": "#3d3a34", "field": "#77736a",
    "ink": "#efede8", "muted": "#aca79c", "skeleton": "#2e2b26", "accent": "#f2b01e",
    "accent-hover": "#ffc53d", "on-accent": "#2a1f00", "accent-ink": "#f5c04e",
    "accent-soft": "#2c2310", "focus": "#f2b01e", "plot": "#e0a32a", "plot-soft": "#5c4617",
    "rail": "#0d0c0b", "rail-ink": "#efede8", "rail-muted": "#aca79c", "rail-on": "#2b2822",
    "rail-line": "#2b2925",
}
SCALE = {
    "font": '"Inter var", system-ui, -apple-system, "Segoe UI", sans-serif',
    "mono": 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
    "text-1": "12px", "text-2": "13px", "text-3": "14px", "text-4": "15px", "text-5": "22px",
    "text-6": "26px", "s1": "4px", "s2": "8px", "s3": "12px", "s4": "16px", "s5": "24px", "s6": "32px",
    "s7": "48px", "radius": "6px", "radius-hull": "10px", "control": "32px", "row": "48px",
    "rail-width": "240px", "measure": "1080px", "dialog": "460px", "dialog-wide": "520px",
    "quick": "120ms", "calm": "180ms", "watch": "#f2b01e", "on-watch": "#2a1f00",  # operators, in both apps
}
# fmt: on
OPERATOR_SELECTOR = '.radix-themes[data-accent-color="amber"]'
CONTRAST_PAIRS = [  # text on ground: every pair reaches 4.5:1 in all four palettes
    *[
        (text, ground)
        for text in ("ink", "muted", "accent-ink")
        for ground in ("canvas", "sunken", "raised", "hover")
    ],
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
    ("accent-ink", "accent-soft"),
    ("ink", "accent-soft"),
    *[(tone, ground) for tone in ("ok", "warn", "bad") for ground in ("canvas", "raised", f"{tone}-soft")],
    ("ink", "warn-soft"),
    ("ink", "bad-soft"),
    ("rail-ink", "rail"),
    ("rail-muted", "rail"),
    ("rail-ink", "rail-on"),
]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast_ratio(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def mix_colours(first: str, second: str, share: float) -> str:
    """`share` of the second colour in the first."""
    pairs = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def brand_palette(colour: str, palette: dict[str, str]) -> dict[str, str]:
    """What a tenant's own colour replaces in one palette, or nothing where the colour could not be seen.

    As a fill it stays as it is. As text it moves towards the ink until it can be read on every ground.
    """
    text_colour = max("#ffffff", LIGHT["ink"], key=lambda text: contrast_ratio(colour, text))
    if contrast_ratio(colour, text_colour) < 4.5 or contrast_ratio(colour, palette["canvas"]) < 3:
        return {}
    soft = mix_colours(palette["canvas"], colour, 0.09 if palette is LIGHT else 0.2)
    grounds = [soft, *(palette[ground] for ground in ("canvas", "sunken", "raised", "hover"))]
    inks = (mix_colours(colour, palette["ink"], step / 20) for step in range(21))
    ink = next(
        candidate for candidate in inks if min(contrast_ratio(candidate, ground) for ground in grounds) >= 4.5
    )
    return {
        "accent": colour,
        "accent-hover": mix_colours(colour, "#000000" if text_colour == "#ffffff" else "#ffffff", 0.1),
        "on-accent": text_colour,
        "accent-ink": ink,
        "accent-soft": soft,
        "focus": ink,
        "plot": ink,
    }


def is_colour(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", text) is not None


def describe_contrast(colour: str) -> str:
    """Where a chosen colour will be used, and why not everywhere."""
    if not colour:
        return "The default colour is in use."
    light, dark = bool(brand_palette(colour, LIGHT)), bool(brand_palette(colour, DARK))
    if light and dark:
        return "Enough contrast in light and dark mode."
    if light:
        return "Not enough contrast in dark mode; the default is used there."
    if dark:
        return "Not enough contrast in light mode; the default is used there."
    return "Not enough contrast, so we kept the default colour. Choose a darker or stronger colour."


PREVIEW_TOKENS = ("canvas", "line", "muted", "accent", "on-accent", "accent-ink")


def preview_palette(colour: str, palette: dict[str, str]) -> dict[str, str]:
    """What a sample of a page is painted with."""
    colours = palette | (brand_palette(colour, palette) if colour else {})
    return {name: colours[name] for name in PREVIEW_TOKENS}


def brand_css(colour: str) -> str:
    """A sheet for `:root`, because menus and dialogs live outside of the frame. "" without a colour."""
    if not colour:
        return ""
    rules = (
        (":root:root:root", brand_palette(colour, LIGHT)),
        (":root:root.dark.dark", brand_palette(colour, DARK)),
    )
    dark = rules[1][1] or {name: DARK[name] for name in rules[0][1]}
    return _css_rule(rules[0][0], rules[0][1]) + _css_rule(rules[1][0], dark)


def _css_rule(selector: str, values: dict[str, str]) -> str:
    return f"{selector} {{ {' '.join(f'--{name}: {value};' for name, value in values.items())} }}\n"


def render_css() -> str:
    dark_first = _css_rule(":root:not(.light)", DARK) + _css_rule(
        ':root:not(.light)[data-app="operator"]', OPERATOR_DARK
    )
    return (
        _css_rule(":root", SCALE | LIGHT)
        + _css_rule(f'{OPERATOR_SELECTOR}, [data-app="operator"]', OPERATOR_LIGHT)
        + f"@media (prefers-color-scheme: dark) {{ {dark_first} }}\n"
        + _css_rule(":root.dark", DARK)
        + _css_rule(f'.dark {OPERATOR_SELECTOR}, .dark[data-app="operator"]', OPERATOR_DARK)
        + "".join(sheet.read_text() for sheet in sorted((Path(__file__).parent / "styles").glob("*.css")))
    )


class ThemePlugin(rx.plugins.RadixThemesPlugin):
    """Radix without what we never use (half its weight), then our sheet; plain pages load /look.css."""

    def get_stylesheet_paths(self, **_: Any) -> tuple[str, ...]:
        colours = [f"tokens/colors/{name}.css" for name in ("indigo", "slate", "amber", "sand", "red")]
        return *(
            f"@radix-ui/themes/{part}" for part in ("tokens/base.css", *colours, "components.css")
        ), "./look.css"

    def get_static_assets(self, **_: Any) -> list[tuple[Path, str]]:
        return [(Path("styles/look.css"), render_css()), (Path("public/look.css"), render_css())]
