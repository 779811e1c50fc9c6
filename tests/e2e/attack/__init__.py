"""
Attack: one gateway, honest clients, and somebody who means no good.

::

    run ──> site        the gateway as in production, its Redis and accounts
        ──> honest      clients, a publisher and logins, all of which are measured
        ──> attacker    a process of its own, which runs one of ``attacks`` over ``wire``
        ──> verdict     what each attack cost the honest, and what the attacker got
        ──> fleet       many honest clients that log in at once: the attack that nobody meant

``make attack`` is for figures, tests/e2e/test_attack.py for each check-in.
"""
