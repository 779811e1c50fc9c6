"""
Processes: who starts the programs that a gateway consists of, and keeps them running.

::

    python -m gateway ──┬─ valkey      an embedded Valkey, where no Redis answers
                        └─ procfile ─┬─ python manage.py bridge
                                     └─ python -m gateway.workers
                                          └─ supervisor ─┬─ keeper 1: socket, child ══ server
                                                         └─ keeper 2: socket, child ══ server

``procfile``    the processes of the Procfile in one terminal, by honcho
``valkey``      the Redis of that terminal
``supervisor``  as many servers on one port as WORKERS says; signals replace and end them
``sockets``     a listening socket for each of them
``keeper``      keeps a server on one socket, whichever process it is at the moment
``child``       that process from outside: started, heard, ended
``shared``      what all of them have for ``/metrics``: each other's figures, and a port
``server``      that process from inside: daphne, and a line (``══``) to its supervisor

Why so: each server has a socket of its own, and the supervisor keeps it open. The kernel spreads
connections evenly over them: 98 to 102 of 200, where one shared socket gave 180 to 20. None is
refused or reset while a server is replaced: what comes meanwhile waits in the socket.

In production there is no terminal: ``python -m gateway.workers`` and the bridge are services.
"""
