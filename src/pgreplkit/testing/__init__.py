"""Help for tests of code that uses pgreplkit: strategies for Hypothesis."""
