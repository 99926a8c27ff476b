"""Makes the database of the Django project in a folder, and a user who may do everything."""

import os
import sys

sys.path.insert(0, sys.argv[1])
os.environ["DJANGO_SETTINGS_MODULE"] = "site_of_test.settings"

import django  # noqa: E402  The settings come first.
from django.core.management import call_command  # noqa: E402

django.setup()
call_command("migrate", verbosity=0)
os.environ["DJANGO_SUPERUSER_PASSWORD"] = "lamp-oil"
call_command("createsuperuser", interactive=False, username="keeper", email="keeper@site.test")
