"""
Examples: what to copy from. `make demo` runs them, and lists them at /examples/.

``chat``       rooms, who said it, and what was said before
``dashboard``  numbers that are pushed every second; ``dashboard_source`` is where they come from
``presence``   who is in a room
``progress``   a long job that a click starts
``cursors``    where the others point at

Each has a Python part here, a page in ``templates`` and a script in ``static``, of less than a
hundred lines together. ``settings``, ``routing``, ``urls`` and ``guests`` let them run beside the
gateway's own console, and only while DEBUG is on. ``backend`` is a service by itself.
"""
