"""Where the mailing lists are."""

import os
import sys

SERVER = os.environ.get("MAILING_LIST_SERVER")
if not SERVER:
    sys.exit("MAILING_LIST_SERVER is not set")
