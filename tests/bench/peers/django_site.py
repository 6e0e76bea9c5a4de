"""Django: a page rendered by the server, and a fragment of it fetched for every search. The floor."""

import secrets
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.urls import path

from tests.bench.peers import table

settings.configure(
    ALLOWED_HOSTS=["localhost"],
    DEBUG=False,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_hex(32),
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
django.setup()

ROWS = Engine().from_string(
    "{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}"
)
PAGE = Engine().from_string(
    """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Members</title></head><body>
<h1>Members</h1><input type="search" aria-label="Search members" placeholder="Search members">
<table><thead><tr>{% for heading in headings %}<th scope="col">{% if forloop.first %}<button type="button">{{ heading }}
</button>{% else %}{{ heading }}{% endif %}</th>{% endfor %}</tr></thead><tbody>{{ rows }}</tbody></table>
<script>
const find = document.querySelector("input"), body = document.querySelector("tbody");
let timer, descending = "";
async function show() {
  const answer = await fetch("/rows?" + new URLSearchParams({query: find.value, descending}));
  body.innerHTML = await answer.text();
}
find.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(show, {{ debounce }}); });
document.querySelector("th button").addEventListener("click", () => { descending = descending ? "" : "1"; show(); });
</script></body></html>"""
)


def page(request: HttpRequest) -> HttpResponse:
    values = {"rows": _rows(request), "headings": table.HEADINGS, "debounce": table.DEBOUNCE}
    return HttpResponse(PAGE.render(Context(values)))


def fragment(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_rows(request))


def _rows(request: HttpRequest) -> Any:
    rows = table.rows(
        request.COOKIES.get(table.COOKIE, ""),
        request.GET.get("query", ""),
        descending=bool(request.GET.get("descending")),
    )
    return ROWS.render(Context({"rows": rows}))


urlpatterns = [path("", page), path("rows", fragment)]
app = get_asgi_application()
