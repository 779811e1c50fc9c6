"""
Dead letters: what the bridges could not deliver, kept in Redis until an operator decides.

::

    Publisher ──> letters.command: a stream for each route ──> admin: look, publish again, drop

``letters``   reading, publishing again and dropping them; each step is safe to be made twice
``readable``  their bytes, as people can read them
``admin``     the pages; templates are in ``templates/admin/notifications/``

May import ``realtime``, and ``bridges`` for the routes.
"""
