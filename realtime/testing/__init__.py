"""
Testing: for tests of a Django project that speaks STOMP; nothing of it runs in production.

``fixtures``  a plugin of pytest: ``pytest_plugins = ["realtime.testing.fixtures"]``
``cases``     StompTestMixin and LiveGatewayMixin: the same for Django's test cases

``client``         Client: what a STOMP client can do, and what is expected of it
``local``          LocalGateway, LocalClient: the project's consumer in the process of the test
``clock``          Clock: the time of its sessions, which stands still
``logins``         clients that are logged in as a user, without a password
``published``      Published: what this process publishes, recorded
``wanted``         Wanted: a message that is expected
``live``           Gateway, LiveClient: a process of its own, and real WebSockets
``live_settings``  the project's settings in that process
``processes``      processes that end with the test; ``valkey``: a Redis that does

Why so:

* A client in the process of the test goes through the project's ``ASGI_APPLICATION``, so that the
  middleware and the paths of the project are tried, too; not through ``channels.testing``, which
  needs daphne, and waits in vain where an application has failed.
* The clock stands still: who stops in a debugger is not closed for silence, and what takes a minute
  is tried at once. Its sessions grow older, instead of the loop's clock: on that Redis relies.
* Its sessions write no rows: a thread of their own would see another state of the database than a
  test which is rolled back, and lock it.
* Imports are late in ``fixtures``: plugins are loaded before Django is set up.

May import all of ``realtime``. Nothing imports it.
"""
