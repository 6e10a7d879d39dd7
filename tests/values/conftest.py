from hypothesis import HealthCheck, settings

# A shared machine may stop a test for longer than any deadline.
settings.register_profile(
    "values", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("values")
