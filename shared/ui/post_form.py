"""Post a form to another origin: a handler's answer that leaves the page."""

import json
from collections.abc import Mapping
from typing import Any

import reflex as rx
from reflex.event import EventSpec

# The policy of the page keeps its address from other origins, and then browsers send `Origin: null` as well.
SCRIPT = """(() => {{
  const referrer = document.createElement("meta");
  referrer.name = "referrer";
  referrer.content = "strict-origin";
  document.head.append(referrer);
  const form = document.createElement("form");
  form.method = "post";
  form.action = {address};
  for (const [name, value] of Object.entries({fields})) {{
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = name;
    field.value = value;
    form.append(field);
  }}
  document.body.append(form);
  form.submit();
}})()"""


def post_form(address: str, fields: Mapping[str, str]) -> EventSpec:
    """The browser opens the answer in this tab. The values are in no var, so a reload doesn't send them again."""
    script: Any = SCRIPT.format(address=json.dumps(address), fields=json.dumps(dict(fields)))
    return rx.call_script(script)
