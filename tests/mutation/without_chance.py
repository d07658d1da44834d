"""For ``pytest -p``: what Hypothesis draws is the same in every run, so that a change is noticed always or never.

A property that fails is not made smaller: that it fails is all that is asked.
"""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "without chance",
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=(HealthCheck.too_slow,),
)
settings.load_profile("without chance")
