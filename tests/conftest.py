"""For all tests."""

from hypothesis import settings

# How long an example takes says how busy the machine is; timings live in the benchmarks.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
