"""A Django app such as any project has: what of it becomes messages."""
