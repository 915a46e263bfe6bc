"""The public conformance suites of NetworkPolicy, as data, and their driver: ``python -m stockade.testing.conformance``.

    e2e, cyclonus ─► Case (steps, what must connect) ─► run ─► cluster  (objects through the API)
                                                          ├──► matrix   (one exec of agnhost for each pair and port)
                                                          └──► verdicts (the engine on the objects read back)

The same cases are asked of the engine alone in ``tests/suites``.
"""
