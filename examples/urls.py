"""The pages of `make demo`: the examples, and the gateway's own."""

from __future__ import annotations

from django.urls import path
from django.views.generic import TemplateView

from gateway import urls as gateway
from gateway.console import ConsoleView
from gateway.language import translated

handler400 = gateway.handler400
handler500 = gateway.handler500

EXAMPLES = ("chat", "dashboard", "presence", "progress", "cursors")

urlpatterns = [
    path(
        "", translated(ConsoleView.as_view(template_name="examples/console.html")), name="console"
    ),
    path("examples/", TemplateView.as_view(template_name="examples/index.html"), name="examples"),
    *(
        path(f"examples/{name}/", TemplateView.as_view(template_name=f"examples/{name}.html"))
        for name in EXAMPLES
    ),
    *gateway.urlpatterns,
]
