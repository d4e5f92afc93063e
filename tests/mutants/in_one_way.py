"""A pytest plugin that tries properties on the same examples every time, without shrinking."""

from typing import Final

from hypothesis import Phase, settings

PROFILE: Final = "mutants"
settings.register_profile(
    PROFILE, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile(PROFILE)
