"""
API: ``POST /api/notification``, the one-way door for services, and ``GET ?topic=``.

::

    request ──> SynchronousHandler ──> middleware ──> NotificationView ──> read_notification
                one thread, no hops                       └──> broker.publish_many ──> 202, 207, 503

``views``        NotificationView, and the errors that it answers
``serializers``  what a notification looks like, for the view and for forms
``handler``      SynchronousHandler: Django's stack on one thread
``throttle``     how many requests a user may make
``urls``         where it is

Why so:

* A request takes one hop to a thread: Django's ASGI handler takes each hook of each middleware, the
  view and the rendering there one by one, with a new database connection per request.
* A notification is read by a function, not by DRF's fields: those cost more than publishing does.
* A list is not all or nothing: its notifications have nothing in common but the request.

May import ``realtime``.
"""
