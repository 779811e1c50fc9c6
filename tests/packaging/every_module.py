"""
Import every module of the two apps, as a Django project has them; say which can't be.

Run in the folder of a project called ``mysite``. A line is a module, and what it lacks.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

sys.path[0] = os.getcwd()  # instead of the folder of this file
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"

import django  # noqa: E402 (its settings have to be known first)
from mysite import settings  # noqa: E402

APPS = ("realtime", "notifications")

settings.INSTALLED_APPS = [*dict.fromkeys([*settings.INSTALLED_APPS, *APPS])]
django.setup()

for app in APPS:
    path = importlib.import_module(app).__path__
    for module in pkgutil.walk_packages(path, f"{app}.", onerror=lambda name: None):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            print(module.name, error.name)
