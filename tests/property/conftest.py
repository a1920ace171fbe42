"""What all tests with Hypothesis have in common."""

from hypothesis import settings

# An example's duration means nothing on a busy machine.
settings.register_profile("ipycron", deadline=None)
settings.load_profile("ipycron")
