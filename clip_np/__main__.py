"""`python -m clip_np` is the command `clip-np`."""

import sys

from clip_np.cli import main

sys.exit(main())
