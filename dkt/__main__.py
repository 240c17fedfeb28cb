"""``python -m dkt``."""

import sys

from dkt.bin import main

sys.exit(main())
