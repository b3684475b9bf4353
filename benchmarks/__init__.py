"""What is measured of jaxnn: one question a module, one harness under all of them; `python -m benchmarks.run`."""
