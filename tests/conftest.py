"""For all tests."""

import signal

from hypothesis import settings

# How long an example takes says how busy the machine is; timings live in the benchmarks.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

# A shell without job control ignores SIGINT in what it starts in the background, and every program
# that a test starts would inherit that: none of them would end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
