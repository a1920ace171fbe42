"""What all tests with Hypothesis have in common."""

from hypothesis import settings

# The time that an example takes says nothing on a busy machine.
settings.register_profile("ipycron", deadline=None)
settings.load_profile("ipycron")
