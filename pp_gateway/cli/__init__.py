"""The `pp` command line. Belongs here: arguments, what is shown, exit codes. Does not belong here: anything that computes a result.

Exit codes: 0 done (whatever the verdict), 1 a check found something wrong, 2 bad input (one line says what, where and how to mend it).
"""

from pp_gateway.cli.app import main

__all__ = ["main"]
