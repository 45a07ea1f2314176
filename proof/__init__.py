"""Programs that search for faults for as long as they are given: fuzzers, soak, mutation."""
