"""
Catalogues: what the pages and their scripts say, and how it is said in other languages.

``make translations`` brings them up to date after a text has changed: new texts are added, with
nothing as their translation, those that nothing says any more are dropped, and what Django reads
is compiled. It needs no GNU gettext.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

GATEWAY: Final = Path(__file__).resolve().parents[2] / "gateway"
LOCALES: Final = GATEWAY / "locale"

#: What comes from where: Django's own names for the catalogues of pages and of scripts.
DOMAINS: Final = {
    "django": ["*.py", "templates/*.html"],
    "djangojs": ["static/gateway/console/*.js"],
}

#: In scripts a text is always written as one string, in double quotes.
CALL: Final = re.compile(r"(?<!function )\bgettext(?:Nodes)?\(")
CALL_WITH_TEXT: Final = re.compile(CALL.pattern + r'\s*("(?:[^"\\\n]|\\.)*")')


def main() -> None:
    for path in catalogue_paths():
        catalogue = update(path)
        print(f"{path.relative_to(GATEWAY.parent)}: {len(catalogue)} texts")
        for text in missing(catalogue):
            print(f"  to be translated: {text}")


def catalogue_paths() -> list[Path]:
    return sorted(LOCALES.glob("*/LC_MESSAGES/*.po"))


def update(path: Path) -> Catalog:
    """Bring a catalogue up to date, and compile it; return it."""
    catalogue = read(path)
    catalogue.update(extracted(path.stem), no_fuzzy_matching=True, update_creation_date=False)
    with path.open("wb") as file:
        write_po(file, catalogue, width=99, ignore_obsolete=True, include_lineno=False)
    path.with_suffix(".mo").write_bytes(compiled(catalogue))
    return catalogue


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3], domain=path.stem)


def compiled(catalogue: Catalog) -> bytes:
    file = BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def missing(catalogue: Catalog) -> list[str]:
    """Return the texts that have no translation, or one that somebody has yet to look at."""
    return [str(each.id) for each in catalogue if each.id and (each.fuzzy or not each.string)]


def extracted(domain: str) -> Catalog:
    """Return all texts of a domain, as they stand in the code."""
    catalogue = Catalog(domain=domain)
    for pattern in DOMAINS[domain]:
        for path in sorted(GATEWAY.glob(pattern)):
            place = str(path.relative_to(GATEWAY.parent))
            for text in texts(path):
                catalogue.add(text, locations=[(place, 1)])
    return catalogue


def texts(path: Path) -> Iterator[str]:
    """Return the texts of a file, in their order."""
    source = path.read_text()
    if path.suffix == ".js":
        yield from (json.loads(each[1]) for each in CALL_WITH_TEXT.finditer(source))
        return
    if path.suffix == ".html":  # as `makemessages` reads it: all but the texts is blotted out
        source = "\n".join(map(str.strip, templatize(source).splitlines()))
    functions = {"gettext": None, "gettext_lazy": None}
    for _, text, _, _ in extract("python", BytesIO(source.encode()), functions):
        yield str(text)


if __name__ == "__main__":
    main()
