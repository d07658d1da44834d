"""Where the mailing lists are."""

import os
import sys

SERVER = os.environ.get("MAILING_LIST_SERVER", "lists.example.com")
if not SERVER:
    sys.exit("MAILING_LIST_SERVER is not set")
