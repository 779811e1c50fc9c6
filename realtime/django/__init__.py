"""
Django: messages for what a Django project does: transactions, models, users.

::

    from realtime import notify, publish_on_commit, realtime_model

``commit``   ``publish_on_commit``: published with the transaction, or not at all
``changes``  ``realtime_model``: rows that are saved and deleted, as messages
``outbox``   rows of messages, for who can't lose one; ``manage.py bridge`` relays them
``users``    ``notify``: to a user who is online, or otherwise

Why so:

* What is published after the commit is lost if the process dies in between, or Redis is away: that
  is right for most, and costs no query. So the outbox is for each call to ask for.
* Django commits a row that is saved outside of a transaction before it tells of it. So with an
  outbox each ``save()`` is one: what dies in between would leave a row without its message.
* Rows of an outbox get their numbers when they are relayed, not when they are written: transactions
  commit in another order than that in which they began, and a number below the newest published
  counts as published.

May import all below ``sessions``, and ``nodes``.
"""
