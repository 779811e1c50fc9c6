from __future__ import annotations

from django.urls import re_path

from .tickets import TicketView
from .views import NotificationView

urlpatterns = [
    re_path(r"^notification/?$", NotificationView.as_view(), name="notification"),
    re_path(r"^ticket/?$", TicketView.as_view(), name="ticket"),
]
