"""
API: ``/api/v1/`` for services, and ``/api/notification``, which is older than versions.

::

    request ──> ApiHandler ──> middleware ──> PublishView ──> read_message
                one thread, no hops               └──> broker.publish_many ──> 202, 207, 503
                     └──> or, where it is like the one before: read_message, broker.apublish_many

``views``        PublishView, and NotificationView: the same with fewer fields, and forms
``history``      what was published lately
``tickets``      ways in for pages
``parsers``      JSON, read value by value
``serializers``  what a message looks like, for views and for forms
``access``       who calls, and what they may do
``errors``       what is answered when something is wrong, or away
``live``         sessions, topics, users and nodes, as the nodes know them now
``schema``       the OpenAPI document, and the page that shows it
``ways``         ApiHandler: Django's stack on one thread, and what is published without it
``throttle``     how many requests a user may make
``urls``         where it is

Why so:

* A request takes one hop to a thread: Django's ASGI handler takes each hook of each middleware, the
  view and the rendering there one by one, with a new database connection per request.
* A notification is read by a function, not by DRF's fields: those cost more than publishing does.
* ``/api/v1/publish`` refuses unknown fields: a misspelled one would do nothing. The notification
  ignores them, as it always did.
* Versions are namespaces of URLs: views have no version among their arguments.
* A list is not all or nothing: its notifications have nothing in common but the request.

May import ``realtime``.
"""
