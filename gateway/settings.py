"""
The settings; what differs between installations comes from the environment.

The variable is named as the setting. A secret that has no value may come from a file:
``NAME_FILE``.
docs/configuration.md lists every variable.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

import dj_database_url
from corsheaders.defaults import default_headers
from django.core.exceptions import ImproperlyConfigured

from gateway import logs
from realtime import __version__

from .environment import load_env

BASE_DIR = Path(__file__).resolve().parent.parent


load_env()

#: The variables that are read here.
_known: set[str] = set()


def env_text(name: str, default: str = "") -> str:
    _known.add(name)
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, default: bool) -> bool:
    text = env_text(name).lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    if text:
        raise ImproperlyConfigured(f"{name} is {text!r}: it has to be 1 or 0")
    return default


def env_int(name: str, default: int, least: int | None = None, most: int | None = None) -> int:
    text = env_text(name)
    try:
        number = int(text) if text else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} is {text!r}: it has to be a number") from None
    if least is not None and number < least:
        raise ImproperlyConfigured(f"{name} is {number}: it has to be {least} or more")
    if most is not None and number > most:
        raise ImproperlyConfigured(f"{name} is {number}: it has to be {most} or less")
    return number


def env_choice(name: str, default: str, *others: str) -> str:
    text = env_text(name).lower() or default
    if text not in (default, *others):
        choices = ", ".join((default, *others))
        raise ImproperlyConfigured(f"{name} is {text!r}: it has to be one of {choices}")
    return text


def env_list(name: str, default: list[str]) -> list[str]:
    _known.add(name)
    text = os.environ.get(name)
    return default if text is None else [part.strip() for part in text.split(",") if part.strip()]


def env_secret(name: str, default: str = "") -> str:
    _known.add(name)
    if value := os.environ.get(name):
        return value
    file = os.environ.get(f"{name}_FILE")
    try:
        return Path(file).read_text().strip() if file else default
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE can't be read: {error}") from None


def env_tracing() -> bool:
    """Return whether OpenTelemetry's own variables ask for traces."""
    if env_bool("OTEL_SDK_DISABLED", False) or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(
        os.environ.get(name)
        for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )


DEBUG = env_bool("DEBUG", False)
SECRET_KEY = env_secret("SECRET_KEY", "insecure-and-for-development-only" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "set SECRET_KEY (or SECRET_KEY_FILE) to a long random string; for development set DEBUG=1"
    )
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", [])

# Pages from these origins may connect and call the API; "*" for any.
ALLOWED_ORIGINS = env_list("ALLOWED_ORIGINS", ["*"] if DEBUG else [])
CORS_ALLOW_ALL_ORIGINS = "*" in ALLOWED_ORIGINS
CORS_ALLOWED_ORIGINS = [origin for origin in ALLOWED_ORIGINS if origin != "*"]
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = [*default_headers, "idempotency-key"]

# Traces, for whoever sets the variables of OpenTelemetry: docs/operations.md.
STOMP_TRACING = env_bool("STOMP_TRACING", env_tracing())
if STOMP_TRACING:
    CORS_ALLOW_HEADERS += ["traceparent", "tracestate"]
    if (os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf") != "http/protobuf":
        raise ImproperlyConfigured(
            "OTEL_EXPORTER_OTLP_PROTOCOL has to be http/protobuf, for which collectors mostly"
            " listen on port 4318"
        )

# HTTPS, for browsers: a proxy ends TLS. Services may call the API over plain HTTP.
HTTPS = env_bool("HTTPS", not DEBUG)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^api/", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
# What pages may load and do, in the form of Django 6.0: nothing inline, nothing from elsewhere.
SECURE_CSP = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "font-src": ["'self'"],
    "connect-src": ["'self'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "base-uri": ["'none'"],
}
PERMISSIONS_DENIED = ["camera", "display-capture", "geolocation", "microphone", "payment", "usb"]
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # HSTS of subdomains is not ours
# Their headers are heeded by our server, so that Django has nothing to believe.
TRUSTED_PROXIES = env_list("TRUSTED_PROXIES", [])
if env_bool("TRUST_PROXY", False) and not TRUSTED_PROXIES:
    raise ImproperlyConfigured(
        "TRUST_PROXY is not read any more: say in TRUSTED_PROXIES where the proxy is,"
        " 127.0.0.0/8,::1 if on this machine"
    )

INSTALLED_APPS = [
    "daphne",
    "gateway.apps.GatewayAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "rest_framework.authtoken",
    "servestatic",
    "realtime",
    "notifications",
]
MIDDLEWARE = [
    "gateway.headers.security_headers",
    "django.middleware.security.SecurityMiddleware",
    "gateway.middleware.StaticFilesMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "gateway.middleware.DatabaseAwayMiddleware",
]
ROOT_URLCONF = "gateway.urls"
ASGI_APPLICATION = "gateway.asgi.application"
APPEND_SLASH = True
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "gateway" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

_database = env_secret("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
try:
    DATABASES = {"default": dj_database_url.parse(_database)}
except ValueError:  # which may repeat a part of the password
    raise ImproperlyConfigured(
        "DATABASE_URL can't be read: it has to be like postgres://user:password@host:5432/name,"
        " with what is special in a password percent-encoded, or sqlite:///file"
    ) from None
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # Not the minutes that the system would wait for a machine which is away.
    DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Several processes write: wait for each other instead of failing.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator",
                 "CommonPasswordValidator", "NumericPasswordValidator")
]  # fmt: skip

REDIS_URL = env_secret("REDIS_URL", "redis://127.0.0.1:6379/0")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "realtime.layer.TopicLayer",
        # Redis pub/sub ignores database numbers: two gateways on one Redis need two prefixes.
        "CONFIG": {
            "hosts": [REDIS_URL],
            "prefix": env_text("REDIS_PREFIX", "gateway"),
            "replicas": env_int("STOMP_PUBLISH_WAIT", 0, least=0),
            "sharded": env_choice("STOMP_SHARDED", "off", "hear", "on"),
        },
    }
}

STOMP_ROUTING = env_text("STOMP_ROUTING", "gateway.routing")
STOMP_AUTHENTICATORS = [
    "realtime.access.authentication.jwt_user",
    "realtime.access.authentication.token_user",
    "realtime.layer.tickets.ticket_user",
    "realtime.access.passcodes.passcode_user",
    "realtime.access.authentication.cookie_user",
]
if "STOMP_SEND_PREFIXES" in os.environ:  # so that `check` can say what took its place
    STOMP_SEND_PREFIXES = env_list("STOMP_SEND_PREFIXES", [])
# Tokens that another service signs. With none of the variables there are none.
_JWT = {
    "algorithms": env_list("STOMP_JWT_ALGORITHMS", []),
    "key": env_secret("STOMP_JWT_KEY"),
    "jwks": env_text("STOMP_JWT_JWKS"),
    "audience": env_list("STOMP_JWT_AUDIENCE", []),
    "issuer": env_list("STOMP_JWT_ISSUER", []),
}
STOMP_JWT = {name: value for name, value in _JWT.items() if value} or None
STOMP_ANONYMOUS = env_bool("STOMP_ANONYMOUS", DEBUG)
STOMP_CONNECT_SECONDS = env_int("STOMP_CONNECT_SECONDS", 10)
STOMP_LOGIN_SECONDS = env_int("STOMP_LOGIN_SECONDS", 30)
STOMP_RULE_SECONDS = env_int("STOMP_RULE_SECONDS", 60)
STOMP_RECHECK_SECONDS = env_int("STOMP_RECHECK_SECONDS", 60)
STOMP_HEARTBEAT_MS = env_int("STOMP_HEARTBEAT_MS", 1000)
STOMP_MAX_FRAME_BYTES = env_int("STOMP_MAX_FRAME_BYTES", 64 * 1024)
STOMP_MAX_BODY_BYTES = env_int("STOMP_MAX_BODY_BYTES", STOMP_MAX_FRAME_BYTES)
STOMP_MAX_SUBSCRIPTIONS = env_int("STOMP_MAX_SUBSCRIPTIONS", 128)
STOMP_NEW_TOPICS_PER_MINUTE = env_int("STOMP_NEW_TOPICS_PER_MINUTE", 600)
STOMP_API_NEW_TOPICS_PER_MINUTE = env_int("STOMP_API_NEW_TOPICS_PER_MINUTE", 6000)
STOMP_HANDLER_THREADS = env_int("STOMP_HANDLER_THREADS", 32)
STOMP_HISTORY_MESSAGES = env_int("STOMP_HISTORY_MESSAGES", 100)
STOMP_HISTORY_SECONDS = env_int("STOMP_HISTORY_SECONDS", 300)
STOMP_SEND_BUFFER_BYTES = env_int("STOMP_SEND_BUFFER_BYTES", 512 * 1024)
STOMP_SEND_SECONDS = env_int("STOMP_SEND_SECONDS", 10)
STOMP_FRAMES_PER_SECOND = env_int("STOMP_FRAMES_PER_SECOND", 1000)
STOMP_FRAMES_BURST = env_int("STOMP_FRAMES_BURST", 5000)
STOMP_COMMANDS_PER_SECOND = env_int("STOMP_COMMANDS_PER_SECOND", 20_000)
STOMP_COMMANDS_BURST = env_int("STOMP_COMMANDS_BURST", 100_000)
STOMP_BYTES_PER_SECOND = env_int("STOMP_BYTES_PER_SECOND", 16 * 1024 * 1024)
STOMP_BYTES_BURST = env_int("STOMP_BYTES_BURST", 64 * 1024 * 1024)
STOMP_SUBSCRIBES_PER_SECOND = env_int("STOMP_SUBSCRIBES_PER_SECOND", 200)
STOMP_SUBSCRIBES_BURST = env_int("STOMP_SUBSCRIBES_BURST", 1000)
STOMP_CONNECTS_PER_MINUTE = env_int("STOMP_CONNECTS_PER_MINUTE", 6000)
STOMP_CONNECTIONS_PER_USER = env_int("STOMP_CONNECTIONS_PER_USER", 1000)
STOMP_SILENT_CONNECTIONS = env_int("STOMP_SILENT_CONNECTIONS", 1000)
STOMP_API_REQUESTS_PER_MINUTE = env_int("STOMP_API_REQUESTS_PER_MINUTE", 120_000)
STOMP_CONNECTIONS_PER_ADDRESS = env_int("STOMP_CONNECTIONS_PER_ADDRESS", 1000)
STOMP_HEAD_SECONDS = env_int("STOMP_HEAD_SECONDS", 10)
STOMP_BODY_SECONDS = env_int("STOMP_BODY_SECONDS", 60)
STOMP_MESSAGE_SECONDS = env_int("STOMP_MESSAGE_SECONDS", 30)
STOMP_MAX_REQUESTS_BYTES = env_int("STOMP_MAX_REQUESTS_BYTES", 64 * 1024 * 1024)
STOMP_DRAIN_DELAY_SECONDS = env_int("STOMP_DRAIN_DELAY_SECONDS", 0, least=0, most=3600)
STOMP_DRAIN_SECONDS = env_int("STOMP_DRAIN_SECONDS", 30, least=0, most=3600)
STOMP_DEAD_LETTERS = env_int("STOMP_DEAD_LETTERS", 1000)

# Where /metrics is read without a login, besides its place among the pages; 0 for nowhere.
METRICS_PORT = env_int("METRICS_PORT", 0, least=0, most=65535)
METRICS_ADDRESS = env_text("METRICS_ADDRESS", "127.0.0.1")

# Escapes can make JSON six times as long as the text that it stands for.
DATA_UPLOAD_MAX_MEMORY_SIZE = env_int(
    "DATA_UPLOAD_MAX_MEMORY_SIZE", max(4 * 1024 * 1024, 6 * STOMP_MAX_BODY_BYTES + 4096), least=1
)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "notifications.api.access.CredentialsAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["notifications.api.access.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": [
        "notifications.api.parsers.BoundedJSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "notifications.api.parsers.ReadableBody",
    "DEFAULT_THROTTLE_CLASSES": ["notifications.api.throttle.RequestThrottle"],
    "EXCEPTION_HANDLER": "notifications.api.views.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    # By namespace, so that views have no version among their arguments, and the addresses from
    # before there were versions need none: they are of the first.
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "DEFAULT_VERSION": "v1",
    "ALLOWED_VERSIONS": ["v1"],
}
SPECTACULAR_SETTINGS = {
    "TITLE": "STOMP gateway",
    "DESCRIPTION": "What services ask of the gateway: publish to browsers, and look back.",
    "VERSION": __version__,
    "SCHEMA_PATH_PREFIX": "/api/",
    "PREPROCESSING_HOOKS": ["notifications.api.schema.document.keep_api"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "notifications.api.schema.document.complete",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",  # from here, not from a CDN
    # Deep links are links inside of buttons, which keyboards and screen readers stumble over.
    "SWAGGER_UI_SETTINGS": {"deepLinking": False, "defaultModelsExpandDepth": 0},
}

# What pages of the gateway's own are written in; gateway/language.py says which.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "gateway" / "locale"]
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = HTTPS
TIME_ZONE = "UTC"
USE_TZ = True
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "console"

# Static files are served from where they are: nothing to collect.
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "gateway" / "static"]
STATIC_ROOT = BASE_DIR / "staticfiles"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_USE_STATIC_ROOT = False

try:
    _formatter = logs.formatter_named(env_text("LOG_FORMAT"))
    _level = logs.level_named(env_text("LOG_LEVEL"))
except ValueError as error:
    raise ImproperlyConfigured(str(error)) from None
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"class": f"gateway.logs.{_formatter.__name__}", "format": logs.LINE},
    },
    "filters": {"refused": {"()": "gateway.refusals.RefusedRequests"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["refused"],
        },
    },
    "root": {"handlers": ["console"], "level": _level},
    "loggers": {
        "daphne": {"level": "WARNING"},
        "django": {"handlers": []},  # those that Django gives it say everything once more
        "django.channels.server": {"level": "WARNING"},
    },
}

# So that `check` can name them: mostly a setting that is misspelled.
UNKNOWN_VARIABLES = {
    name: get_close_matches(name, _known, 1)
    for name in sorted(os.environ)
    if name.startswith("STOMP_") and name.removesuffix("_FILE") not in _known
}
